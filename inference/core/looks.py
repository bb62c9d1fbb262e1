"""When to look at a test's answers before all are there, and when a look may end it.

A group-sequential test (Pocock 1977): each look that may confirm spends a part of the level, and the parts sum to at
most all of it, so that, by the union bound, no schedule of looks confirms a step without effect more often than one
test at the whole level would. How the level is spent is the power family of Kim & DeMets (1987), after the spending
functions of Lan & DeMets (1983).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np

from inference.core.effect import ALPHA, MIN_SHARE, Counts, Effect, confirmed, counts, projected

LOOKS = 4
LEAST = 3  # rollouts of a round: fewer tell nothing and fill no batch
HOPELESS = 0.3
SPENDING = 3  # the level spent by share t of the rollouts is ALPHA · t³: little early, most of it at the end

CONFIRMED_EARLY = "confirmed early"
FUTILE = "futile"
ALL_DRAWN = "all drawn"
BUDGET = "budget"


@dataclass(frozen=True)
class Look:
    """After `drawn` of the `planned` rollouts: a p-value of at most `level` confirms; 0 looks for futility only."""

    drawn: int
    planned: int
    level: float


def looks(rollouts: int, most: int = LOOKS) -> list[Look]:
    """The looks of a test of `rollouts` resamples: at most `most`, evenly spread, at least LEAST rollouts apart.

    Raises ValueError for fewer than one look or rollout.
    """
    if rollouts < 1 or most < 1:
        raise ValueError(f"rollouts is {rollouts} and looks {most}; both are at least 1")
    count = max(1, min(most, rollouts // LEAST))
    sizes = [round(rollouts * (at + 1) / count) for at in range(count)]
    return [Look(size, rollouts, level) for size, level in zip(sizes, spent(sizes), strict=True)]


def spent(sizes: list[int]) -> list[float]:
    """The level of each look; they sum to ALPHA. One that even the clearest answers could not pass spends nothing."""
    levels, left = [], 0.0
    for before, size in zip([0, *sizes], sizes, strict=False):
        left += ALPHA * ((size / sizes[-1]) ** SPENDING - (before / sizes[-1]) ** SPENDING)
        clearest = 1 / comb(2 * size + 1, size)  # every resample from before differs; the trace's own answer counts
        takes = size == sizes[-1] or clearest <= left
        levels.append(left if takes else 0.0)
        left = 0.0 if takes else left
    return levels


def why_stop(
    look: Look,
    measured: Effect | None,
    kept: list[int],
    different: list[int],
    differing: int,
    outcomes: int,
    seed: int,
) -> str:
    """Why a test ends at this look; "" where it goes on.

    `kept` and `different` are the answers so far, numbers below `outcomes`; `differing` of the resamples differ, with
    an answer or without.
    """
    if look.drawn == look.planned:
        return ALL_DRAWN
    if confirmed(measured, differing, look.drawn, look.level):
        return CONFIRMED_EARLY
    return FUTILE if futile(look, kept, different, differing, outcomes, seed) else ""


def futile(look: Look, kept: list[int], different: list[int], differing: int, outcomes: int, seed: int) -> bool:
    """Whether to give up: too few can differ any more, or from half of the rollouts on, the trend is against it.

    The trend rules nothing out: a rest unlike what is there might have confirmed the step. A test that ends so is not
    confirmed, which never makes false alarms more frequent.
    """
    groups = [counts(np.array(group, dtype=np.int64), max(2, outcomes)) for group in (kept, different)]
    random = np.random.default_rng([seed, 2])
    return out_of_reach(look, differing) or hopeless(look, groups, random)


def out_of_reach(look: Look, differing: int) -> bool:
    """Whether no rest of the rollouts confirms the step: too few would differ, even if all that are to come did."""
    return differing + look.planned - look.drawn < MIN_SHARE * look.planned


def hopeless(look: Look, groups: Sequence[Counts], random: np.random.Generator) -> bool:
    """Whether, with half of the rollouts drawn, a rest like what is there would leave p above HOPELESS.

    Curtailment by the trend so far, after Lan, Simon & Halperin (1982).
    """
    if 2 * look.drawn < look.planned:
        return False
    return projected(groups[0], groups[1], look.planned / look.drawn, random) > HOPELESS
