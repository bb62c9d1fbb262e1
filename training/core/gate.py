"""Compares scorers on held-out problems and says whether a new head may replace the one in use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from inference.core.head import Head, Scorer
from training.core.data import Pairs, StepEffects, numbered
from training.core.davidson import accuracy
from training.core.fit import calibrate, one_thread

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
    """`gain` is the log-loss of the head in use minus that of the new one, with its 90 % interval by problems.

    The new head is `better` when the interval's lower end, a one-sided 95 % bound, is above 0: with a mere gain above
    0, retraining on noise would sooner or later promote something.
    """

    scores: tuple[Score, ...]
    gain: float
    gain_interval: tuple[float, float]
    judgements: int
    problems: int

    @property
    def better(self) -> bool:
        return self.gain_interval[0] > 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def compare(new: Head, in_use: Head, held_out: Pairs, seed: int = 0) -> Comparison:
    """The new head, the head in use, and length alone, on the same held-out judgements (of at least two problems)."""
    scorers: list[tuple[str, Difference, bool]] = [
        ("new head", by_head(new), False),
        (f"{in_use.name} (in use)", by_head(in_use), False),
        ("length alone", by_length, True),
    ]
    losses, scores = [], []
    for name, difference, signed in scorers:
        with one_thread():
            scaled, loss = cross_calibrated(difference(held_out), held_out, signed)
        losses.append(loss)
        scores.append(Score(name, float(loss.mean()), accuracy(scaled, held_out.outcomes)))
    gains = losses[1] - losses[0]
    interval = cluster_interval(gains, held_out.problems, seed)
    return Comparison(tuple(scores), float(gains.mean()), interval, len(held_out), held_out.problem_count)


def cross_calibrated(difference: Tensor, held_out: Pairs, signed: bool) -> tuple[Tensor, Tensor]:
    """Score differences brought to scale, and log-losses in nats, both [N].

    Each problem is calibrated on the other held-out problems, which neither head was fitted on. So an untrained head
    is not beaten merely for not knowing how often raters call a tie, nor an older one for what it was trained on.
    """
    scaled, losses = torch.zeros(len(held_out)), torch.zeros(len(held_out))
    for problem in range(held_out.problem_count):
        mine = numbered(held_out.problems) == problem
        calibration = calibrate(difference[~mine], held_out.outcomes[~mine], signed)
        scaled[mine] = calibration.scale * difference[mine]
        losses[mine] = calibration.losses(difference[mine], held_out.outcomes[mine])
    return scaled, losses


@dataclass(frozen=True)
class StepCheck:
    """Mean squared error (nats²) of step scores on held-out steps, beside that of predicting the mean effect."""

    training_steps: int
    held_out_steps: int
    squared_error: float | None
    squared_error_of_mean: float | None

    @property
    def better(self) -> bool:
        if self.squared_error is None or self.squared_error_of_mean is None:
            return False
        return self.squared_error < self.squared_error_of_mean


def check_steps(scorer: Scorer, training: StepEffects, held_out: StepEffects) -> StepCheck:
    """Whether step scores predict the causal effects of steps of held-out problems. Never better without any."""
    if not len(training) or not len(held_out):
        return StepCheck(len(training), len(held_out), None, None)
    mean = training.effects.mean()
    with torch.no_grad():
        error = (scorer(held_out.features) + mean - held_out.effects).square().mean()
    of_mean = (mean - held_out.effects).square().mean()
    return StepCheck(len(training), len(held_out), float(error), float(of_mean))


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
    """90 % percentile bootstrap interval of the mean of `values` [N], resampling whole clusters [N]."""
    index = numbered(clusters)
    count = int(index.max()) + 1
    sums = torch.zeros(count, dtype=torch.float64).index_add(0, index, values.double())
    sizes = torch.zeros(count, dtype=torch.float64).index_add(0, index, torch.ones(len(index), dtype=torch.float64))
    drawn = torch.randint(count, (RESAMPLES, count), generator=torch.Generator().manual_seed(seed))
    means = sums[drawn].sum(1) / sizes[drawn].sum(1)
    low, high = torch.quantile(means, torch.tensor([0.05, 0.95], dtype=torch.float64)).tolist()
    return low, high
