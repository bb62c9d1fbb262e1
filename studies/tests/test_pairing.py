from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from studies.pairing import balanced_order, spread_over


@given(st.integers(1, 12), st.integers(2, 5), st.integers(0, 1000))
def test_every_comparison_once_and_every_round_balanced(problems: int, arms: int, seed: int) -> None:
    order = balanced_order(problems, arms, seed)
    assert len(set(order)) == len(order) == problems * arms * (arms - 1) // 2
    assert all(first < second < arms for _, first, second in order)
    for start in range(0, len(order), problems):
        block = order[start : start + problems]
        assert sorted(problem for problem, _, _ in block) == list(range(problems))
        pairs = Counter((first, second) for _, first, second in block)
        counts = [pairs[first, second] for first in range(arms) for second in range(first + 1, arms)]
        assert max(counts) - min(counts) <= 1


def test_the_order_follows_from_the_seed() -> None:
    assert balanced_order(6, 3, 1) == balanced_order(6, 3, 1) != balanced_order(6, 3, 2)


def test_spread_over_takes_from_each_group_in_turn() -> None:
    assert spread_over({"logic": [1, 2, 3], "maths": [4], "ethics": [5, 6]}, 5) == [1, 4, 5, 2, 6]
