"""Fits many weighted, regularised linear preference scorers on the same texts at once.

All folds, L2 strengths and bootstrap samples are columns of one task: only the weight of each judgement and the
penalty differ. The texts are rotated once into the directions in which judged pairs differ; there the curvature
is nearly diagonal, so that a few dozen preconditioned gradient steps (Nesterov 1983) solve every column. Each step is
two matrix products for all of them together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from training.core.davidson import TIE, probabilities

Slopes = Callable[[Tensor], Tensor]
"""Differences [R, K] -> derivatives of the losses by them, [R, K]."""

STEPS = 200  # most steps; about 30 suffice
TOLERANCE = 1e-4  # of the largest weight
PULL = 0.001  # on log ν and position: keeps them finite without any tie


@dataclass(frozen=True)
class Contrasts:
    """R differences between two of M texts: first, second [R] rows of the texts; `weight` [R] counts each."""

    first: Tensor
    second: Tensor
    weight: Tensor

    def of(self, scores: Tensor) -> Tensor:
        """Scores [M, K] -> differences [R, K]."""
        return scores[self.first] - scores[self.second]

    def back(self, slopes: Tensor, texts: int) -> Tensor:
        """The transpose of `of`: slopes [R, K] -> [M, K]."""
        spread = torch.zeros(texts, slopes.shape[1], dtype=slopes.dtype)
        return spread.index_add(0, self.first, slopes).index_add(0, self.second, -slopes)


@dataclass(frozen=True)
class Basis:
    """Texts [M, D] rotated into D' <= D directions: rotated [M, D'], their mean square difference `size` [D'] over
    the contrasts, and the way back, [D, D']."""

    rotated: Tensor
    size: Tensor
    back: Tensor


def basis_of(texts: Tensor, contrasts: Contrasts) -> Basis:
    """texts [M, D] float32, standardised. Directions in which no contrast differs are dropped: a weight there would
    only add to the penalty."""
    share = (contrasts.weight / contrasts.weight.sum())[:, None]
    gram = texts.T @ contrasts.back(share * contrasts.of(texts), len(texts))
    size, directions = torch.linalg.eigh((gram + gram.T).double() / 2)
    kept = size > 1e-7 * size.max()
    back = directions[:, kept].float()
    return Basis(texts @ back, size[kept].float(), back)


def fit_preferences(
    basis: Basis, contrasts: Contrasts, outcomes: Tensor, side: Tensor, weights: Tensor, l2: Tensor
) -> Tensor:
    """Minimise mean negative log-likelihood (Davidson) + l2/2 · |w|² for each of K columns.

    outcomes, side [R]; weights [R, K] how much each judgement counts in each column; l2 [K] -> w [D, K].
    """
    share = weights / weights.sum(0)
    won, tied = 0.5 * (1.0 - outcomes.float())[:, None], (outcomes == TIE).float()[:, None]
    log_nu, position = torch.zeros(2, share.shape[1])

    def slopes(difference: Tensor) -> Tensor:
        nonlocal log_nu, position
        first, tie, second = probabilities(difference + side[:, None] * position, log_nu)
        lead = (first - second) / 2
        log_nu = log_nu - newton_step(tie - tied, tie * (1 - tie), log_nu, share)
        bend = side.square()[:, None] * ((first + second) / 4 - lead.square())
        position = position - newton_step(side[:, None] * (lead - won), bend, position, share)
        return lead - won

    return descend(basis, contrasts, slopes, share, l2, bend=0.25)


def newton_step(slope: Tensor, bend: Tensor, at: Tensor, share: Tensor) -> Tensor:
    """One step [K] of one number in each column, at most 1 long. slope, bend, share [R, K]."""
    step: Tensor = ((share * slope).sum(0) + 2 * PULL * at) / ((share * bend).sum(0) + 2 * PULL)
    return step.clamp(-1.0, 1.0)


def fit_margins(basis: Basis, contrasts: Contrasts, margins: Tensor, weights: Tensor, l2: Tensor) -> Tensor:
    """Minimise half the mean squared error of the differences + l2/2 · |w|². margins [R], weights [R, K], l2 [K] ->
    w [D, K]."""
    share = weights / weights.sum(0)
    return descend(basis, contrasts, lambda difference: difference - margins[:, None], share, l2, bend=1.0)


def descend(basis: Basis, contrasts: Contrasts, slopes: Slopes, share: Tensor, l2: Tensor, bend: float) -> Tensor:
    """Weights [D, K]. `bend` is the most that a slope can change with its difference."""
    texts = basis.rotated
    precondition = 1 / (bend * basis.size[:, None] + l2)
    step = precondition / steepest(basis, contrasts, bend * share, precondition, l2)
    weight = torch.zeros(texts.shape[1], share.shape[1])
    before, momentum = weight, 1.0
    for _ in range(STEPS):
        following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead = weight + (momentum - 1) / following * (weight - before)
        gradient = texts.T @ contrasts.back(share * slopes(contrasts.of(texts @ ahead)), len(texts)) + l2 * ahead
        before, weight, momentum = weight, ahead - step * gradient, following
        if ((weight - before) * gradient).sum() > 0:
            momentum = 1.0  # it has run past the minimum (O'Donoghue & Candès 2015)
        if (weight - before).abs().max() < TOLERANCE * weight.abs().max().clamp(min=1e-12):
            break
    return basis.back @ weight


def steepest(basis: Basis, contrasts: Contrasts, bend: Tensor, precondition: Tensor, l2: Tensor) -> Tensor:
    """The largest preconditioned curvature of each column, [K], by power iteration, with a little to spare."""
    root, texts = precondition.sqrt(), basis.rotated
    vector = torch.randn(texts.shape[1], 1, generator=torch.Generator().manual_seed(0)).expand_as(root)
    for _ in range(8):
        vector = vector / vector.norm(dim=0)
        inside = root * vector
        bent = texts.T @ contrasts.back(bend * contrasts.of(texts @ inside), len(texts)) + l2 * inside
        vector = root * bent
    largest: Tensor = 1.2 * vector.norm(dim=0)
    return largest
