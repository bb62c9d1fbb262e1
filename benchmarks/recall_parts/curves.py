"""How many points a ranking finds for a given budget, with intervals: pure functions of numbers.

N problems; a problem has S steps, each with a score, a cost, and whether it is a point.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

DRAWS = 4_000  # of the bootstrap
GRID = np.linspace(0.0, 1.0, 101)  # budgets of a curve


@dataclass(frozen=True)
class Ranked:
    """One problem: `scores` [S] (higher is tested first), `costs` [S] (positive), `points` [S] bool."""

    scores: Numbers
    costs: Numbers
    points: NDArray[np.bool_]

    def found(self, budgets: Numbers) -> Numbers:
        """How many points are among the steps that are tested, in expectation, at each of `budgets` [B]: [B]."""
        return np.asarray(paid(self.scores, self.costs, budgets)[:, self.points].sum(1))


def paid(scores: Numbers, costs: Numbers, budgets: Numbers) -> Numbers:
    """The chance of each step to be tested at each of `budgets` [B], shares of all costs: [B, S].

    Steps are tested by falling score until the money is spent. Those of one score come in random order, and the step
    at which the money ends is tested with the chance that the rest of it covers. So equal scores, which are a ranking
    at random, give every step the chance `budget`. Exact where steps of one score cost alike.
    """
    if budgets.min() < 0 or budgets.max() > 1:
        raise ValueError(f"budgets are {budgets.min()} to {budgets.max()}; each is a share of all rollouts, 0 to 1")
    before = (scores[None] > scores[:, None]) @ costs
    same = (scores[None] == scores[:, None]) @ costs
    return np.clip((budgets[:, None] * costs.sum() - before) / same, 0.0, 1.0)


def recall(found: Numbers, points: Numbers) -> float:
    """Share of all points that are found; found and points [N]. NaN where there is none to find."""
    return float(found.sum() / points.sum()) if points.sum() else float("nan")


def found_by(problems: Sequence[Ranked], budget: float) -> Numbers:
    """How many points of each problem are found, [N]."""
    return np.array([problem.found(np.array([budget]))[0] for problem in problems])


def points_of(problems: Sequence[Ranked]) -> Numbers:
    return np.array([float(problem.points.sum()) for problem in problems])


def curve(problems: Sequence[Ranked], budgets: Numbers = GRID) -> Numbers:
    """Recall at each of `budgets`, [B]."""
    points = points_of(problems).sum()
    found = np.sum([problem.found(budgets) for problem in problems], axis=0)
    return np.asarray(found / points if points else np.full(len(budgets), np.nan))


def area(problems: Sequence[Ranked]) -> float:
    """Area under recall over budget, 0 to 1; a ranking at random has 0.5 where steps cost alike."""
    return float(np.trapezoid(curve(problems), GRID))


def in_order(scores: Numbers, effects: Numbers) -> tuple[float, int]:
    """Of how many pairs of steps the one with the larger effect has the higher score, and of how many pairs.

    scores, effects [S]. Equal scores count half; pairs of equal effect are left out.
    """
    larger = effects[:, None] > effects[None]
    agreed = np.where(scores[:, None] > scores[None], 1.0, np.where(scores[:, None] == scores[None], 0.5, 0.0))
    return float(agreed[larger].sum()), int(larger.sum())


def interval(found: Numbers, points: Numbers, seed: int = 0) -> tuple[float, float]:
    """95 % percentile bootstrap of recall, problems redrawn with all their steps. `found` may be a difference.

    A problem without a point counts in neither sum. Draws without any point are left out; NaN where all are.
    """
    rows = np.random.default_rng(seed).integers(len(points), size=(DRAWS, len(points)))
    sums, totals = found[rows].sum(1), points[rows].sum(1)
    shares = sums[totals > 0] / totals[totals > 0]
    if not len(shares):
        return float("nan"), float("nan")
    low, high = np.percentile(shares, [2.5, 97.5])
    return float(low), float(high)


def holm(p: Sequence[float]) -> Numbers:
    """p-values [M] adjusted after Holm (1979): at most α of all families have a false one below α."""
    values = np.asarray(p, float)
    order = np.argsort(values, kind="stable")
    stepped = values[order] * np.arange(len(values), 0, -1)
    return restored(np.maximum.accumulate(stepped), order)


def benjamini_hochberg(p: Sequence[float]) -> Numbers:
    """p-values [M] adjusted after Benjamini & Hochberg (1995): of those below α, at most a share α is false."""
    values = np.asarray(p, float)
    order = np.argsort(values, kind="stable")
    stepped = values[order] * len(values) / np.arange(1, len(values) + 1)
    return restored(np.minimum.accumulate(stepped[::-1])[::-1], order)


def restored(ordered: Numbers, order: NDArray[np.int64]) -> Numbers:
    """Values in rising order of p put back to their places, at most 1."""
    adjusted = np.empty(len(ordered))
    adjusted[order] = np.minimum(ordered, 1.0)
    return adjusted
