from __future__ import annotations

from collections import Counter
from datetime import timedelta
from threading import Thread
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from studies import assignment, judging
from studies.models import Assignment, Comparison, Judgement, Study
from studies.tests import cast


def judge_all(study: Study, raters: int) -> None:
    for _ in range(raters):
        rater = assignment.enrol(study)
        while (given := assignment.next_for(rater)) is not None:
            judging.record(given, "first")


def test_every_wanted_count_is_met_exactly(study: Study) -> None:
    judge_all(study, raters=5)
    assert [comparison.taken for comparison in study.comparisons.all()] == [3, 3, 3, 3]
    assert Judgement.objects.count() == 12


def test_the_same_comparison_until_it_is_answered(study: Study) -> None:
    rater = assignment.enrol(study)
    first = assignment.next_for(rater)
    assert assignment.next_for(rater) == first
    assert first is not None
    judging.record(first, "tie")
    assert assignment.next_for(rater) != first


def test_nobody_is_given_more_than_the_limit(make_study: Any) -> None:
    study = make_study(problems=4, rater_limit=2)
    judge_all(study, raters=1)
    assert Assignment.objects.count() == 2


def test_only_ready_comparisons_are_handed_out(make_study: Any) -> None:
    study = make_study(problems=2, ready=False)
    rater = assignment.enrol(study)
    assert assignment.next_for(rater) is None
    ready = study.comparisons.last()
    cast.make_ready(ready.first)
    cast.make_ready(ready.second)
    given = assignment.next_for(rater)
    assert given is not None
    assert given.comparison == ready


def test_a_closed_study_hands_out_nothing_new(study: Study) -> None:
    rater = assignment.enrol(study)
    begun = assignment.next_for(rater)
    study.closed_at = timezone.now()
    study.save()
    rater.refresh_from_db()
    assert assignment.next_for(rater) == begun
    assert assignment.next_for(assignment.enrol(study)) is None


def test_sides_differ_by_at_most_one_per_rater_and_pair(make_study: Any) -> None:
    study = make_study(problems=7, arms=("inverse", "chain", "self_explain"), rater_limit=21)
    judge_all(study, raters=4)
    placed: dict[Any, Counter[bool]] = {}
    for row in Assignment.objects.select_related("comparison"):
        key = (row.rater_id, row.comparison.first_arm_id, row.comparison.second_arm_id)
        placed.setdefault(key, Counter())[row.first_on_left] += 1
    assert len(placed) >= 9
    assert all(abs(count[True] - count[False]) <= 1 for count in placed.values())


def test_a_place_is_given_back_after_the_reservation(make_study: Any) -> None:
    study = make_study(problems=1, wanted=1)
    start = timezone.now()
    slow, other = assignment.enrol(study), assignment.enrol(study)
    held = assignment.next_for(slow, at=start)
    assert held is not None
    assert assignment.next_for(other, at=start + assignment.reserved() - timedelta(seconds=1)) is None
    taken = assignment.next_for(other, at=start + assignment.reserved() + timedelta(seconds=1))
    assert taken is not None
    judging.record(taken, "second")
    with pytest.raises(judging.PlaceGone):
        judging.record(held, "first")
    assert Judgement.objects.count() == 1


def test_a_late_answer_counts_while_its_place_is_free(make_study: Any) -> None:
    study = make_study(problems=1, wanted=1)
    held = assignment.next_for(assignment.enrol(study))
    assert held is not None
    assignment.release_expired(study, timezone.now() + 2 * assignment.reserved())
    assert Comparison.objects.get().taken == 0
    judging.record(held, "first")
    assert Comparison.objects.get().taken == 1


@pytest.mark.django_db(transaction=True)
def test_two_raters_at_once_never_take_the_same_last_place() -> None:
    study = cast.make_study(problems=2, wanted=2)
    raters = [assignment.enrol(study) for _ in range(8)]

    def take(rater: Any) -> None:
        try:
            for _ in range(2):
                given = assignment.next_for(rater)
                if given:
                    judging.record(given, "first")
        finally:
            connection.close()

    threads = [Thread(target=take, args=(rater,)) for rater in raters]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [comparison.taken for comparison in study.comparisons.all()] == [2, 2]
    assert Judgement.objects.count() == Assignment.objects.count() == 4


@pytest.mark.django_db(transaction=True)
def test_two_tabs_of_one_rater_get_the_same_comparison() -> None:
    rater = assignment.enrol(cast.make_study())
    given: list[Any] = []

    def take() -> None:
        try:
            given.append(assignment.next_for(rater))
        finally:
            connection.close()

    threads = [Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(given) == 4
    assert len(set(given)) == 1
    assert Assignment.objects.count() == 1
