"""Fits what the head says of steps: expected effect and probability of a decision point, from causal tests.

The step part of the loss is λ1 · KL(softmax CF/τ ‖ softmax head/τ) + λ2 · BCE(decision point), with squared error
beside the first, which says how large an effect is. It falls apart into two convex problems, one for each output, so
that λ2 is of no account; λ1 is 1. Few steps are ever tested and most have no effect: the L2 strength is chosen by
cross-validation over problems, as the greatest that is no worse than the best by more than a standard error (Breiman
et al. 1984); the greatest of all is to say nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from inference.core.step_head import NUMBERS, StepHead
from training.core.optimise import folds_of, minimise
from training.core.step_effects import StepEffects
from training.core.views import spread

STRENGTHS = (0.01, 0.05, 0.25, 1.0)
NOTHING = math.inf  # the strength at which only the mean is left
LEAST_SPREAD = 0.05  # nats: τ of effects that hardly differ

Loss = Callable[[Tensor], Callable[[Tensor], Tensor]]
"""Rows [n] of some steps -> what turns outputs [n] for them into their mean loss."""


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
            weight.copy_((back @ chosen.weight).float())
            head.base[at] = chosen.base
    report = {
        "tested": len(steps),
        "problems": steps.problem_count,
        "confirmed": int((steps.decisions == 1).sum()),
        "tau": tau,
        "effect": effect.to_json(),
        "decision_point": decision.to_json(),
    }
    return StepFit(head, decision.out_of_fold.float(), report)


def standardise(head: StepHead, features: Tensor) -> None:
    """Set mean and scale from features [N, F]; the named numbers count in full, the hidden states together as one."""
    scale, hidden = spread(features), features.shape[1] - len(NUMBERS)
    scale[:hidden] *= max(1, hidden) ** 0.5
    head.mean.copy_(features.mean(0))
    head.scale.copy_(scale)


def rotated(features: Tensor) -> tuple[Tensor, Tensor]:
    """Features [N, F] in the at most N directions in which they differ, [N, R] float64, and the way back [F, R].

    A weight in any other direction would only add to the penalty.
    """
    u, size, directions = torch.linalg.svd(features.double(), full_matrices=False)
    kept = size > 1e-6 * size.max().clamp(min=1e-12)
    return u[:, kept] * size[kept], directions[kept].T


def fit_effects(steps: StepEffects, z: Tensor, folds: Tensor) -> tuple[Chosen, float]:
    """Expected effects in nats, and τ: their standard deviation."""
    known = ~steps.effects.isnan()
    if not known.any():
        return nothing(z), LEAST_SPREAD
    tau = tau_of(steps)
    wanted = steps.effects.double() / tau

    def loss(rows: Tensor) -> Callable[[Tensor], Tensor]:
        own, order = wanted[rows], listwise(wanted[rows], steps.traces[rows])
        return lambda outputs: (outputs - own).square().mean() / 2 + order(outputs)

    found = choose(z, known, steps.problems, folds, loss)
    return Chosen(tau * found.weight, tau * found.base, tau * found.out_of_fold, found.l2, found.losses), tau


def tau_of(steps: StepEffects) -> float:
    """τ, nats: the standard deviation of the effects that were measured."""
    known = steps.effects[~steps.effects.isnan()]
    return max(LEAST_SPREAD, float(known.std(unbiased=False))) if len(known) else LEAST_SPREAD


def listwise(wanted: Tensor, traces: Tensor) -> Callable[[Tensor], Tensor]:
    """Outputs -> mean over traces with two tested steps or more of KL(softmax wanted ‖ softmax outputs); all [n]."""
    _, group, counts = torch.unique(traces, return_inverse=True, return_counts=True)
    kept = counts[group] > 1
    if not kept.any():
        return lambda outputs: outputs.sum() * 0
    own = torch.unique(group[kept], return_inverse=True)[1]
    target, count = log_softmax(wanted[kept], own), int(own.max()) + 1
    return lambda outputs: (target.exp() * (target - log_softmax(outputs[kept], own))).sum() / count


def log_softmax(values: Tensor, groups: Tensor) -> Tensor:
    """Log-probabilities [n] within each of the groups [n] that are numbered 0, 1, 2, …"""
    top = values.detach().max()
    sums = torch.zeros(int(groups.max()) + 1, dtype=values.dtype).index_add(0, groups, (values - top).exp())
    return values - top - sums.log()[groups]


def fit_decisions(steps: StepEffects, z: Tensor, folds: Tensor) -> Chosen:
    """Logits of a decision point, whose scale is calibrated on the logits out of fold (Platt 1999)."""
    known = ~steps.decisions.isnan()
    if not known.any():
        return nothing(z)
    labels = steps.decisions.double()

    def loss(rows: Tensor) -> Callable[[Tensor], Tensor]:
        own = labels[rows]
        return lambda outputs: cross_entropy(outputs, own)

    found = choose(z, known, steps.problems, folds, loss)
    if not found.learned:
        return found
    slope, shift = platt(found.out_of_fold[known], labels[known])
    return Chosen(
        slope * found.weight,
        slope * found.base + shift,
        slope * found.out_of_fold + shift,
        found.l2 if slope > 0 else NOTHING,
        found.losses,
    )


def platt(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """Slope, never negative, and shift that make logits [n] fit the labels [n] best. A judgement's worth of pull
    towards leaving them as they are keeps both finite."""

    def loss(at: Tensor) -> Tensor:
        pull = (at - torch.tensor([1.0, 0.0])).square().sum() / len(labels)
        return cross_entropy(at[0] * logits + at[1], labels) + pull

    slope, shift = minimise(loss, torch.tensor([1.0, 0.0])).tolist()
    if slope < 0:
        return 0.0, float(torch.logit((labels.sum() + 0.5) / (len(labels) + 1)))
    return slope, shift


def nothing(z: Tensor) -> Chosen:
    return Chosen(torch.zeros(z.shape[1], dtype=torch.float64), 0.0, torch.zeros(len(z)), NOTHING, {})


def choose(z: Tensor, known: Tensor, problems: Tensor, folds: Tensor, loss: Loss) -> Chosen:
    """The output with the greatest L2 strength that does as well out of fold as the best, up to a standard error."""
    tried = {l2: held_out_outputs(z, known, folds, loss, l2) for l2 in (*STRENGTHS, NOTHING)}
    by_problem = [(known & (problems == one)).nonzero()[:, 0] for one in torch.unique(problems[known])]
    losses = {l2: torch.stack([loss(rows)(outputs[rows]) for rows in by_problem]) for l2, outputs in tried.items()}
    best = min(losses, key=lambda l2: float(losses[l2].mean()))
    chosen = max(l2 for l2 in losses if not clearly_worse(losses[l2], losses[best]))
    weight, base = fit_output(z, known.nonzero()[:, 0], loss, chosen)
    return Chosen(weight, base, tried[chosen], chosen, {l2: float(own.mean()) for l2, own in losses.items()})


def clearly_worse(losses: Tensor, best: Tensor, errors: float = 1.0) -> bool:
    """Whether losses [N] are higher on average than others of the same N by more than so many standard errors."""
    more = losses - best
    return bool(more.mean() > errors * more.std() / len(more) ** 0.5)


def held_out_outputs(z: Tensor, known: Tensor, folds: Tensor, loss: Loss, l2: float) -> Tensor:
    """Outputs [M], those of each fold from the rows of the others."""
    outputs = torch.zeros(len(z), dtype=torch.float64)
    for fold in range(int(folds.max()) + 1):
        weight, base = fit_output(z, (known & (folds != fold)).nonzero()[:, 0], loss, l2)
        outputs[folds == fold] = z[folds == fold] @ weight + base
    return outputs


def fit_output(z: Tensor, rows: Tensor, loss: Loss, l2: float) -> tuple[Tensor, float]:
    """Weights [R] and intercept that minimise the loss on `rows` + l2/2 · |weights|².

    The intercept is drawn towards 0 as by one row, so that labels that are all alike leave it finite.
    """
    if not len(rows):
        return torch.zeros(z.shape[1], dtype=torch.float64), 0.0
    size = 0 if l2 == NOTHING else z.shape[1]
    own, loss_of = z[rows, :size], loss(rows)

    def penalised(at: Tensor) -> Tensor:
        penalty = l2 * at[:size].square().sum() if size else torch.zeros(())
        return loss_of(own @ at[:size] + at[-1]) + penalty / 2 + 0.1 * at[-1].square() / (2 * len(rows))

    found = minimise(penalised, torch.zeros(size + 1))
    weight = torch.zeros(z.shape[1], dtype=torch.float64)
    weight[:size] = found[:size]
    return weight, float(found[-1])
