"""Takes answers. The only writer of judgements, which are only ever added, of check answers and of predictions."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from inference.events import announce
from studies import assignment as assignments
from studies.models import Assignment, CheckAnswer, CheckItem, Judgement, Prediction, Rater, Study
from studies.prepared import Prepared
from studies.simulation import Question

Choice = Judgement.Choice
When = Prediction.When
FAILED_TOO_OFTEN = 2  # gold comparisons, where the study ends for those who fail them
CLOCKED = ("seconds", "active_seconds", "first_seconds")

REVISIONS = Prepared(lambda pk: Judgement.objects.filter(assignment=pk).order_by("revision"), int)
MINE = Prepared(
    lambda rater, name: (
        Assignment.objects.select_for_update(of=("self",)).with_texts().filter(rater=rater, public_id=name)
    ),
    *(int, UUID),
)
MY_CHECKS = Prepared(
    lambda rater, name: (
        CheckAnswer.objects.select_for_update(of=("self",)).select_related("item").filter(rater=rater, public_id=name)
    ),
    *(int, UUID),
)


class AlreadyJudged(Exception):
    """The form was sent before, or the answer has changed since the page was shown. Nothing was stored."""


class PlaceGone(Exception):
    """The rater took too long and the comparison has since been judged by others. Nothing was stored."""


class TooLate(Exception):
    """The study's deadline for changing answers has passed. Nothing was stored."""


def next_revision(assignment: Assignment) -> int:
    """The revision that the next answer to this assignment will have; 1 for the first."""
    return len(REVISIONS.all(assignment.pk)) + 1


def reviewable(study: Study, at: datetime | None = None) -> bool:
    """Whether answers can still be changed: until the study's own deadline, else until it closes."""
    if study.review_until:
        return (at or timezone.now()) < study.review_until
    return study.closed_at is None


def record(
    assignment: Assignment,
    choice: str,
    revision: int = 1,
    at: datetime | None = None,
    client_key: UUID | None = None,
    predicted: tuple[Question, int] | None = None,
    **given: Any,
) -> Judgement:
    """Store an answer, once: sent again with the same `client_key`, what was stored is returned.

    `choice` is about arms (first, second, tie, both_bad, cannot_judge); `given` are fields of a Judgement, times in
    seconds >= 0. `predicted` is what the rater thinks after reading. Raises AlreadyJudged or PlaceGone, and then
    stores nothing.
    """
    with transaction.atomic():
        row = Assignment.objects.select_for_update(of=("self",)).select_related("rater").get(pk=assignment.pk)
        return answer(row, choice, revision, at, client_key, predicted, **given)


def answer(
    row: Assignment,
    choice: str,
    revision: int = 1,
    at: datetime | None = None,
    client_key: UUID | None = None,
    predicted: tuple[Question, int] | None = None,
    changing: bool = False,
    **given: Any,
) -> Judgement:
    """As `record`, for a row that is locked already. With `changing` an answer must stand, and is replaced."""
    earlier: list[Judgement] = REVISIONS.all(row.pk)
    sent_before = [one for one in earlier if client_key and one.client_key == client_key]
    if sent_before:
        return sent_before[0]
    stands = bool(earlier) and earlier[-1].choice != Choice.UNDONE
    if stands != changing or revision != len(earlier) + 1:
        raise AlreadyJudged
    if row.released_at and not assignments.take_back(row):
        raise PlaceGone
    at = at or timezone.now()
    if predicted:
        predict(row, When.AFTER, *predicted, at=at)
    return _append(row, revision, choice, at, client_key=client_key, **bounded(given, row.assigned_at, at))


def bounded(given: dict[str, Any], since: datetime, at: datetime) -> dict[str, Any]:
    """The rater's clock may be wrong, ours decides: no time is longer than since the comparison was handed out."""
    longest = max((at - since).total_seconds(), 0.0)
    for name in CLOCKED:
        if given.get(name) is not None:
            longest_here = longest if name == "seconds" else (given.get("seconds") or longest)
            given[name] = min(given[name], longest_here)
    return given


def locked(rater: Rater, public_id: UUID) -> Assignment | CheckAnswer | None:
    """What the rater was handed under this name, locked, with its texts; None for what is not theirs or is gone."""
    row: Assignment | CheckAnswer | None = MINE.first(rater.pk, public_id) or MY_CHECKS.first(rater.pk, public_id)
    if row:
        row.rater = rater
    return row


def undo(rater: Rater, judgement_id: int, at: datetime | None = None) -> Assignment:
    """Take back the rater's last answer, which must be `judgement_id`, so that it is the one to give next.

    Raises AlreadyJudged when it is not, as with a form that is sent twice, or TooLate, and then changes nothing.
    """
    at = at or timezone.now()
    with transaction.atomic():
        row = Rater.objects.select_for_update(of=("self",)).select_related("study").get(pk=rater.pk)
        if not reviewable(row.study, at):
            raise TooLate
        mine = Judgement.objects.current().filter(assignment__rater=rater)
        last = mine.select_related("assignment__rater").order_by("-pk").first()
        if last is None or last.pk != judgement_id:
            raise AlreadyJudged
        _append(last.assignment, last.revision + 1, Choice.UNDONE, at)
        assignments.reopen(last.assignment, at)
        return last.assignment


def record_check(row: CheckAnswer, choice: str, active_seconds: float | None, at: datetime | None = None) -> None:
    """Store the answer to a practice or gold item, once. `choice`: better, worse, tie, both_bad or cannot_judge.

    Where the study says so, two failed gold comparisons end it for the rater. Raises AlreadyJudged when another
    answer was given before.
    """
    at = at or timezone.now()
    times = bounded({"active_seconds": active_seconds}, row.given_at, at)
    waiting = CheckAnswer.objects.filter(pk=row.pk, answered_at__isnull=True)
    if waiting.update(choice=choice, answered_at=at, **times):
        if row.item.purpose == CheckItem.Purpose.GOLD and choice != "better":
            reject_if_failed(row.rater, at)
    elif CheckAnswer.objects.get(pk=row.pk).choice != choice:
        raise AlreadyJudged


def reject_if_failed(rater: Rater, at: datetime) -> None:
    gold = CheckAnswer.objects.filter(rater=rater, item__purpose=CheckItem.Purpose.GOLD, answered_at__isnull=False)
    if rater.study.reject_failed_checks and gold.exclude(choice="better").count() >= FAILED_TOO_OFTEN:
        Rater.objects.filter(pk=rater.pk, rejected_at__isnull=True).update(rejected_at=at)


def predict(row: Assignment, when: str, question: Question, option: int, at: datetime | None = None) -> None:
    """Store which option the rater predicts. Before reading, the first one counts; after, the last."""
    known = {"step": question.step, "option": option, "truth": question.truth, "predicted_at": at or timezone.now()}
    if when == When.BEFORE:
        Prediction.objects.get_or_create(assignment=row, when=when, defaults=known)
    else:
        Prediction.objects.update_or_create(assignment=row, when=when, defaults=known)


def _append(row: Assignment, revision: int, choice: str, at: datetime, **given: Any) -> Judgement:
    transaction.on_commit(partial(announce, f"study.{row.rater.study_id}", "study.changed"), robust=True)
    return Judgement.objects.create(assignment=row, revision=revision, choice=choice, judged_at=at, **given)
