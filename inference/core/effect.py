"""How much a step mattered, from the answers of resamples: the statistics of the causal test.

Answers are numbers below `outcomes`. KL of small samples is above 0 even where nothing matters, so an effect counts
only against what a random regrouping of the same answers gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.float64]

EXACT = 5_000  # tables tried one by one; above that, DRAWS random ones
DRAWS = 2_000
MIN_SHARE = 0.2
ALPHA = 0.05


@dataclass(frozen=True)
class Effect:
    """In nats: `value`, and `excess`, which is value minus its chance level; `interval` is a bootstrap 95 % interval
    of the excess, and holds it."""

    value: float
    excess: float
    interval: tuple[float, float]
    p_value: float


def measure(kept: Sequence[int], different: Sequence[int], outcomes: int, seed: int) -> Effect | None:
    """KL(p(y | different) ‖ p(y | kept)) with its permutation test; None when one of the groups is empty."""
    if not kept or not different:
        return None
    random = np.random.default_rng([seed, 1])
    groups = counts(np.array(different), outcomes), counts(np.array(kept), outcomes)
    tested = permutation(*groups, random)
    return Effect(tested.value, tested.value - tested.chance, interval(*groups, tested, random), tested.p_value)


def confirmed(effect: Effect | None, different: int, rollouts: int, level: float = ALPHA) -> bool:
    """At least a fifth of the resamples differ, and the effect is beyond chance at `level` (0 to 1)."""
    return effect is not None and different >= MIN_SHARE * rollouts and effect.p_value <= level


def verdict(effect: Effect | None, different: int, rollouts: int, level: float = ALPHA) -> str:
    """ "confirmed", "not confirmed", or "untested" where something else was written and no answers could be compared.

    A step that every resample wrote again was tested: the model has no other way there, and nothing was confirmed.
    """
    if confirmed(effect, different, rollouts, level):
        return "confirmed"
    return "not confirmed" if effect is not None or (rollouts and not different) else "untested"


def counts(answers: NDArray[np.int64], outcomes: int) -> Counts:
    """[..., n] -> [..., outcomes]: how often each answer occurs."""
    return np.asarray((answers[..., None] == np.arange(outcomes)).sum(-2), dtype=np.float64)


def divergence(different: Counts, kept: Counts) -> Counts:
    """KL in nats of Laplace-smoothed counts [..., outcomes]: one is added to every outcome."""
    p = (different + 1) / (different + 1).sum(-1, keepdims=True)
    q = (kept + 1) / (kept + 1).sum(-1, keepdims=True)
    return np.asarray((p * np.log(p / q)).sum(-1))


@dataclass(frozen=True)
class Permuted:
    """`value` and its `chance` level, the mean over regroupings, in nats; `p_value` is their share as large."""

    value: float
    chance: float
    p_value: float


def permutation(different: Counts, kept: Counts, random: np.random.Generator) -> Permuted:
    """The effect of counts [outcomes] against every way, or DRAWS random ways, to group the same answers anew."""
    value = float(divergence(different, kept))
    tables, weights = regrouped(different, kept, random)
    found = divergence(tables, different + kept - tables)
    as_large = float(weights[found >= value - 1e-9].sum())
    return Permuted(value, float(weights @ found), round(as_large, 12))  # 1 in 20 is within 0.05


def regrouped(different: Counts, kept: Counts, random: np.random.Generator) -> tuple[Counts, Counts]:
    """Counts [M, outcomes] that as many of the answers can have, and the share [M] of all regroupings with each.

    Random ones take in the grouping that was observed, which keeps the test valid (Phipson & Smyth 2010).
    """
    total, size = (different + kept).astype(np.int64), int(different.sum())
    if prod(int(count) + 1 for count in total) > EXACT:
        drawn = random.multivariate_hypergeometric(total, size, size=DRAWS, method="marginals")
        return np.vstack([drawn, different]), np.full(DRAWS + 1, 1 / (DRAWS + 1))
    seen = total > 0
    sizes = [int(count) + 1 for count in total[seen]]
    ways = np.indices(sizes).reshape(len(sizes), -1).T
    tables = np.zeros((len(ways), len(total)), dtype=np.int64)
    tables[:, seen] = ways
    tables = tables[tables.sum(-1) == size]
    factorials = np.cumsum(np.log(np.maximum(1, np.arange(total.sum() + 1))))  # log n!

    def choose(count: NDArray[np.int64], taken: NDArray[np.int64]) -> Counts:
        return np.asarray(factorials[count] - factorials[taken] - factorials[count - taken])

    ways_of_each = choose(total, tables).sum(-1) - choose(total.sum(), np.array(size))
    return tables.astype(np.float64), np.exp(ways_of_each)


def interval(different: Counts, kept: Counts, tested: Permuted, random: np.random.Generator) -> tuple[float, float]:
    """95 % bootstrap interval of the excess, both groups' counts [outcomes] redrawn.

    Redrawn groups overstate KL, as small samples do: their mean is moved onto the excess, so that the interval tells
    the spread around it.
    """
    redrawn = [
        random.multinomial(int(group.sum()), group / group.sum(), size=DRAWS).astype(np.float64)
        for group in (different, kept)
    ]
    found, excess = divergence(*redrawn), tested.value - tested.chance
    low, high = np.percentile(found, [2.5, 97.5]) - found.mean() + excess
    return min(float(low), excess), max(float(high), excess)


def projected(kept: Counts, different: Counts, scale: float, random: np.random.Generator) -> float:
    """The p-value of `scale` times as many answers with the same shares; 1 without answers to compare."""
    if not kept.any() or not different.any():
        return 1.0
    return permutation(np.rint(different * scale), np.rint(kept * scale), random).p_value
