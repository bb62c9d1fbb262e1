from __future__ import annotations

from collections import Counter
from datetime import timedelta
from random import Random
from threading import Thread
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from studies import assignment, judging, order
from studies.models import Assignment, CheckItem, Comparison, Judgement, Rater, Study
from studies.tests import cast

METHODS = ("inverse", "chain", "self_explain")


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


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    problems=st.integers(1, 9),
    arms=st.integers(2, 3),
    wanted=st.integers(1, 4),
    raters=st.integers(1, 4),
    repeats=st.integers(0, 3),
    seed=st.integers(0, 2**31 - 1),
)
def test_for_any_study_sides_differ_by_at_most_one_per_rater_and_pair(
    db: None, problems: int, arms: int, wanted: int, raters: int, repeats: int, seed: int
) -> None:
    """Answers, places given back and answers that come late included."""
    with transaction.atomic():
        random = Random(seed)
        study = cast.make_study(problems, METHODS[:arms], wanted=wanted, repeats=repeats, rater_limit=30)
        people = [assignment.enrol(study, seed=random.randrange(2**31)) for _ in range(raters)]
        play_by_chance(study, people, random)
        placed: dict[Any, Counter[bool]] = {}
        for row in Assignment.objects.filter(repeat_of=None).select_related("comparison"):
            key = (row.rater_id, row.comparison.first_arm_id, row.comparison.second_arm_id)
            placed.setdefault(key, Counter())[row.first_on_left] += 1
        assert placed
        assert all(abs(count[True] - count[False]) <= 1 for count in placed.values())
        assert not Comparison.objects.filter(taken__gt=F("wanted")).exists()
        transaction.set_rollback(True)


def play_by_chance(study: Study, people: list[Rater], random: Random) -> None:
    """Raters by turns in any order; some let their time run out, and some of those answer after all."""
    at = timezone.now()
    for _ in range(len(people) * study.comparisons.count() + 20):
        rater = random.choice(people)
        given = assignment.next_for(rater, at)
        if isinstance(given, Assignment) and random.random() < 0.9:
            judging.record(given, "first", at=at)
        elif isinstance(given, Assignment):
            assignment.release_expired(study, at + 2 * assignment.reserved())
            if random.random() < 0.5:
                judging.record(given, "second", at=at)


def test_sides_are_about_even_within_a_comparison(make_study: Any) -> None:
    study = make_study(problems=6, wanted=10, rater_limit=6)
    judge_all(study, raters=10)
    for comparison in study.comparisons.all():
        left = comparison.assignments.filter(first_on_left=True).count()
        assert 3 <= left <= 7


def test_each_rater_has_an_own_order_that_the_seed_fixes(make_study: Any) -> None:
    study = make_study(problems=8, wanted=9, rater_limit=8)
    same = [assignment.enrol(study, seed=5) for _ in range(2)]
    others = [assignment.enrol(study, seed=seed) for seed in (6, 7, 8)]
    orders = []
    for rater in same + others:
        while shown := assignment.next_for(rater):
            judging.record(shown, "first")  # type: ignore[arg-type]
        rows = Assignment.objects.filter(rater=rater).order_by("number")
        assert [row.number for row in rows] == list(range(1, 9))
        orders.append(tuple(rows.values_list("comparison__position", flat=True)))
    assert orders[0] == orders[1] == tuple(order.shuffled(5, 8))
    assert len(set(orders)) == 4


@pytest.mark.parametrize("seed", range(5))
def test_repeats_come_later_with_sides_swapped_and_take_no_place(make_study: Any, seed: int) -> None:
    study = make_study(problems=10, wanted=2, repeats=3)
    rater = assignment.enrol(study, seed=seed)
    while shown := assignment.next_for(rater):
        judging.record(shown, "first")  # type: ignore[arg-type]
    repeats = Assignment.objects.filter(repeat_of__isnull=False).select_related("repeat_of")
    assert len(repeats) == 3
    assert len({row.repeat_of_id for row in repeats}) == 3
    for row in repeats:
        assert row.repeat_of
        assert row.comparison_id == row.repeat_of.comparison_id
        assert row.first_on_left != row.repeat_of.first_on_left
        assert row.number - row.repeat_of.number > order.APART, "at least three others between"
    assert set(study.comparisons.values_list("taken", flat=True)) == {1}
    assert Judgement.objects.comparing().count() == 10


def test_a_short_study_repeats_with_what_distance_it_has(make_study: Any) -> None:
    study = make_study(problems=2, repeats=1)
    rater = assignment.enrol(study)
    while shown := assignment.next_for(rater):
        judging.record(shown, "first")  # type: ignore[arg-type]
    repeat = Assignment.objects.get(repeat_of__isnull=False)
    assert repeat.repeat_of
    assert (repeat.repeat_of.number, repeat.number) == (1, 3)


def test_a_repeat_in_hand_is_never_given_back(make_study: Any) -> None:
    study = make_study(problems=4, repeats=1)
    rater = assignment.enrol(study)
    for _ in range(4):
        judging.record(assignment.next_for(rater), "first")  # type: ignore[arg-type]
    held = assignment.next_for(rater)
    assert isinstance(held, Assignment)
    assert held.repeat_of_id
    assert assignment.release_expired(study, timezone.now() + 2 * assignment.reserved()) == 0
    judging.record(held, "second")
    assert set(study.comparisons.values_list("taken", flat=True)) == {1}


def test_practice_comes_first_and_gold_at_the_places_of_the_seed(make_study: Any) -> None:
    study = make_study(problems=10, wanted=1, rater_limit=10)
    for purpose, position in (("practice", 1), ("practice", 0), ("gold", 0), ("gold", 1)):
        CheckItem.objects.create(study=study, purpose=purpose, position=position, question="?", answer="!")
    rater = assignment.enrol(study, seed=3)
    met: list[str] = []
    while shown := assignment.next_for(rater):
        assert assignment.next_for(rater) == shown, "until it is answered"
        if isinstance(shown, Assignment):
            met.append("comparison")
            judging.record(shown, "first")
        else:
            met.append(f"{shown.item.purpose} {shown.item.position}")
            judging.record_check(shown, "better", 1.0)
    assert met[:2] == ["practice 0", "practice 1"]
    assert met.count("comparison") == 10
    comparisons_before = [met[:place].count("comparison") for place, what in enumerate(met) if "gold" in what]
    assert comparisons_before == order.gold_after(3, 2, 10)


def test_the_end_of_a_large_study_is_found_from_anywhere(make_study: Any) -> None:
    """When the next BATCH positions of the rater's order are full, the few places left are found all the same."""
    study = make_study(problems=40, wanted=1, rater_limit=3)
    Comparison.objects.exclude(position__in=(7, 21, 33)).update(taken=1)
    rater = assignment.enrol(study, seed=1)
    found = set()
    while shown := assignment.next_for(rater):
        judging.record(shown, "first")  # type: ignore[arg-type]
        found.add(shown.comparison.position)  # type: ignore[union-attr]
    assert found == {7, 21, 33}


def test_erasing_gives_every_place_back(make_study: Any) -> None:
    study = make_study(problems=5, wanted=2, repeats=1)
    gone, stays = assignment.enrol(study), assignment.enrol(study)
    for rater in (gone, stays):
        for _ in range(3):
            judging.record(assignment.next_for(rater), "first")  # type: ignore[arg-type]
    assignment.next_for(gone)
    assignment.erase(gone)
    assert sum(study.comparisons.values_list("taken", flat=True)) == 3
    assert set(Judgement.objects.values_list("assignment__rater", flat=True)) == {stays.pk}


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
