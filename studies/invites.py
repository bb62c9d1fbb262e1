"""Personal links: made in numbers, and listed for sending."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

from django.urls import reverse

from studies import access
from studies.models import Invite, Study

MOST = 1000  # links made at once


class TooMany(Exception):
    """Says how many links can be made at once."""


def make(study: Study, number: int, expires_at: datetime | None = None) -> list[Invite]:
    """`number` new invitations, numbered on from those that are there. Raises TooMany unless 1 <= number <= MOST."""
    if not 1 <= number <= MOST:
        raise TooMany(f"{number} personal links cannot be made at once; choose 1 to {MOST}.")
    there = study.invites.count()
    labels = (f"person {there + count}" for count in range(1, number + 1))
    return Invite.objects.bulk_create(Invite(study=study, label=label, expires_at=expires_at) for label in labels)


def link(invite: Invite) -> str:
    """The path of the personal link, without a host."""
    return reverse("studies:invited", args=[invite.study.token, access.signed_for(invite.study, invite)])


COLUMNS = ("label", "link", "agreed", "expires_at")


def rows(study: Study, absolute: Callable[[str], str]) -> Iterator[tuple[str, str, str, str]]:
    """One line for each invitation, by COLUMNS; `absolute` puts scheme and host before a path."""
    for invite in study.invites.select_related("study", "rater"):
        agreed = "yes" if hasattr(invite, "rater") else ""
        yield invite.label, absolute(link(invite)), agreed, invite.expires_at.isoformat() if invite.expires_at else ""
