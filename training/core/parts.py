"""The linear scorers that a head is averaged from, each chosen by cross-validation grouped by problem.

A part sees one layer, and learns from preferences or, where there are any, from margins (ratings, criteria).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training.core.calibration import Calibration, calibrate
from training.core.data import Margins, Pairs, numbered
from training.core.solver import Contrasts, fit_margins, fit_preferences
from training.core.views import Scene, View

STRENGTHS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)  # L2 strengths that are tried
FOLDS = 5


@dataclass(frozen=True)
class Data:
    """What every part is fitted on: judgements with their weights [N], margins, and the fold of each problem.

    `weight` is for fitting only. How surprising held-out judgements are is measured on the judgements as they are: a
    scorer calibrated on the clear ones alone would be too sure of the others.
    """

    pairs: Pairs
    weight: Tensor
    margins: Margins | None
    folds: Tensor


@dataclass(frozen=True)
class Part:
    """`difference` [N] is out of fold: each from a scorer that saw no judgement of the same problem, brought to scale
    by `unit`, which is also what the weights of the whole fit are multiplied by."""

    view: View
    learns_margins: bool
    l2: float
    unit: float
    difference: Tensor
    loss: float
    losses: dict[float, float]


def data_of(pairs: Pairs, weight: Tensor, margins: Margins | None) -> Data:
    return Data(pairs, weight, margins, fold_of(pairs.problems))


def fold_of(problems: Tensor) -> Tensor:
    """The fold of each judgement, [N]: problems are dealt to at most FOLDS folds in turn."""
    index = numbered(problems)
    count = int(index.max()) + 1
    if count < 2:
        raise ValueError(f"cross-validation needs at least 2 problems, got {count}")
    return index % min(FOLDS, count)


def choose_part(scene: Scene, data: Data, view: View, learns_margins: bool) -> Part:
    """The part with the L2 strength under which held-out judgements are least surprising."""
    count = int(data.folds.max()) + 1
    away = torch.stack([data.folds != fold for fold in range(count)], dim=1).float()
    columns = away.repeat_interleave(len(STRENGTHS), 1)
    weights = fit_columns(scene, data, view, learns_margins, columns, torch.tensor(STRENGTHS).repeat(count))
    own = scene.contrasts.of(scene.texts[:, view.columns] @ weights).view(len(data.folds), count, len(STRENGTHS))
    held_out = own[torch.arange(len(data.folds)), data.folds]
    found = [calibration_of(data, held_out[:, at]) for at in range(len(STRENGTHS))]
    losses = [mean_loss(data, held_out[:, at], found[at]) for at in range(len(STRENGTHS))]
    best = min(range(len(STRENGTHS)), key=lambda at: (losses[at], -STRENGTHS[at]))
    unit = found[best].scale
    tried = dict(zip(STRENGTHS, losses, strict=True))
    return Part(view, learns_margins, STRENGTHS[best], unit, unit * held_out[:, best], losses[best], tried)


def calibration_of(data: Data, difference: Tensor) -> Calibration:
    return calibrate(difference, data.pairs.outcomes, data.pairs.weight, data.pairs.side)


def mean_loss(data: Data, difference: Tensor, calibration: Calibration) -> float:
    losses = calibration.losses(difference, data.pairs.outcomes, data.pairs.side)
    return float((losses * data.pairs.weight).sum() / data.pairs.weight.sum())


def fit_columns(scene: Scene, data: Data, view: View, learns_margins: bool, columns: Tensor, l2: Tensor) -> Tensor:
    """Weights [D, K] over the view's columns; `columns` [N, K] says how often each judgement counts in each fit.

    Margins count as often as the judgements of their problem do.
    """
    if not learns_margins:
        weights = columns * data.weight[:, None]
        return fit_preferences(view.basis, scene.contrasts, data.pairs.outcomes, data.pairs.side, weights, l2)
    margins = data.margins
    if margins is None:
        raise ValueError("there are no margins to learn from")
    first, second = torch.searchsorted(scene.used, margins.first), torch.searchsorted(scene.used, margins.second)
    contrasts = Contrasts(first, second, margins.weight)
    weights = by_problem(data, columns)[margins.problems] * margins.weight[:, None]
    return fit_margins(view.basis, contrasts, margins.values, weights, l2)


def by_problem(data: Data, columns: Tensor) -> Tensor:
    """How often each problem counts in each fit, [highest problem number + 1, K]: its judgements all agree."""
    problems = torch.zeros(int(data.pairs.problems.max()) + 1, columns.shape[1])
    problems[data.pairs.problems] = columns
    return problems
