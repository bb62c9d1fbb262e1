"""The pages around the comparisons: consent, instructions, the end, leaving and withdrawing."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from studies import access, assignment, flow, panels, progress, withdrawal
from studies.flow import Place, Status
from studies.models import Invite, Rater, Study
from studies.views.rater import door

STARTED = (Place.INSTRUCTIONS, Place.COMPARE, Place.END)
get_or_post = require_http_methods(["GET", "HEAD", "POST"])


# -- Coming in ----------------------------------------------------------------------------------------------------


@get_or_post
@door.visitors
def consent(request: HttpRequest, study: Study, rater: Rater | None) -> HttpResponse:
    """The study's common link. GET makes nothing, so a preview of the link costs nothing. POST is the consent."""
    try:
        person = panels.participant_of(study, request.GET)
    except panels.NotFromPanel as reason:
        if rater is None:
            return incomplete_link(request, study, str(reason))
        person = panels.Participant(rater.participant)
    if rater and (rater.withdrawn_at or rater.participant == person.name):
        return to_place(study, rater)
    earlier = panels.known(study, person)
    if study.invited_only and earlier is None:
        return personal_link_needed(request, study)
    return welcome(request, study, earlier, participant=person.name, panel_session=person.session)


@get_or_post
@door.visitors
def invited(request: HttpRequest, study: Study, rater: Rater | None, signed: str) -> HttpResponse:
    """A personal link. It belongs to one person: opened on another device it goes on, after a confirmation."""
    invite, earlier = access.invited(study, signed)
    if earlier and earlier == rater:
        return to_place(study, earlier)
    if earlier is None and invite and invite.expires_at and invite.expires_at <= timezone.now():
        return link_expired(request, study)
    if earlier is None and rater and not rater.invite_id and not rater.withdrawn_at:
        earlier = rater  # took part by the common link before
    if earlier and invite and request.method == "POST":
        flow.bind(earlier, invite)
    return welcome(request, study, earlier, invite=invite)


def welcome(request: HttpRequest, study: Study, earlier: Rater | None, **fields: Any) -> HttpResponse:
    """The consent page. Agreeing makes a rater with `fields`, or goes on as the one who came `earlier`."""
    if request.method != "POST" or not (study.running or earlier):
        context = {
            "study": study,
            "resuming": earlier,
            "limit": min(study.rater_limit, study.comparisons.count()),
            "query": request.GET.urlencode(),
            "returning": None
            if study.running
            else panels.way_back(study, Status.SCREENED_OUT, fields.get("participant", "")),
        }
        return render(request, "rater/consent.html", context)
    person = earlier or enrolled(study, fields)
    response = to_place(study, person)
    access.remember(response, person)
    return response


def enrolled(study: Study, fields: dict[str, Any]) -> Rater:
    """A new rater, or the one whom the same person has become in another tab meanwhile."""
    try:
        with transaction.atomic():
            return assignment.enrol(study, **fields)
    except IntegrityError:
        who = "invite" if fields.get("invite") else "participant"
        return Rater.objects.get(study=study, **{who: fields[who]})


def to_place(study: Study, rater: Rater) -> HttpResponse:
    return redirect(f"studies:{flow.where(study, rater)}", study.token)


@get_or_post
@door.visitors
def refuse(request: HttpRequest, study: Study, rater: Rater | None) -> HttpResponse:
    """ "I do not agree": nothing is stored, and a panel's participant is told the way back."""
    if rater is not None or request.method != "POST":
        return redirect("studies:consent", study.token)
    try:
        participant = panels.participant_of(study, request.GET).name
    except panels.NotFromPanel:
        participant = ""
    context = {
        "study": study,
        "heading": _("You did not agree"),
        "explanation": _("That is fine. Nothing about you was stored."),
        "returning": panels.way_back(study, Status.REFUSED, participant),
        "ended": True,
    }
    return render(request, "rater/refused.html", context)


# -- Refused links ------------------------------------------------------------------------------------------------


def incomplete_link(request: HttpRequest, study: Study, reason: str) -> HttpResponse:
    why = _("Please open this study from the page where you signed up for it. What is wrong with the link:")
    return no_entry(request, study, 400, _("This link is not complete"), f"{why} {reason}")


def personal_link_needed(request: HttpRequest, study: Study) -> HttpResponse:
    why = _("Only people with a personal invitation take part. Please open the link that was sent to you.")
    return no_entry(request, study, 403, _("This study is by invitation"), why)


def link_expired(request: HttpRequest, study: Study) -> HttpResponse:
    why = _("It was valid for a limited time, or its owner has withdrawn. Ask the person who sent it for a new one.")
    return no_entry(request, study, 410, _("This personal link is no longer valid"), why)


def no_entry(request: HttpRequest, study: Study, status: int, heading: str, explanation: str) -> HttpResponse:
    context = {"study": study, "heading": heading, "explanation": explanation, "ended": True}
    return render(request, "rater/refused.html", context, status=status)


# -- On the way ---------------------------------------------------------------------------------------------------


@get_or_post
@door.raters(Place.INSTRUCTIONS, Place.COMPARE)
def instructions(request: HttpRequest, study: Study, rater: Rater) -> HttpResponse:
    """Read once before the start, and again whenever one likes."""
    if request.method == "POST":
        flow.start(rater)
        return redirect("studies:compare", study.token)
    return render(
        request, "rater/instructions.html", {"study": study, "rater": rater, "started": rater.instructed_at}
    )


@require_safe
@door.raters(Place.COMPARE, Place.END)
def end(request: HttpRequest, study: Study, rater: Rater) -> HttpResponse:
    return end_page(request, study, rater)


@require_safe
@door.raters(*STARTED)
def leave(request: HttpRequest, study: Study, rater: Rater) -> HttpResponse:
    """What was given is saved already, so leaving only says so, and how to come back."""
    return end_page(request, study, rater)


def end_page(request: HttpRequest, study: Study, rater: Rater) -> HttpResponse:
    done = progress.for_rater(rater)
    more = flow.more_for(rater, done)
    status = None if more else flow.end(rater, done.done)
    context = {
        "study": study,
        "rater": rater,
        "progress": done,
        "more": more,
        "status": status,
        "agreement": progress.agreement(rater) if status == Status.COMPLETE else None,
        "returning": panels.way_back(study, status, rater.participant) if status else None,
        "way_back": way_back(request, study, rater),
    }
    return render(request, "rater/end.html", context)


@get_or_post
@door.raters(*STARTED)
def withdraw(request: HttpRequest, study: Study, rater: Rater) -> HttpResponse:
    """GET asks, POST does."""
    if request.method == "POST":
        withdrawal.withdraw(rater)
        return redirect("studies:receipt", study.token)
    context = {"study": study, "rater": rater, "progress": progress.for_rater(rater)}
    return render(request, "rater/withdraw.html", context)


@require_safe
@door.raters(*STARTED, Place.RECEIPT)
def receipt(request: HttpRequest, study: Study, rater: Rater) -> HttpResponse:
    """What was agreed to and when; after a withdrawal, that too."""
    link = "" if rater.withdrawn_at else way_back(request, study, rater)
    return render(request, "rater/receipt.html", {"study": study, "rater": rater, "way_back": link})


def way_back(request: HttpRequest, study: Study, rater: Rater) -> str:
    """The rater's personal link, which goes on where they are on any device."""
    invite = Invite(pk=rater.invite_id) if rater.invite_id else None
    signed = access.signed_for(study, invite or rater)
    return request.build_absolute_uri(reverse("studies:invited", args=[study.token, signed]))
