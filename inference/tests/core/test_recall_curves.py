"""How many points a ranking finds for a budget: the statistics of the benchmark of recall, on planted numbers."""

from pathlib import Path

import numpy as np
import pytest

import inference

BENCHMARKS = Path(inference.__file__).parent.parent / "benchmarks"


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)


def ranked(scores, points, costs=None):
    from recall_parts.curves import Ranked

    return Ranked(np.array(scores, float), np.array(costs or [1.0] * len(scores)), np.array(points, bool))


def planted(turned=1, seed=0):
    """40 problems of 4 steps, one or two of which are points; the score tells which, or with -1 which are not."""
    draw = np.random.default_rng(seed)
    points = [draw.permutation([True, bool(draw.integers(2)), False, False]) for _ in range(40)]
    return [ranked(turned * (own + 0.1 * draw.random(4)), own) for own in points]


def test_a_ranking_that_knows_finds_all_points_and_its_reverse_none():
    from recall_parts import curves

    for turned, expected in ((1, 1.0), (-1, 0.0)):
        problems = planted(turned)
        found = curves.found_by(problems, 0.5)
        assert curves.recall(found, curves.points_of(problems)) == expected
    assert curves.area(planted(1)) > 0.75
    assert curves.area(planted(1)) + curves.area(planted(-1)) == pytest.approx(1.0)


@pytest.mark.parametrize("budget", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_equal_scores_find_the_share_that_is_paid_for(budget):
    from recall_parts import curves

    problems = [ranked([3.0] * size, [True, *[False] * (size - 1)]) for size in (1, 2, 3, 7)]
    assert curves.curve(problems, np.array([budget]))[0] == pytest.approx(budget)


def test_chances_are_those_of_random_order_among_ties():
    """Against drawing the order of equal scores many times, and the step that is only partly paid."""
    from recall_parts.curves import paid

    scores, budget, draw = np.array([2.0, 1.0, 1.0, 1.0, 0.0]), 0.5, np.random.default_rng(3)
    drawn = np.zeros(5)
    for _ in range(4000):
        order = np.lexsort((draw.random(5), -scores))
        count = int(budget * 5) + (draw.random() < budget * 5 % 1)
        drawn[order[:count]] += 1 / 4000
    np.testing.assert_allclose(paid(scores, np.ones(5), np.array([budget]))[0], drawn, atol=0.04)


def test_exactly_the_budget_is_spent_whatever_steps_cost():
    from recall_parts.curves import paid

    draw, budgets = np.random.default_rng(5), np.array([0.0, 0.3, 0.77, 1.0])
    scores, costs = draw.integers(3, size=9).astype(float), draw.random(9) + 0.1
    np.testing.assert_allclose(paid(scores, costs, budgets) @ costs, budgets * costs.sum())


def test_a_budget_is_a_share():
    from recall_parts.curves import paid

    with pytest.raises(ValueError, match="0 to 1"):
        paid(np.ones(1), np.ones(1), np.array([0.5, 1.5]))


def test_problems_without_a_point_do_not_count():
    from recall_parts import curves

    with_points = planted()
    without = [ranked([1.0, 2.0], [False, False])] * 20
    for problems in (with_points, [*with_points, *without]):
        assert curves.recall(curves.found_by(problems, 0.25), curves.points_of(problems)) == pytest.approx(
            curves.curve(with_points, np.array([0.25]))[0]
        )
    assert np.isnan(curves.area(without))
    assert np.isnan(curves.interval(curves.found_by(without, 0.5), curves.points_of(without))).all()


def test_the_interval_holds_the_recall_and_shrinks_with_problems():
    from recall_parts import curves

    draw = np.random.default_rng(8)
    problems = [ranked(draw.random(4), draw.random(4) < 0.3) for _ in range(400)]
    widths = []
    for count in (40, 400):
        found, points = curves.found_by(problems[:count], 0.5), curves.points_of(problems[:count])
        low, high = curves.interval(found, points)
        assert low <= curves.recall(found, points) <= high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_pairs_are_counted_as_they_are_ordered():
    from recall_parts.curves import in_order

    effects = np.array([0.3, 0.1, 0.2, 0.2])
    assert in_order(effects * 9, effects) == (5.0, 5)  # the two equal effects say nothing
    assert in_order(-effects, effects) == (0.0, 5)
    assert in_order(np.zeros(4), effects) == (2.5, 5)
    assert in_order(np.zeros(0), np.zeros(0)) == (0.0, 0)


def test_corrections_keep_order_and_are_the_known_ones():
    from recall_parts.curves import benjamini_hochberg, holm

    p = [0.04, 0.01, 0.03, 0.9]
    assert holm(p).tolist() == pytest.approx([0.09, 0.04, 0.09, 0.9])
    assert benjamini_hochberg(p).tolist() == pytest.approx([0.16 / 3, 0.04, 0.16 / 3, 0.9])
    for adjust in (holm, benjamini_hochberg):
        assert adjust([]).tolist() == []
        assert adjust([0.02]).tolist() == [0.02]
        assert (adjust(p) >= p).all()
