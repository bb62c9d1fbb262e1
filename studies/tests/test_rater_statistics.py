from __future__ import annotations

from random import Random
from typing import Any

import pytest
from django.test import Client

from studies import assignment, judging, rater_statistics, simulation
from studies.models import Assignment, Judgement, Study
from studies.rater_statistics import consistency_of, gain_of, interval_over_raters


def play(study: Study, raters: int, choose: Any) -> None:
    for number in range(raters):
        rater = assignment.enrol(study, seed=number)
        while (given := assignment.next_for(rater)) is not None:
            assert isinstance(given, Assignment)
            judging.record(given, choose(given))


def test_consistency_counts_answers_that_stayed(make_study: Any) -> None:
    study = make_study(problems=6, wanted=9, repeats=2)
    play(study, 5, lambda given: "second" if given.repeat_of_id and given.rater.seed == 0 else "first")
    found = rater_statistics.consistency(study)
    assert found
    assert (found.same, found.repeats, found.raters) == (8, 10, 5)
    assert found.interval == (0.4, 1.0), "one of five raters, drawn between no time and three times"


def test_consistency_leaves_out_what_nobody_judged_or_took_back(make_study: Any) -> None:
    study = make_study(problems=6, wanted=9, repeats=2)
    play(study, 1, lambda given: "cannot_judge" if given.repeat_of_id else "tie")
    assert rater_statistics.consistency(study) is None
    repeat = Assignment.objects.filter(repeat_of__isnull=False).first()
    assert repeat
    judging.answer(repeat, "tie", revision=2, changing=True)
    found = rater_statistics.consistency(study)
    assert found
    assert (found.same, found.repeats, found.interval) == (1, 1, None)
    Judgement.objects.create(assignment=repeat.repeat_of, revision=2, choice="undone")
    assert rater_statistics.consistency(study) is None


def test_chance_is_what_two_independent_mixes_share() -> None:
    found = consistency_of([(1, "first", "first"), (1, "second", "first"), (2, "tie", "tie"), (2, "tie", "second")])
    assert found
    assert found.share == 0.5
    # first: 1/4 x 2/4, second: 1/4 x 1/4, tie: 2/4 x 1/4
    assert found.chance == pytest.approx((2 + 1 + 2) / 16)


def test_all_the_same_is_not_certain() -> None:
    found = consistency_of([(rater, "tie", "tie") for rater in range(6)])
    assert found
    assert found.interval == (pytest.approx(6 / (6 + 1.96**2)), pytest.approx(1.0))


def test_gain_is_right_after_minus_right_before() -> None:
    rows = [(rater, "a", "b", rater == 0, rater in (0, 1, 2)) for rater in range(6)]
    found = gain_of(("a", "b"), rows)
    assert (found.n, found.raters, found.before, found.after) == (6, 6, pytest.approx(1 / 6), pytest.approx(1 / 2))
    assert found.gain == pytest.approx(1 / 3)
    assert found.interval
    assert found.interval[0] < found.gain < found.interval[1]
    assert gain_of(("a", "b"), rows[:4]).interval is None, "too few raters"


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """200 simulated studies with 12 raters of different skill: percentile intervals of so few miss a little often."""
    random, misses = Random(0), 0
    for study in range(200):
        skills = [random.gauss(0.3, 0.2) for _ in range(12)]
        values = [float(random.random() < skill) for skill in skills for _ in range(10)]
        low, high = interval_over_raters(values, [r for r in range(12) for _ in range(10)], study) or (0, 0)
        misses += not low <= 0.3 <= high
    assert misses <= 28  # 14 %; 5 % nominal, and a little more with so few clusters


def test_gains_come_from_pages_to_the_results(make_study: Any, staff_client: Client) -> None:
    study = make_study(problems=4, wanted=9, simulation="forward")
    for number in range(5):
        rater = assignment.enrol(study, seed=number)
        while (given := assignment.next_for(rater)) is not None:
            assert isinstance(given, Assignment)
            question = simulation.asked(study, given)
            assert question
            judging.predict(given, "before", question, 0)
            right = given.number > 1 or number % 2 == 0
            judging.record(given, "first", predicted=(question, question.truth if right else 0))
    found = rater_statistics.gains(study)
    assert [(gain.first, gain.second, gain.n, gain.before) for gain in found] == [("inverse", "chain", 20, 0.0)]
    assert found[0].after == pytest.approx(18 / 20)
    page = staff_client.get(f"/studies/{study.slug}/").content.decode()
    assert "Having read inverse and chain, raters predicted the model better" in page
    assert "does not say which of them taught it" in page
