"""Which comparisons a study has, and in which order. Pure: integers in, integers out."""

from __future__ import annotations

from itertools import combinations
from random import Random
from typing import TypeVar

T = TypeVar("T")


def balanced_order(problems: int, arms: int, seed: int) -> list[tuple[int, int, int]]:
    """Every (problem, first arm, second arm) once, first < second, in a balanced incomplete-block order.

    The order comes in rounds of `problems` comparisons. Each round holds every problem once, and every pair of arms
    equally often, give or take one, so that wherever raters stop, problems and pairs have been judged about evenly.
    """
    random = Random(seed)
    pairs = list(combinations(range(arms), 2))
    random.shuffle(pairs)
    order = []
    for turn in range(len(pairs)):
        block = [(problem, *pairs[(problem + turn) % len(pairs)]) for problem in range(problems)]
        random.shuffle(block)
        order += block
    return order


def spread_over(groups: dict[str, list[T]], limit: int) -> list[T]:
    """The first `limit` items, taken from the groups in turn."""
    queues = [list(items) for items in groups.values()]
    longest = max((len(queue) for queue in queues), default=0)
    in_turn = [queue[i] for i in range(longest) for queue in queues if i < len(queue)]
    return in_turn[:limit]
