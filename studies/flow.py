"""Where a rater is. The one place that knows the order of the pages; all of it follows from the rater's row.

Consent, instructions (where the study has any), then everything that is handed out one by one (practice items,
comparisons), and the end. Whoever withdrew sees the receipt alone.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from django.utils import timezone

from studies import assignment, progress
from studies.models import Invite, Rater, Study


class Place(StrEnum):
    """Pages by the names of their addresses."""

    CONSENT = "consent"
    INSTRUCTIONS = "instructions"
    COMPARE = "compare"
    END = "end"
    RECEIPT = "receipt"


class Status(StrEnum):
    """How a rater's study ended, in the words that panels are told."""

    COMPLETE = "complete"
    SCREENED_OUT = "screened_out"  # there was nothing for them
    REFUSED = "refused"  # did not consent
    FAILED_CHECKS = "failed_checks"


def where(study: Study, rater: Rater | None) -> Place:
    """The page that this rater belongs on. Asks the database nothing."""
    if rater is None:
        return Place.CONSENT
    if rater.withdrawn_at:
        return Place.RECEIPT
    if rater.rejected_at:
        return Place.END
    if study.instructions.strip() and not rater.instructed_at:
        return Place.INSTRUCTIONS
    return Place.COMPARE


def start(rater: Rater, at: datetime | None = None) -> None:
    """The rater has read the instructions. The first time counts."""
    Rater.objects.filter(pk=rater.pk, instructed_at__isnull=True).update(instructed_at=at or timezone.now())


def bind(rater: Rater, invite: Invite) -> None:
    """Make `invite` the link of a rater who came by another way. Left alone where either is bound already."""
    if not Rater.objects.filter(invite=invite).exists():
        Rater.objects.filter(pk=rater.pk, invite__isnull=True).update(invite=invite)


def is_waiting(study: Study, where: progress.RaterProgress, preparation: progress.Preparation) -> bool:
    """Whether explanations are still being made that this rater may get."""
    return study.running and preparation.comparisons > 0 and where.done < where.limit


def more_for(rater: Rater, done: progress.RaterProgress) -> bool:
    """Whether the rater can still get something, now or once it is made."""
    if rater.rejected_at:
        return False
    return assignment.something_for(rater) or is_waiting(rater.study, done, progress.preparation(rater.study))


def end(rater: Rater, done: int, at: datetime | None = None) -> Status:
    """How it ended for a rater who has nothing more to do after `done` answers. The first time is stored."""
    if rater.rejected_at:
        return Status.FAILED_CHECKS
    if not done:
        return Status.SCREENED_OUT
    Rater.objects.filter(pk=rater.pk, finished_at__isnull=True).update(finished_at=at or timezone.now())
    return Status.COMPLETE
