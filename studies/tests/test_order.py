from __future__ import annotations

from collections import Counter
from itertools import islice, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studies import order

SEEDS = st.integers(0, 2**31 - 1)


@given(SEEDS, st.integers(0, 300))
def test_every_position_comes_once(seed: int, size: int) -> None:
    assert sorted(order.shuffled(seed, size)) == list(range(size))


@given(SEEDS, st.integers(1, 2**40), st.integers(0, 20))
def test_a_later_look_sees_the_same_order(seed: int, size: int, start: int) -> None:
    assert order.positions(seed, size, start, 5) == list(islice(order.shuffled(seed, size), start, start + 5))


def test_all_orders_are_about_equally_likely() -> None:
    drawn = Counter(tuple(order.shuffled(seed, 4)) for seed in range(4800))
    assert set(drawn) == set(permutations(range(4)))
    assert all(140 <= count <= 260 for count in drawn.values())  # 200 ± 4.3 standard deviations


@given(SEEDS, st.integers(0, 8), st.integers(1, 40))
def test_repeats_come_where_enough_stands_between(seed: int, repeats: int, limit: int) -> None:
    due = order.repeats_after(seed, repeats, limit)
    assert due == sorted(due)
    assert len(due) == repeats
    assert all(after == limit or order.APART < after < limit for after in due)


@given(SEEDS, st.integers(1, 8), st.integers(10, 40))
def test_gold_comes_neither_first_nor_last_and_never_twice_in_a_row(seed: int, gold: int, limit: int) -> None:
    due = order.gold_after(seed, gold, limit)
    assert len(set(due)) == gold
    assert all(1 <= after < limit for after in due)


@pytest.mark.parametrize("limit", [0, 1, 2])
def test_more_gold_than_places_comes_at_the_end(limit: int) -> None:
    assert order.gold_after(0, 3, limit) == [1, 1, 1]


def test_a_coin_is_fair_and_stays() -> None:
    heads = sum(order.coin(seed, "side 0") for seed in range(2000))
    assert 900 <= heads <= 1100
    assert order.coin(7, "side 3") == order.coin(7, "side 3")
