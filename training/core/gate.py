"""Compares scorers on held-out problems and says whether a new head may replace the one in use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from inference.core.head import Head
from training.core.data import Pairs, numbered
from training.core.davidson import accuracy
from training.core.fit import Calibration, Fitted, calibrate

RESAMPLES = 2000
Difference = Callable[[Pairs], Tensor]
"""A scorer seen from outside: the score difference, first minus second, of each judgement, [N]."""


@dataclass(frozen=True)
class Score:
    """How well one scorer predicts held-out judgements. `log_loss` in nats, lower is better."""

    name: str
    log_loss: float
    accuracy: float | None


@dataclass(frozen=True)
class Comparison:
    """`gain` is the log-loss of the head in use minus that of the new one, with its 95 % interval by problems."""

    scores: tuple[Score, ...]
    gain: float
    gain_interval: tuple[float, float]
    judgements: int
    problems: int

    @property
    def better(self) -> bool:
        return self.gain > 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def compare(new: Head, fitted: Fitted, in_use: Head, training: Pairs, held_out: Pairs, seed: int = 0) -> Comparison:
    """The new head, the head in use, and length alone, on the same held-out judgements.

    All are calibrated on the training problems only, the new head on its out-of-fold scores there, so that an
    untrained head is not beaten merely for not knowing how often raters call a tie.
    """
    scorers: list[tuple[str, Difference, Calibration | None]] = [
        ("new head", by_head(new), fitted.calibration),
        (f"{in_use.name} (in use)", by_head(in_use), None),
        ("length alone", by_length, None),
    ]
    losses, scores = [], []
    for name, difference, known in scorers:
        calibration = known or calibrate(difference(training), training.outcomes)
        d = difference(held_out)
        losses.append(calibration.losses(d, held_out.outcomes))
        right = accuracy(calibration.scale * d, held_out.outcomes)
        scores.append(Score(name, float(losses[-1].mean()), right))
    gains = losses[1] - losses[0]
    interval = cluster_interval(gains, held_out.problems, seed)
    problems = held_out.problem_count
    return Comparison(tuple(scores), float(gains.mean()), interval, len(held_out), problems)


def by_head(head: Head) -> Difference:
    def difference(pairs: Pairs) -> Tensor:
        with torch.no_grad():
            scores: Tensor = head.preference(pairs.first) - head.preference(pairs.second)
        return scores

    return difference


def by_length(pairs: Pairs) -> Tensor:
    """Difference of log(1 + tokens), the second last of the explanation features."""
    return pairs.first[:, -2] - pairs.second[:, -2]


def cluster_interval(values: Tensor, clusters: Tensor, seed: int) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean of `values` [N], resampling whole clusters [N]."""
    index = numbered(clusters)
    count = int(index.max()) + 1
    sums = torch.zeros(count, dtype=torch.float64).index_add(0, index, values.double())
    sizes = torch.zeros(count, dtype=torch.float64).index_add(0, index, torch.ones(len(index), dtype=torch.float64))
    drawn = torch.randint(count, (RESAMPLES, count), generator=torch.Generator().manual_seed(seed))
    means = sums[drawn].sum(1) / sizes[drawn].sum(1)
    low, high = torch.quantile(means, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high
