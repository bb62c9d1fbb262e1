"""Takes answers. The only writer of judgements, which are only ever added."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from inference.events import announce
from studies import assignment as assignments
from studies.models import Assignment, Judgement, Rater

Choice = Judgement.Choice


class AlreadyJudged(Exception):
    """The form was sent before, or the answer has changed since the page was shown. Nothing was stored."""


class PlaceGone(Exception):
    """The rater took too long and the comparison has since been judged by others. Nothing was stored."""


def next_revision(assignment: Assignment) -> int:
    """The revision that the next answer to this assignment will have; 1 for the first."""
    last = assignment.judgements.aggregate(last=Max("revision"))["last"]
    return (last or 0) + 1


def record(
    assignment: Assignment,
    choice: str,
    reason: str = "",
    seconds: float | None = None,
    revision: int = 1,
    at: datetime | None = None,
) -> Judgement:
    """Store an answer, once. `choice` is about arms (first, second, tie, both_bad), `seconds` >= 0 the time taken.

    Raises AlreadyJudged or PlaceGone, and then stores nothing.
    """
    with transaction.atomic():
        row = Assignment.objects.select_for_update(of=("self",)).select_related("rater").get(pk=assignment.pk)
        last = row.judgements.order_by("-revision").first()
        open_revision = last.revision + 1 if last else 1
        if (last and last.choice != Choice.UNDONE) or revision != open_revision:
            raise AlreadyJudged
        if row.released_at and not assignments.take_back(row):
            raise PlaceGone
        return _append(row, revision, choice, at, reason=reason, seconds=seconds)


def undo(rater: Rater, judgement_id: int, at: datetime | None = None) -> Assignment:
    """Take back the rater's last answer, which must be `judgement_id`, so that it is the one to give next.

    Raises AlreadyJudged when it is not, as with a form that is sent twice, and then changes nothing.
    """
    at = at or timezone.now()
    with transaction.atomic():
        Rater.objects.select_for_update().get(pk=rater.pk)
        mine = Judgement.objects.current().filter(assignment__rater=rater)
        last = mine.select_related("assignment__rater").order_by("-pk").first()
        if last is None or last.pk != judgement_id:
            raise AlreadyJudged
        _append(last.assignment, last.revision + 1, Choice.UNDONE, at)
        assignments.reopen(last.assignment, at)
        return last.assignment


def _append(
    row: Assignment, revision: int, choice: str, at: datetime | None, reason: str = "", seconds: float | None = None
) -> Judgement:
    transaction.on_commit(partial(announce, f"study.{row.rater.study_id}", "study.changed"), robust=True)
    return Judgement.objects.create(
        assignment=row,
        revision=revision,
        choice=choice,
        reason=reason,
        seconds=seconds,
        judged_at=at or timezone.now(),
    )
