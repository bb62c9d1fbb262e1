"""How much a step mattered, from the answers of resamples: the statistics of the causal test.

Answers are numbers below `outcomes`. KL of small samples is above 0 even where nothing matters, so an effect counts
only against what a random regrouping of the same answers gives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.float64]

EXACT = 5_000  # regroupings tried one by one; above that, DRAWS random ones
DRAWS = 2_000
MIN_SHARE = 0.2
ALPHA = 0.05


@dataclass(frozen=True)
class Effect:
    """In nats: `value`, and `excess`, which is value minus its chance level; `interval` is a bootstrap 95 % interval
    of the excess."""

    value: float
    excess: float
    interval: tuple[float, float]
    p_value: float


def measure(kept: Sequence[int], different: Sequence[int], outcomes: int, seed: int) -> Effect | None:
    """KL(p(y | different) ‖ p(y | kept)) with its permutation test; None when one of the groups is empty."""
    if not kept or not different:
        return None
    random = np.random.default_rng([seed, 1])
    answers = np.array([*different, *kept])
    value = float(divergence(counts(np.array(different), outcomes), counts(np.array(kept), outcomes)))
    chance = regrouped(answers, len(different), outcomes, random)
    return Effect(
        value,
        value - float(chance.mean()),
        interval(np.array(different), np.array(kept), outcomes, float(chance.mean()), random),
        p_value(value, chance, exact=math.comb(len(answers), len(different)) <= EXACT),
    )


def confirmed(effect: Effect | None, different: int, rollouts: int) -> bool:
    """At least a fifth of the resamples differ, and the effect is beyond chance at 5 %."""
    return effect is not None and different >= MIN_SHARE * rollouts and effect.p_value <= ALPHA


def verdict(effect: Effect | None, different: int, rollouts: int) -> str:
    """ "confirmed", "not confirmed", or "untested" where no answers could be compared.

    A step that every resample wrote again was tested: there was no other way to compare it with.
    """
    if confirmed(effect, different, rollouts):
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


def regrouped(answers: NDArray[np.int64], size: int, outcomes: int, random: np.random.Generator) -> Counts:
    """The effect under every way (or DRAWS random ways) to call `size` of the answers different."""
    if math.comb(len(answers), size) <= EXACT:
        groups = np.array(list(combinations(range(len(answers)), size)))
    else:
        groups = random.permuted(np.tile(np.arange(len(answers)), (DRAWS, 1)), axis=1)[:, :size]
    different = counts(answers[groups], outcomes)
    return divergence(different, counts(answers, outcomes) - different)


def p_value(value: float, chance: Counts, exact: bool) -> float:
    """Share of regroupings with at least this effect; a random draw counts the observed grouping as one of them."""
    as_large = int((chance >= value - 1e-9).sum())
    return as_large / len(chance) if exact else (as_large + 1) / (len(chance) + 1)


def interval(
    different: NDArray[np.int64],
    kept: NDArray[np.int64],
    outcomes: int,
    chance: float,
    random: np.random.Generator,
) -> tuple[float, float]:
    """Percentile bootstrap, both groups redrawn."""
    redrawn = [
        counts(group[random.integers(len(group), size=(DRAWS, len(group)))], outcomes) for group in (different, kept)
    ]
    low, high = np.percentile(divergence(*redrawn) - chance, [2.5, 97.5])
    return float(low), float(high)
