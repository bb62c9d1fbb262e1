"""In which order a rater meets things, drawn from the seed stored with the rater. Pure: no rows are read here."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from random import Random

APART = 3  # others that stand between a comparison and its repeat, where the study is long enough


def shuffled(seed: int, size: int) -> Iterator[int]:
    """0 … size - 1 in a random order, each order equally likely.

    Fisher and Yates' shuffle, kept sparse: the first k places take time and memory in k, whatever the size.
    """
    random, moved = Random(f"{seed}/order"), dict[int, int]()
    for index in range(size):
        drawn = random.randrange(index, size)
        yield moved.get(drawn, drawn)
        moved[drawn] = moved.get(index, index)


def positions(seed: int, size: int, start: int, count: int) -> list[int]:
    """At most `count` positions of a study of `size` comparisons, from place `start` of the rater's order on."""
    return list(islice(shuffled(seed, size), start, start + count))


def repeats_after(seed: int, repeats: int, limit: int) -> list[int]:
    """After how many of `limit` comparisons each repeat is due, sorted; late enough to have APART others between."""
    return _drawn(Random(f"{seed}/repeats"), APART + 1, limit, repeats)


def gold_after(seed: int, gold: int, limit: int) -> list[int]:
    """After how many of `limit` comparisons each gold comparison is due, sorted; not as the first or the last."""
    return _drawn(Random(f"{seed}/gold"), 1, max(limit - 1, 1), gold)


def coin(seed: int, what: str) -> bool:
    """A fair coin, always the same for the same seed and thing."""
    return Random(f"{seed}/{what}").random() < 0.5


def _drawn(random: Random, low: int, high: int, count: int) -> list[int]:
    """`count` numbers from low to high, different as far as possible; what does not fit comes at the end."""
    places = range(low, high + 1)
    fitting = min(count, len(places))
    return sorted(random.sample(places, fitting)) + [high] * (count - fitting)
