"""Hands comparisons to raters. The only writer of raters, assignments and `Comparison.taken`."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from random import Random

from django.db import transaction
from django.db.models import Count, F, Q
from django.utils import timezone

from studies.models import Assignment, Comparison, Rater, Study
from studies.querysets import AssignmentQuerySet

RESERVED = timedelta(minutes=30)  # how long a comparison waits for the rater who holds it


def enrol(study: Study, at: datetime | None = None) -> Rater:
    """A new rater, who begins at a place of the study's order that their id and the study's seed decide."""
    public_id = uuid.uuid4()
    places = study.comparisons.count()
    start = Random(f"{study.seed}/{public_id}").randrange(max(places, 1))
    return Rater.objects.create(study=study, public_id=public_id, start=start, consented_at=at or timezone.now())


def next_for(rater: Rater, at: datetime | None = None) -> Assignment | None:
    """The comparison that the rater is on, or a new one, or None when there is none to give now.

    Atomic: two tabs get the same comparison, two raters never take the same last place.
    """
    at = at or timezone.now()
    with transaction.atomic():
        locked = Rater.objects.select_for_update().with_counts()
        given, closed = locked.values_list("given", "closed_at").get(pk=rater.pk)  # type: ignore[misc]
        unanswered = in_hand(rater).with_texts().order_by("pk").first()
        if unanswered or closed or given >= rater.study.rater_limit:
            return unanswered
        return claim(rater, at) or (release_expired(rater.study, at) and claim(rater, at)) or None


def in_hand(rater: Rater) -> AssignmentQuerySet:
    """What the rater holds and has not answered."""
    return Assignment.objects.filter(rater=rater, released_at__isnull=True).unanswered()


def something_for(rater: Rater) -> bool:
    """Whether `next_for` would give something now. Takes nothing."""
    given, closed = Rater.objects.with_counts().values_list("given", "closed_at").get(pk=rater.pk)  # type: ignore[misc]
    if in_hand(rater).exists():
        return True
    return not closed and given < rater.study.rater_limit and next_open(rater) is not None


def claim(rater: Rater, at: datetime) -> Assignment | None:
    while (comparison := next_open(rater)) is not None:
        wanting = Comparison.objects.wanting().filter(pk=comparison.pk)
        if wanting.update(taken=F("taken") + 1):
            left = first_on_left(rater, comparison)
            return Assignment.objects.create(comparison=comparison, rater=rater, assigned_at=at, first_on_left=left)
    return None


def next_open(rater: Rater) -> Comparison | None:
    """The first open comparison from the rater's start on, wrapping round, that the rater has not been given."""
    open_to_me = Comparison.objects.open().filter(study=rater.study_id).not_given_to(rater).with_texts()
    in_order = open_to_me.order_by("position")
    return in_order.filter(position__gte=rater.start).first() or in_order.filter(position__lt=rater.start).first()


def first_on_left(rater: Rater, comparison: Comparison) -> bool:
    """Counterbalanced within rater and pair of arms, then within comparison, then by a coin of the study's seed."""
    seen = Assignment.objects.filter(released_at__isnull=True, comparison__study=rater.study_id)
    same_arms = Q(comparison__first_arm=comparison.first_arm_id, comparison__second_arm=comparison.second_arm_id)
    counts = seen.filter(Q(rater=rater) & same_arms | Q(comparison=comparison)).aggregate(
        mine_left=Count("pk", filter=Q(rater=rater, first_on_left=True)),
        mine_right=Count("pk", filter=Q(rater=rater, first_on_left=False)),
        all_left=Count("pk", filter=Q(comparison=comparison, first_on_left=True)),
        all_right=Count("pk", filter=Q(comparison=comparison, first_on_left=False)),
    )
    lead = (counts["mine_left"] - counts["mine_right"]) or (counts["all_left"] - counts["all_right"])
    coin = Random(f"{rater.study.seed}/{rater.public_id}/{comparison.pk}").random() < 0.5
    return lead < 0 or (lead == 0 and coin)


def release_expired(study: Study, at: datetime) -> int:
    """Give back the places of raters who did not answer in time; return how many."""
    late = Assignment.objects.filter(
        comparison__study=study, released_at__isnull=True, assigned_at__lt=at - RESERVED
    ).unanswered()
    return sum(release(row, at) for row in late)


def release(assignment: Assignment, at: datetime) -> bool:
    with transaction.atomic():
        held = Assignment.objects.filter(pk=assignment.pk, released_at__isnull=True)
        # Locked first, then looked at again: an answer may have come in since it was found unanswered.
        if not held.select_for_update().exists() or not held.unanswered().update(released_at=at):
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
