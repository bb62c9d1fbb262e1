"""The one place that fetches on behalf of a person: a rater with link and cookie, or a researcher with an account.

What a person may not see does not exist for them: raters get 404, never a hint.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import PermissionDenied
from django.core.signing import BadSignature, Signer
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls.converters import StringConverter

from studies.models import Assignment, Invite, Rater, Study
from studies.prepared import Prepared

COOKIE_AGE = 60 * 60 * 24 * 90  # seconds
VISITORS = Prepared(
    lambda token, public_id: Rater.objects.select_related("study").filter(
        study__token=token, study__launched_at__isnull=False, public_id=public_id
    ),
    *(str, UUID),
)


class TokenConverter(StringConverter):
    """What a rater's link can look like; anything else is no link of ours."""

    regex = "[A-Za-z0-9_-]{1,43}"


def cookie_name(token: str) -> str:
    return f"rater_{token[:8]}"


def visitor(request: HttpRequest, token: str) -> tuple[Study, Rater | None]:
    """The launched study that a rater's link names, and who consented to it in this browser.

    The rater is known by a signed cookie: None before consent or with a forged one. Raises Http404 for other links.
    """
    public_id = request.get_signed_cookie(cookie_name(token), default="", salt=token)
    rater = VISITORS.first(token, UUID(public_id)) if public_id else None
    if rater:
        return rater.study, rater
    return get_object_or_404(Study, token=token, launched_at__isnull=False), None


def remember(response: HttpResponse, rater: Rater) -> None:
    response.set_signed_cookie(
        cookie_name(rater.study.token),
        str(rater.public_id),
        salt=rater.study.token,
        max_age=COOKIE_AGE,
        httponly=True,
        samesite="Lax",
        secure=settings.SESSION_COOKIE_SECURE,
    )


def forget(response: HttpResponse, study: Study) -> None:
    response.delete_cookie(cookie_name(study.token), samesite="Lax")


def signed_for(study: Study, owner: Invite | Rater) -> str:
    """What makes a link to the study personal: signed for this study alone, so that it cannot be made up."""
    name = f"i{owner.pk}" if isinstance(owner, Invite) else f"r{owner.public_id.hex}"
    return personal(study.token).sign(name)


def personal(token: str) -> Signer:
    return Signer(salt=f"personal link of {token}", sep=".")


def invited(study: Study, signed: str) -> tuple[Invite | None, Rater | None]:
    """Whom a personal link was made for: an invitation, a rater, or both. Raises Http404 for forged links."""
    try:
        name = personal(study.token).unsign(signed)
    except BadSignature as error:
        raise Http404("This personal link was not made for this study.") from error
    if name.startswith("r"):
        return None, get_object_or_404(Rater, study=study, public_id=name[1:])
    invite = get_object_or_404(Invite, study=study, pk=name[1:])
    return invite, Rater.objects.filter(invite=invite).first()


def assignment_for(rater: Rater, public_id: UUID) -> Assignment:
    """The rater's own assignment. Raises Http404 for anybody else's."""
    own = Assignment.objects.with_texts().filter(rater=rater)
    return get_object_or_404(own, public_id=public_id)


class UnknownStudyError(LookupError):
    """No study has this slug. Says which there are."""


def studies_named(slugs: Iterable[str]) -> list[Study]:
    """Studies for whoever runs a command, oldest first. Raises UnknownStudyError."""
    wanted = set(slugs)
    studies = list(Study.objects.filter(slug__in=wanted).order_by("pk"))
    missing = sorted(wanted - {study.slug for study in studies})
    if missing:
        known = ", ".join(Study.objects.values_list("slug", flat=True)) or "none yet"
        raise UnknownStudyError(f"There is no study {', '.join(map(repr, missing))}. Studies: {known}.")
    return studies


def may_see_studies(user: User | AnonymousUser) -> bool:
    return user.is_active and user.is_staff and user.has_perm("studies.view_study")


def study_for(user: User | AnonymousUser, slug: str) -> Study:
    """A study for a researcher. Raises PermissionDenied without the right to see it, Http404 if there is none."""
    if not may_see_studies(user):
        raise PermissionDenied("Only researchers with the permission to view studies can see this page.")
    study = Study.objects.filter(slug=slug).first()
    if study is None:
        raise Http404(f"There is no study {slug!r}.")
    return study
