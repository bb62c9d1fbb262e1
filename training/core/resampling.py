"""Intervals for means over judgements that are not independent: those of one problem, or one rater, hang together."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training.core.data import Pairs, numbered

RESAMPLES = 2000
ENOUGH_RATERS = 10
DETECTABLE = 1.645 + 0.842
"""Standard errors by which a true effect must exceed 0 for a one-sided 5 % test to find it in 80 of 100 cases."""


@dataclass(frozen=True)
class Estimate:
    """A mean, the ends of its 90 % bootstrap interval, and the smallest true mean that this much data could show."""

    mean: float
    low: float
    high: float
    detectable: float


@dataclass(frozen=True)
class Resampling:
    """How often each judgement counts in each bootstrap sample: the product of `problems` [B, P] at its problem
    `problem` [N] and, with raters, of `raters` [B, R] at its rater `rater` [N]."""

    problem: Tensor
    problems: Tensor
    rater: Tensor | None
    raters: Tensor | None

    def counts(self, mask: Tensor) -> Tensor:
        """[B, n] of the n judgements where `mask` [N] is true."""
        counts = self.problems[:, self.problem[mask]]
        if self.rater is None or self.raters is None:
            return counts
        return counts * self.raters[:, self.rater[mask]]

    def estimate(self, values: Tensor, mask: Tensor | None = None) -> Estimate:
        """Of the mean of `values` [N] where `mask` [N] is true (at least once)."""
        kept = torch.ones(len(values), dtype=torch.bool) if mask is None else mask
        own, counts = values[kept].double(), self.counts(kept)
        size = counts.sum(1)
        means = (counts @ own)[size > 0] / size[size > 0]
        low, high = torch.quantile(means, torch.tensor([0.05, 0.95], dtype=torch.float64)).tolist()
        return Estimate(float(own.mean()), low, high, DETECTABLE * float(means.std()))


def resampling(pairs: Pairs, seed: int) -> Resampling:
    """Draws whole problems with replacement; with ENOUGH_RATERS known raters, whole raters as well, crossed with the
    problems (pigeonhole bootstrap, Owen 2007), which is never too narrow."""
    generator = torch.Generator().manual_seed(seed)
    problem = numbered(pairs.problems)
    problems = drawn(int(problem.max()) + 1, generator)
    if (pairs.raters < 0).any() or len(torch.unique(pairs.raters)) < ENOUGH_RATERS:
        return Resampling(problem, problems, None, None)
    rater = numbered(pairs.raters)
    return Resampling(problem, problems, rater, drawn(int(rater.max()) + 1, generator))


def drawn(count: int, generator: torch.Generator) -> Tensor:
    """How often each of `count` is drawn in `count` draws, RESAMPLES times: [B, count] float64."""
    chosen = torch.randint(count, (RESAMPLES, count), generator=generator)
    ones = torch.ones(RESAMPLES, count, dtype=torch.float64)
    return torch.zeros(RESAMPLES, count, dtype=torch.float64).scatter_add(1, chosen, ones)
