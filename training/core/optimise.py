"""Smooth full-batch problems of a few hundred numbers, and how they are cross-validated."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from training.core.data import numbered

STEPS = 100
FOLDS = 5


def minimise(loss: Callable[[Tensor], Tensor], start: Tensor, steps: int = STEPS) -> Tensor:
    """Where `loss` of a vector is smallest, from `start` on: L-BFGS in float64, without any draw."""
    with torch.enable_grad():
        at = start.detach().double().clone().requires_grad_(True)
        optimiser = torch.optim.LBFGS(
            [at], max_iter=steps, line_search_fn="strong_wolfe", tolerance_grad=1e-6, tolerance_change=1e-8
        )

        def closure() -> Tensor:
            optimiser.zero_grad()
            value = loss(at)
            value.backward()  # type: ignore[no-untyped-call]
            return value

        optimiser.step(closure)  # type: ignore[no-untyped-call]
    return at.detach()


def folds_of(problems: Tensor, seed: int, folds: int = FOLDS) -> Tensor:
    """The fold of each row [N], 0 to `folds` - 1, the same for all rows of a problem; fewer for few problems."""
    own = numbered(problems)
    count = int(own.max()) + 1 if len(own) else 0
    place = torch.randperm(count, generator=torch.Generator().manual_seed(seed)) % max(1, min(folds, count))
    return place[own]
