"""Hands comparisons and check items to raters. The only writer of raters, assignments and `Comparison.taken`."""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Case, CharField, F, Q, Subquery, Value, When
from django.db.models.functions import Cast, Concat, StrIndex
from django.utils import timezone

from studies import order
from studies.models import Assignment, CheckAnswer, CheckItem, Comparison, Rater, Study
from studies.prepared import Prepared
from studies.querysets import AssignmentQuerySet, ComparisonQuerySet

BATCH = 32  # positions of a rater's order that are looked at in one query
HANDS = Prepared(lambda pk: Rater.objects.with_hand().filter(pk=pk), int)
HELD = Prepared(lambda pk: Assignment.objects.with_texts().filter(pk=pk), int)


def reserved() -> timedelta:
    """How long a comparison waits for the rater who holds it."""
    return timedelta(seconds=settings.RESERVATION_SECONDS)


def enrol(study: Study, at: datetime | None = None, **fields: Any) -> Rater:
    """A new rater, who agreed to the study's consent text as it is now. `fields` go to the row as they are."""
    return Rater.objects.create(
        study=study, consented_at=at or timezone.now(), consent_sha256=study.consent_sha256, **fields
    )


# -- What comes next -------------------------------------------------------------------------------------------------


def next_for(rater: Rater, at: datetime | None = None) -> Assignment | CheckAnswer | None:
    """What the rater is on, or the next thing, or None when there is none to give now.

    Practice items come first, then comparisons, with gold comparisons and hidden repeats at the places that the
    rater's seed decides. Atomic: two tabs get the same comparison, two raters never take the same last place.
    """
    at = at or timezone.now()
    try:
        return handed(rater, at)
    except IntegrityError:
        # Another tab of this rater was quicker: the database refuses a second thing at one place of a rater's order,
        # and nothing was kept. What that tab was given is in hand by now.
        return handed(rater, at)


def handed(rater: Rater, at: datetime) -> Assignment | CheckAnswer | None:
    with transaction.atomic():
        where = HANDS.get(rater.pk)
        held = in_hand(rater, where)
        if held or where.closed_at:
            return held
        return check_due(rater, where, at) or repeat_due(rater, where, at) or comparison_due(rater, where, at)


def in_hand(rater: Rater, where: Any) -> Assignment | CheckAnswer | None:
    """What was handed out and is not answered yet. An answer that was taken back goes before a check item."""
    if where.held:
        row: Assignment = HELD.get(where.held)
        row.rater = rater
        return row
    if where.check_held:
        return CheckAnswer.objects.select_related("item").get(pk=where.check_held)
    return None


def something_for(rater: Rater) -> bool:
    """Whether `next_for` would give something now. Takes nothing."""
    where = HANDS.get(rater.pk)
    if where.held or where.check_held or where.closed_at:
        return bool(where.held or where.check_held)
    return limit(rater, where) > where.given and next_open(rater, where) is not None


def limit(rater: Rater, where: Any) -> int:
    """How many comparisons this rater is given at most, repeats and check items not counted."""
    return min(rater.study.rater_limit, int(where.places))


# -- Check items and repeats -----------------------------------------------------------------------------------------


def check_due(rater: Rater, where: Any, at: datetime) -> CheckAnswer | None:
    """The next practice item, or a gold comparison that is due by now."""
    if where.practice:
        return hand_check(rater, CheckItem.objects.get(pk=where.practice), at)
    due = order.gold_after(rater.seed, where.gold, limit(rater, where))
    if where.gold_given >= where.gold or due[where.gold_given] > where.given:
        return None
    mine = CheckAnswer.objects.filter(rater=rater)
    left = CheckItem.objects.filter(study=rater.study_id, purpose="gold").exclude(pk__in=mine.values("item"))
    return hand_check(rater, Random(f"{rater.seed}/gold/{where.gold_given}").choice(list(left)), at)


def hand_check(rater: Rater, item: CheckItem, at: datetime) -> CheckAnswer:
    left = order.coin(rater.seed, f"check {item.purpose} {item.position}")
    return CheckAnswer.objects.create(item=item, rater=rater, better_on_left=left, given_at=at)


def repeat_due(rater: Rater, where: Any, at: datetime) -> Assignment | None:
    """A comparison of long enough ago once more, sides swapped. It takes no place."""
    due = order.repeats_after(rater.seed, rater.study.repeats, limit(rater, where))
    if where.repeated >= len(due) or due[where.repeated] > where.given:
        return None
    earlier = repeatable(rater, where)
    if not earlier:
        return None
    source = HELD.get(Random(f"{rater.seed}/repeat/{where.repeated}").choice(earlier))
    return hand_out(rater, source.comparison, where, at, left=not source.first_on_left, repeat_of=source)


def repeatable(rater: Rater, where: Any) -> list[int]:
    """Comparisons not repeated yet with at least order.APART others since; in a study too short for that the oldest
    alone, if there was any other since.
    """
    mine = Assignment.objects.filter(rater=rater, repeat_of__isnull=True, released_at__isnull=True, repeat=None)
    numbers = list(mine.order_by("number").values_list("pk", "number"))
    far = [pk for pk, number in numbers if where.number - number >= order.APART]
    last_chance = where.given >= limit(rater, where)
    return far or [pk for pk, number in numbers[:1] if last_chance and where.number > number]


# -- Comparisons -----------------------------------------------------------------------------------------------------


def comparison_due(rater: Rater, where: Any, at: datetime) -> Assignment | None:
    """The next comparison of the rater's order; None at the limit or without an open place, given back or not."""
    if where.given >= limit(rater, where):
        return None
    return claim(rater, where, at) or (release_expired(rater.study, at) and claim(rater, where, at)) or None


def claim(rater: Rater, where: Any, at: datetime) -> Assignment | None:
    while (comparison := next_open(rater, where)) is not None:
        if Comparison.objects.wanting().filter(pk=comparison.pk).update(taken=F("taken") + 1):
            return hand_out(rater, comparison, where, at, first_on_left(rater, comparison))
    return None


def next_open(rater: Rater, where: Any) -> Any:
    """The next open comparison of the rater's own random order that the rater has not been given.

    Where the next BATCH positions are all taken, as at the end of a study, the first from a random position on.
    """
    batch = order.positions(rater.seed, where.places, where.given, BATCH)
    if not batch:
        return None
    ranked = "".join(f",{position}," for position in batch)
    filled = batch + batch[-1:] * (BATCH - len(batch))
    return NEAREST.first(rater.pk, rater.study_id, ranked, *filled) or from_anywhere(rater, where)


def nearest(rater: int, study: int, ranked: str, *batch: int) -> ComparisonQuerySet:
    """The one whose position comes first in `ranked`: ",7," in ",12,,7,,3,", one expression where CASE takes 32."""
    place = StrIndex(Value(ranked), Concat(Value(","), Cast("position", CharField()), Value(",")))
    mine = open_to(rater, study).filter(position__in=batch)
    return shown(rater).filter(pk=Subquery(mine.order_by(place).values("pk")[:1]))


def from_anywhere(rater: Rater, where: Any) -> Any:
    """The first from a seeded position on, wrapping round; flat, since only wanting ones are indexed."""
    start = Random(f"{rater.seed}/from {where.number}").randrange(where.places)
    return NEXT.first(rater.pk, rater.study_id, start)


def next_from(rater: int, study: int, start: int) -> ComparisonQuerySet:
    first = [
        Subquery(open_to(rater, study).filter(part).order_by("position").values("pk")[:1])
        for part in (Q(position__gte=start), Q(position__lt=start))
    ]
    wrapped = Case(When(position__gte=start, then=0), default=1)
    return shown(rater).filter(pk__in=first).order_by(wrapped)[:1]  # type: ignore[misc]  # subqueries are allowed


def open_to(rater: int, study: int) -> ComparisonQuerySet:
    return Comparison.objects.open().filter(study=study).not_given_to(rater)


def shown(rater: int) -> ComparisonQuerySet:
    """Looked at for the one that was found alone: texts and counts of many would be read from all over the disk."""
    return Comparison.objects.with_texts().with_leads(rater)


NEAREST = Prepared(nearest, int, int, str, *[int] * BATCH)
NEXT = Prepared(next_from, int, int, int)


def first_on_left(rater: Rater, comparison: Any) -> bool:
    """Counterbalanced within rater and pair of arms, then within comparison, then by a coin of the rater's seed."""
    lead = comparison.mine_lead or comparison.all_lead
    return bool(lead < 0 or (lead == 0 and order.coin(rater.seed, f"side {comparison.position}")))


def hand_out(
    rater: Rater, comparison: Comparison, where: Any, at: datetime, left: bool, repeat_of: Assignment | None = None
) -> Assignment:
    return Assignment.objects.create(
        comparison=comparison,
        rater=rater,
        repeat_of=repeat_of,
        number=where.number + 1,
        first_on_left=left,
        assigned_at=at,
    )


# -- Places given back -----------------------------------------------------------------------------------------------


def release_expired(study: Study, at: datetime) -> int:
    """Give back the places of raters who did not answer in time; return how many."""
    late = Assignment.objects.filter(comparison__study=study, assigned_at__lt=at - reserved())
    return sum(release(row, at) for row in holding(late))


def holding(rows: AssignmentQuerySet) -> AssignmentQuerySet:
    """Those that hold a place without an answer. A repeat never holds one."""
    return rows.filter(released_at__isnull=True, repeat_of__isnull=True).unanswered()


def release(assignment: Assignment, at: datetime) -> bool:
    with transaction.atomic():
        held = Assignment.objects.filter(pk=assignment.pk, released_at__isnull=True)
        # Locked first, then looked at again: an answer may have come in since it was found unanswered.
        if not held.select_for_update(skip_locked=True).exists() or not held.unanswered().update(released_at=at):
            return False
        Comparison.objects.filter(pk=assignment.comparison_id).update(taken=F("taken") - 1)
        return True


def take_back(assignment: Assignment) -> bool:
    """Give a released assignment its place again, for a rater who answers late; False when the place is gone."""
    wanting = Comparison.objects.wanting().filter(pk=assignment.comparison_id)
    if not wanting.update(taken=F("taken") + 1):
        return False
    Assignment.objects.filter(pk=assignment.pk).update(released_at=None)
    return True


def reopen(assignment: Assignment, at: datetime) -> None:
    """Start the reservation anew, for an answer that was taken back."""
    Assignment.objects.filter(pk=assignment.pk).update(assigned_at=at)


def release_held(rater: Rater, at: datetime | None = None) -> int:
    """Give back what the rater holds without an answer, as on withdrawal; return how many places."""
    with transaction.atomic():
        return sum(release(row, at or timezone.now()) for row in holding(Assignment.objects.filter(rater=rater)))


def erase(rater: Rater) -> None:
    """Delete everything that the rater was handed, with all answers, and give the places back to others."""
    with transaction.atomic():
        mine = Assignment.objects.filter(rater=rater, released_at__isnull=True, repeat_of__isnull=True)
        Comparison.objects.filter(pk__in=mine.values("comparison")).update(taken=F("taken") - 1)
        CheckAnswer.objects.filter(rater=rater).delete()
        Assignment.objects.filter(rater=rater).delete()
