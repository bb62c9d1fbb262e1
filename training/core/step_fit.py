"""Fits what the head says of steps: expected effect and probability of a decision point, from causal tests.

The step part of the loss is λ1 · KL(softmax CF/τ ‖ softmax head/τ) + λ2 · BCE(decision point), with squared error
beside the first, which says how large an effect is. It falls apart into two convex problems, one for each output, so
that λ2 is of no account; λ1 is 1. Few steps are ever tested and most have no effect: the L2 strength is chosen by
cross-validation over problems, as the greatest that is no worse than the best by more than a standard error (Breiman
et al. 1984); the greatest of all is to say nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from inference.core.step_head import NUMBERS, StepHead
from training.core.optimise import folds_of, minimise
from training.core.solver import Basis, Contrasts, descend
from training.core.step_effects import StepEffects
from training.core.step_tasks import DecisionTask, EffectTask, Task, rate_logit
from training.core.views import spread

STRENGTHS = (0.01, 0.05, 0.25, 1.0)
NOTHING = math.inf  # the strength at which only the mean is left
ALL = -1  # the place of "outside no fold" behind the folds
INTERCEPT = 10.0  # the constant feature; the larger it is, the less its weight is penalised
LEAST_SPREAD = 0.05  # nats: τ of effects that hardly differ


@dataclass(frozen=True)
class Chosen:
    """One output: weights [F] on standardised features, intercept, outputs [M] out of fold, and how it was chosen."""

    weight: Tensor
    base: float
    out_of_fold: Tensor
    l2: float
    losses: dict[float, float]

    @property
    def learned(self) -> bool:
        return self.l2 < NOTHING

    def to_json(self) -> dict[str, Any]:
        """L2 strength -> loss out of fold; "mean" is without features."""
        named = {"mean" if l2 == NOTHING else f"{l2:g}": loss for l2, loss in self.losses.items()}
        return {"l2": f"{self.l2:g}" if self.learned else "mean", "losses": named}


@dataclass(frozen=True)
class StepFit:
    """`logits` [M] of a decision point are out of fold: each from a head that saw no step of the same problem."""

    head: StepHead
    logits: Tensor
    report: dict[str, Any]


def fit_steps(steps: StepEffects, seed: int = 0) -> StepFit:
    """The step outputs that `steps` teach. Nothing is learned from fewer than two problems, or where the mean of the
    training problems predicts the others as well."""
    head = StepHead(steps.features.shape[1])
    if len(steps) == 0 or steps.problem_count < 2:
        return StepFit(head, torch.zeros(len(steps)), {"tested": len(steps), "problems": steps.problem_count})
    with torch.no_grad():
        standardise(head, steps.features)
        z, back = rotated(head.standardised(steps.features))
        folds = folds_of(steps.problems, seed)
        effect, tau = fit_effects(steps, z, folds)
        decision = fit_decisions(steps, z, folds)
        for weight, at, chosen in ((head.effect, 0, effect), (head.decision, 1, decision)):
            weight.copy_(back @ chosen.weight)
            head.base[at] = chosen.base
    report = {
        "tested": len(steps),
        "problems": steps.problem_count,
        "confirmed": int((steps.decisions == 1).sum()),
        "tau": tau,
        "effect": effect.to_json(),
        "decision_point": decision.to_json(),
    }
    return StepFit(head, decision.out_of_fold, report)


def standardise(head: StepHead, features: Tensor) -> None:
    """Set mean and scale from features [N, F]; the named numbers count in full, the hidden states together as one."""
    scale, hidden = spread(features), features.shape[1] - len(NUMBERS)
    scale[:hidden] *= max(1, hidden) ** 0.5
    head.mean.copy_(features.mean(0))
    head.scale.copy_(scale)


def rotated(features: Tensor) -> tuple[Tensor, Tensor]:
    """Features [N, F] in the at most N directions in which they differ, [N, R], and the way back [F, R].

    A weight in any other direction would only add to the penalty.
    """
    u, size, directions = torch.linalg.svd(features.double(), full_matrices=False)
    kept = size > 1e-6 * size.max().clamp(min=1e-12)
    return (u[:, kept] * size[kept]).float(), directions[kept].T.float()


def fit_effects(steps: StepEffects, z: Tensor, folds: Tensor) -> tuple[Chosen, float]:
    """Expected effects in nats, and τ: their standard deviation."""
    tau, known = tau_of(steps), ~steps.effects.isnan()
    found = choose(EffectTask(steps.effects / tau, steps.traces, steps.weights), z, known, steps.problems, folds)
    return Chosen(tau * found.weight, tau * found.base, tau * found.out_of_fold, found.l2, found.losses), tau


def tau_of(steps: StepEffects) -> float:
    """τ, nats: the standard deviation of the effects that were measured."""
    known = steps.effects[~steps.effects.isnan()]
    return max(LEAST_SPREAD, float(known.std(unbiased=False))) if len(known) else LEAST_SPREAD


def fit_decisions(steps: StepEffects, z: Tensor, folds: Tensor) -> Chosen:
    """Logits of a decision point, whose scale is calibrated on the logits out of fold (Platt 1999)."""
    known = ~steps.decisions.isnan()
    found = choose(DecisionTask(steps.decisions), z, known, steps.problems, folds)
    if not found.learned:
        return found
    slope, shift = platt(found.out_of_fold[known].double(), steps.decisions[known].double())
    return Chosen(
        slope * found.weight,
        slope * found.base + shift,
        slope * found.out_of_fold + shift,
        found.l2 if slope > 0 else NOTHING,
        found.losses,
    )


def platt(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """Slope, never negative, and shift that make logits [n] fit the labels [n] best, both float64. A step's worth of
    pull towards leaving them as they are keeps both finite."""

    def loss(at: Tensor) -> Tensor:
        pull = (at - torch.tensor([1.0, 0.0])).square().sum() / len(labels)
        return cross_entropy(at[0] * logits + at[1], labels) + pull

    slope, shift = minimise(loss, torch.tensor([1.0, 0.0])).tolist()
    if slope < 0:
        return 0.0, rate_logit(labels)
    return slope, shift


def choose(task: Task, z: Tensor, known: Tensor, problems: Tensor, folds: Tensor) -> Chosen:
    """The output with the greatest L2 strength that does as well out of fold as the best, up to a standard error."""
    by_problem = [(known & (problems == one)).nonzero()[:, 0] for one in torch.unique(problems[known])]
    if not by_problem:
        return Chosen(torch.zeros(z.shape[1]), 0.0, torch.zeros(len(z)), NOTHING, {})
    seen = torch.stack([known & (folds != fold) for fold in (*range(int(folds.max()) + 1), ALL)], dim=1)
    tried = [*fitted_outputs(task, z, seen, folds), constant_output(task, z, seen, folds)]
    losses = {
        one.l2: torch.stack([task.where(rows).loss(one.out_of_fold[rows]) for rows in by_problem]) for one in tried
    }
    best = min(losses, key=lambda l2: float(losses[l2].mean()))
    chosen = max((one for one in tried if not clearly_worse(losses[one.l2], losses[best])), key=lambda one: one.l2)
    return replace(chosen, losses={l2: float(found.mean()) for l2, found in losses.items()})


def fitted_outputs(task: Task, z: Tensor, seen: Tensor, folds: Tensor) -> list[Chosen]:
    """One for each of STRENGTHS, all fitted at once: on the steps that are `seen` [M, folds + 1] outside each fold,
    and on all that are known, the last column."""
    rows, count = seen[:, ALL].nonzero()[:, 0], seen.shape[1]
    columns = seen[rows].repeat(1, len(STRENGTHS))
    weight, base = fit_columns(task.where(rows), z[rows], columns, torch.tensor(STRENGTHS).repeat_interleave(count))
    outputs = (z @ weight + base).view(len(z), len(STRENGTHS), count)
    every = torch.arange(len(z))
    last = [(at + 1) * count - 1 for at in range(len(STRENGTHS))]
    return [
        Chosen(weight[:, column], float(base[column]), outputs[every, at, folds], l2, {})
        for at, (l2, column) in enumerate(zip(STRENGTHS, last, strict=True))
    ]


def constant_output(task: Task, z: Tensor, seen: Tensor, folds: Tensor) -> Chosen:
    """The same output for all steps."""
    constants = torch.tensor([task.constant(column.nonzero()[:, 0]) for column in seen.T])
    return Chosen(torch.zeros(z.shape[1]), float(constants[ALL]), constants[folds], NOTHING, {})


def clearly_worse(losses: Tensor, best: Tensor, errors: float = 1.0) -> bool:
    """Whether losses [N] are higher on average than others of the same N by more than so many standard errors."""
    more = losses - best
    return bool(more.mean() > errors * more.std() / len(more) ** 0.5)


def fit_columns(task: Task, z: Tensor, columns: Tensor, l2: Tensor) -> tuple[Tensor, Tensor]:
    """Weights [R, K] and intercepts [K] that minimise the mean loss of the rows in each of the columns [n, K] bool
    plus l2/2 · |weights|², by the solver of the preferences: a step is compared with a row of zeros."""
    texts = torch.cat([z, torch.full((len(z), 1), INTERCEPT)], dim=1)
    rows = torch.arange(len(z))
    contrasts = Contrasts(rows, torch.full_like(rows, len(z)), torch.ones(len(z)))
    padded = torch.nn.functional.pad(texts, (0, 0, 0, 1))
    basis = Basis(padded, texts.square().mean(0), torch.eye(texts.shape[1]))
    share = columns / columns.sum(0).clamp(min=1)
    found = descend(basis, contrasts, task.slopes(columns), share, l2, task.bend(columns))
    return found[:-1], INTERCEPT * found[-1]
