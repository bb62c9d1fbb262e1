from __future__ import annotations

from random import Random

import numpy as np
import pytest

from studies.statistics import Vote, clustered_interval, krippendorff, left_share, pair_result


def vote(choice: str, problem: int = 0, rater: int = 0, left: bool = True) -> Vote:
    return Vote("a", "b", problem, rater, problem, choice, left)


def test_score_counts_ties_and_both_bad_as_half() -> None:
    votes = [vote("first"), vote("first"), vote("second"), vote("tie"), vote("both_bad")]
    result = pair_result(votes)
    assert (result.wins, result.losses, result.ties, result.both_bad, result.n) == (2, 1, 1, 1, 5)
    assert result.score == pytest.approx(3 / 5)


def test_few_raters_or_few_problems_give_no_interval() -> None:
    assert pair_result([vote("first", problem=i) for i in range(9)]).low is None
    assert pair_result([vote("first", rater=i) for i in range(9)]).low is None
    assert pair_result([vote("first", problem=i % 4, rater=i) for i in range(9)]).low is None


def test_unanimous_votes_are_not_certain() -> None:
    result = pair_result([vote("first", problem=p, rater=r) for p in range(6) for r in range(5)])
    assert result.score == 1
    assert result.low == pytest.approx(5 / (5 + 1.96**2), abs=1e-6)
    assert result.high == pytest.approx(1)


def test_clustering_widens_the_interval() -> None:
    points = np.array([1.0] * 50 + [0.0] * 50)
    clustered = clustered_interval(points, [i // 10 for i in range(100)], [i % 10 for i in range(100)])
    apart = clustered_interval(points, list(range(100)), list(range(100)))
    assert clustered is not None
    assert apart is not None
    assert clustered[1] - clustered[0] > apart[1] - apart[0]


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """60 simulated studies with problem and rater effects: at 95 % nominal, 3 or fewer misses in 20 are expected."""
    random, misses, truth = Random(0), 0, 0.5
    for study in range(60):
        of_problem = [random.gauss(0, 0.15) for _ in range(12)]
        of_rater = [random.gauss(0, 0.15) for _ in range(12)]
        cells = [(p, r) for p in range(12) for r in range(12)]
        points = np.array([float(random.random() < truth + of_problem[p] + of_rater[r]) for p, r in cells])
        low, high = clustered_interval(points, [p for p, _ in cells], [r for _, r in cells], study) or (0, 0)
        misses += not low <= truth <= high
    assert misses <= 9


def test_agreement_is_one_when_all_agree_and_about_zero_by_chance() -> None:
    agreed = [vote("first" if p % 2 else "second", p, r) for p in range(20) for r in range(3)]
    assert krippendorff(agreed)[0] == pytest.approx(1.0)
    random = Random(1)
    by_chance = [vote(random.choice(["first", "second", "tie"]), p, r) for p in range(200) for r in range(3)]
    alpha, interval = krippendorff(by_chance)
    assert alpha == pytest.approx(0.0, abs=0.1)
    assert interval is not None
    assert interval[0] < 0 < interval[1]


def test_agreement_matches_a_worked_example() -> None:
    """Two raters, four units, one disagreement: observed 1/4; expected 1 - (5·4 + 3·2)/(8·7) = 30/56."""
    rows = [("first", "first"), ("first", "first"), ("second", "second"), ("first", "second")]
    votes = [vote(choice, unit, rater) for unit, pair in enumerate(rows) for rater, choice in enumerate(pair)]
    assert krippendorff(votes)[0] == pytest.approx(1 - (1 / 4) / (30 / 56))


def test_agreement_needs_a_comparison_judged_twice_and_two_kinds_of_answer() -> None:
    assert krippendorff([vote("first", problem=1), vote("second", problem=2)]) == (None, None)
    assert krippendorff([vote("first", rater=1), vote("first", rater=2)]) == (None, None)


def test_left_share_sees_a_side_bias() -> None:
    biased = [vote("first", left=True), vote("second", left=False), vote("tie")]
    assert left_share(biased) == 1.0
    assert left_share([vote("tie")]) is None
