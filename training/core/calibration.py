"""From score differences to probabilities, and how far those can be believed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from training.core.davidson import TIE, agreement, log_losses, probabilities

PULL = 0.001  # keeps the parameters finite where data are separable or have no tie
NEWTON_STEPS = 50
BINS = 10


@dataclass(frozen=True)
class Calibration:
    """d = scale · difference + position · side, and the tie parameter. See `Pairs.side` for the side."""

    scale: float
    log_nu: float
    position: float = 0.0

    def difference(self, difference: Tensor, side: Tensor) -> Tensor:
        """Raw differences [N] brought to scale, and moved by the sides [N]."""
        return self.scale * difference + self.position * side

    def losses(self, difference: Tensor, outcomes: Tensor, side: Tensor | None = None) -> Tensor:
        """Log-losses (nats), [N]."""
        shown = torch.zeros_like(difference) if side is None else side
        log_nu = torch.tensor(self.log_nu, dtype=difference.dtype)
        return log_losses(self.difference(difference, shown), log_nu, outcomes)


def calibrate(
    difference: Tensor,
    outcomes: Tensor,
    weight: Tensor | None = None,
    side: Tensor | None = None,
    signed: bool = False,
) -> Calibration:
    """The calibration that fits these judgements best, by Newton's method; all [N].

    The scale is never negative: a scorer that points the wrong way must not be judged as if it were turned round.
    Only a `signed` number, such as length, has no right way.
    """
    unit = float(difference.double().square().mean().sqrt()) or 1.0
    shown = torch.zeros_like(difference) if side is None else side
    columns = torch.stack([difference.double() / unit, shown.double()], dim=1)
    weights = torch.ones(len(outcomes)) if weight is None else weight
    share = (weights / weights.sum()).double()
    found = newton(columns, outcomes, share)
    if found[0] < 0 and not signed:
        found = newton(columns * torch.tensor([0.0, 1.0]), outcomes, share)
    scale, position, log_nu = found.tolist()
    return Calibration(scale / unit, log_nu, position)


def newton(columns: Tensor, outcomes: Tensor, share: Tensor) -> Tensor:
    """Slopes of `columns` [N, 2] and log ν, [3], that minimise the mean loss plus PULL · |parameters|²."""
    won, tied = 0.5 * (1.0 - outcomes), (outcomes == TIE).double()  # +½, 0, -½ for first, tie, second
    at = torch.zeros(3, dtype=torch.float64)
    for _ in range(NEWTON_STEPS):
        first, tie, second = probabilities(columns @ at[:2], at[2])
        lead = (first - second) / 2
        own = torch.cat([columns * (lead - won)[:, None], (tie - tied)[:, None]], dim=1)
        gradient = share @ own + 2 * PULL * at
        curve = curvature(columns, share, first, tie, second) + 2 * PULL * torch.eye(3)
        step = torch.linalg.solve(curve, gradient)
        at = at - step * min(1.0, 2.0 / float(step.abs().max().clamp(min=1e-12)))
        if step.abs().max() < 1e-9:
            break
    return at


def curvature(columns: Tensor, share: Tensor, first: Tensor, tie: Tensor, second: Tensor) -> Tensor:
    """The Hessian [3, 3] of the mean loss."""
    lead = (first - second) / 2
    within = share * ((first + second) / 4 - lead.square())
    block = columns.T @ (within[:, None] * columns)
    cross = -columns.T @ (share * lead * tie)
    corner = (share * tie * (1 - tie)).sum()
    return torch.cat([torch.cat([block, cross[:, None]], 1), torch.cat([cross, corner[None]])[None]])


@dataclass(frozen=True)
class Reliability:
    """How stated probabilities compare with what happened, on decided judgements.

    `error` is the expected calibration error (Guo et al. 2017): the mean distance of confidence and accuracy over
    bins of equal size. `chance` is what a perfectly calibrated scorer would exceed on as many judgements in 5 of 100
    cases. Each bin: mean confidence, share that was right, judgements.
    """

    error: float
    chance: float
    judgements: int
    bins: tuple[tuple[float, float, int], ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def reliability(
    difference: Tensor, outcomes: Tensor, seed: int = 0, compared: Tensor | None = None
) -> Reliability | None:
    """Reliability of calibrated differences [N]: P(first | decided) = 1 / (1 + e^-d). None if all are ties.

    `compared` [N] int64 numbers the pairs of texts. Several raters of one pair agree more than chance would have it,
    so that `chance` draws one outcome for all of them.
    """
    decided = outcomes != TIE
    if not decided.any():
        return None
    d = difference[decided].double()
    confidence, order = torch.sigmoid(d.abs()).sort()
    right = agreement(d, outcomes[decided])[order]
    generator = torch.Generator().manual_seed(seed)
    own = torch.arange(len(d)) if compared is None else torch.unique(compared[decided], return_inverse=True)[1]
    drawn_once = torch.rand(400, int(own.max()) + 1, generator=generator, dtype=torch.float64)
    drawn = (drawn_once[:, own[order]] < confidence).double()
    chance = float(torch.quantile(expected_error(confidence, drawn), 0.95))
    bins = tuple(
        (float(c.mean()), float(r.mean()), len(c))
        for c, r in zip(confidence.chunk(BINS), right.chunk(BINS), strict=True)
    )
    return Reliability(float(expected_error(confidence, right[None])[0]), chance, len(d), bins)


def expected_error(confidence: Tensor, right: Tensor) -> Tensor:
    """confidence [N] in rising order, right [R, N] -> the calibration error of each of R rows."""
    bins = zip(confidence.chunk(BINS), right.chunk(BINS, dim=1), strict=True)
    return torch.stack([(own.mean() - hits.mean(1)).abs() * len(own) for own, hits in bins]).sum(0) / len(confidence)
