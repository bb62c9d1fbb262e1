"""The statistics of the causal test, on planted answers."""

import numpy as np
import pytest

from inference.core import effect

OUTCOMES = 5


def false_alarms(sizes, trials=300):
    """Share of confirmed effects where both groups are drawn from the same distribution."""
    random = np.random.default_rng(5)
    answers = random.choice(OUTCOMES, p=[0.4, 0.3, 0.2, 0.05, 0.05], size=(trials, sum(sizes))).tolist()
    found = [effect.measure(row[: sizes[0]], row[sizes[0] :], OUTCOMES, seed=1) for row in answers]
    return sum(effect.confirmed(one, sizes[1], sum(sizes)) for one in found) / trials


def test_a_planted_effect_is_confirmed_with_enough_resamples():
    measured = effect.measure([0] * 10, [1] * 8 + [0] * 2, OUTCOMES, seed=0)
    assert effect.confirmed(measured, 10, 19)
    assert measured.p_value < 0.01
    assert measured.interval[0] > 0


def test_the_same_planted_effect_is_not_confirmed_with_few():
    measured = effect.measure([0, 0], [1], OUTCOMES, seed=0)
    assert measured.p_value == pytest.approx(1 / 3)
    assert not effect.confirmed(measured, 1, 2)


@pytest.mark.parametrize("sizes", [(4, 3), (10, 11), (30, 31)])
def test_no_effect_is_confirmed_in_about_five_percent_at_most(sizes):
    assert false_alarms(sizes) <= 0.08


def test_the_same_answers_in_both_groups_are_no_effect():
    measured = effect.measure([0, 1, 2], [0, 1, 2], OUTCOMES, seed=0)
    assert measured.value == pytest.approx(0)
    assert measured.p_value == 1


def test_the_exact_test_counts_every_regrouping():
    measured = effect.measure([0] * 4, [1] * 3, OUTCOMES, seed=0)
    assert measured.p_value == pytest.approx(1 / 35)


def test_random_regroupings_agree_with_the_exact_ones(monkeypatch):
    kept, different = [0] * 5 + [1] * 2, [0] * 2 + [1] * 4
    exact = effect.measure(kept, different, OUTCOMES, seed=0)
    monkeypatch.setattr(effect, "EXACT", 1)
    assert effect.measure(kept, different, OUTCOMES, seed=0).p_value == pytest.approx(exact.p_value, abs=0.03)


def test_divergence_by_hand():
    # Smoothed: p = (3, 1) / 4 and q = (1, 3) / 4, so KL = ½·ln 3.
    assert effect.divergence(np.array([2.0, 0]), np.array([0, 2.0])) == pytest.approx(0.5 * np.log(3))


def test_an_effect_needs_both_groups_and_a_fifth_of_the_resamples():
    assert effect.measure([0], [], OUTCOMES, seed=0) is None
    assert not effect.confirmed(None, 0, 6)
    strong = effect.measure([0] * 40, [1] * 4, OUTCOMES, seed=0)
    assert strong.p_value < 0.01
    assert effect.confirmed(strong, 9, 43)
    assert not effect.confirmed(strong, 8, 43)


def test_the_verdict_says_what_could_be_compared():
    strong = effect.measure([0] * 8, [1] * 8, 2, seed=0)
    weak = effect.measure([0, 1] * 4, [1, 0] * 4, 2, seed=0)
    assert effect.verdict(strong, 8, 8) == "confirmed"
    assert effect.verdict(strong, 1, 8) == "not confirmed"
    assert effect.verdict(weak, 8, 8) == "not confirmed"
    assert effect.verdict(None, 0, 8) == "not confirmed"
    assert effect.verdict(None, 5, 8) == "untested"
    assert effect.verdict(None, 0, 0) == "untested"


def test_the_excess_is_the_effect_without_its_chance_level_and_the_interval_is_of_it():
    weak = effect.measure([0, 1] * 4, [1, 0] * 4, 2, seed=0)
    assert weak.value == pytest.approx(0)
    assert weak.excess < 0
    strong = effect.measure([0] * 8, [1] * 8, 2, seed=0)
    assert 0 < strong.excess < strong.value
    assert strong.interval[0] <= strong.excess <= strong.interval[1]
