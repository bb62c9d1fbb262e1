"""Fits the mixing of layers and heads: the flow that agrees best with what causal tests found.

λ1 · KL(softmax CF/τ ‖ mixed flow over the tested steps), mean over traces, strongly drawn towards the plain rollout.
It is not convex; L-BFGS starts from the plain rollout and stays near it. A flow that merely evens out the rollout's
liking for early steps agrees better with anything, so that a mixing has to beat equal shares as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from inference.core.mixing import HeadFlow, Mixing
from training.core.optimise import folds_of, minimise
from training.core.step_effects import StepEffects
from training.core.step_fit import clearly_worse

STRENGTHS = (0.003, 0.03)
FOLDS = 3
STEPS = 30
LEAST_PROBLEMS = 6
SURE = 1.645  # standard errors by which the plain rollout has to be worse
MOST_NUMBERS = 2**27  # of attention held at once: more traces than fit are left out


@dataclass(frozen=True)
class Followed:
    """N traces with two tested steps or more and the attention of their heads.

    heads [N, L, H, S', S'] float32 padded with zeros; start [N] int64: the answer's segment; part [N, S', K]: 1 where
    the segment belongs to the k-th tested step of the trace; target [N, K]: softmax of effects / τ, 0 where the trace
    has fewer; problems [N] int64.
    """

    heads: Tensor
    start: Tensor
    part: Tensor
    target: Tensor
    problems: Tensor

    def __len__(self) -> int:
        return len(self.start)

    def where(self, mask: Tensor) -> Followed:
        return Followed(*(getattr(self, name)[mask] for name in ("heads", "start", "part", "target", "problems")))

    @property
    def known(self) -> Tensor:
        """[N, K] bool: which of the K places hold a tested step."""
        return self.part.any(1)


@dataclass(frozen=True)
class MixingFit:
    mixing: Mixing
    report: dict[str, Any]


def fit_mixing(steps: StepEffects, tau: float, layers: int, heads: int, seed: int = 0) -> MixingFit:
    """The mixing that `steps` teach; the plain rollout where nothing shows that another is better out of fold."""
    mixing, followed = Mixing(layers, heads), followed_of(steps, tau, seed)
    problems = 0 if followed is None else len(torch.unique(followed.problems))
    report: dict[str, Any] = {"traces": 0 if followed is None else len(followed), "problems": problems}
    if followed is None or problems < LEAST_PROBLEMS:
        return MixingFit(mixing, report)
    folds = folds_of(followed.problems, seed, FOLDS)
    plain = by_problem(followed, best_without(followed, mixing))
    losses = {l2: by_problem(followed, held_out_losses(followed, folds, mixing, l2)) for l2 in STRENGTHS}
    best = min(losses, key=lambda l2: float(losses[l2].mean()))
    named = {"plain": plain, **{f"{l2:g}": own for l2, own in losses.items()}}
    report |= {"divergence": {name: float(own.mean()) for name, own in named.items()}}
    if clearly_worse(plain, losses[best], SURE):
        mixing = fitted(followed, layers, heads, best)
    return MixingFit(mixing, report)


def held_out_losses(followed: Followed, folds: Tensor, plain: Mixing, l2: float) -> Tensor:
    """Divergence [N] out of fold."""
    losses, (layers, heads) = torch.zeros(len(followed)), plain.weights.shape
    for fold in range(int(folds.max()) + 1):
        made = fitted(followed.where(folds != fold), layers, heads, l2)
        losses[folds == fold] = divergences(made, followed.where(folds == fold))
    return losses


def fitted(followed: Followed, layers: int, heads: int, l2: float) -> Mixing:
    """The mixing with the least mean divergence + l2/2 · |weights, residual|²."""

    def loss(at: Tensor) -> Tensor:
        weights, residual = at[: layers * heads].float().view(layers, heads), at[layers * heads :].float()
        return divergence(followed, weights, residual).mean().double() + l2 / 2 * at.square().sum()

    found = minimise(loss, torch.zeros(layers * heads + layers), STEPS).float()
    mixing = Mixing(layers, heads)
    with torch.no_grad():
        mixing.weights.copy_(found[: layers * heads].view(layers, heads))
        mixing.residual.copy_(found[layers * heads :])
    return mixing


def divergences(mixing: Mixing, followed: Followed) -> Tensor:
    """KL(softmax CF/τ ‖ mixed flow over the tested steps) of each trace, [N], nats."""
    with torch.no_grad():
        return divergence(followed, mixing.weights, mixing.residual)


def best_without(followed: Followed, like: Mixing) -> Tensor:
    """The divergence [N] of the plain rollout or, where that is smaller on average, of equal shares."""
    plain = divergences(Mixing(*like.weights.shape), followed)
    counts = followed.known.sum(1, keepdim=True)
    alike = (followed.target * (followed.target.clamp(min=1e-9) * counts).log()).sum(1)
    return min(plain, alike, key=lambda one: float(by_problem(followed, one).mean()))


def by_problem(followed: Followed, losses: Tensor) -> Tensor:
    """The mean [P] over each problem's traces of what they have, [N]: traces of one problem hang together."""
    return torch.stack([losses[followed.problems == one].mean() for one in torch.unique(followed.problems)])


def divergence(followed: Followed, weights: Tensor, residual: Tensor) -> Tensor:
    """The same as `flow.mixed_flow` for N traces at once, compared with what the tests found: [N], nats."""
    attention = torch.einsum("lh,nlhst->lnst", weights.softmax(-1), followed.heads)
    mass = torch.nn.functional.one_hot(followed.start, attention.shape[-1]).float()
    for layer, moved in zip(attention.flip(0), residual.sigmoid().flip(0), strict=True):
        mass = moved * (mass[:, None] @ layer)[:, 0] + (1 - moved) * mass
    own = (mass[:, None] @ followed.part)[:, 0].clamp(min=1e-9)
    shares = own / (own * followed.known).sum(1, keepdim=True)
    terms = followed.target * (followed.target.clamp(min=1e-9).log() - shares.log())
    return (terms * followed.known).sum(1)


def followed_of(steps: StepEffects, tau: float, seed: int = 0) -> Followed | None:
    """The traces that can teach a mixing, as many as fit into memory; None if there are none."""
    rows = {at: tested_in(steps, at) for at in sorted(steps.flows)}
    usable = [at for at, own in rows.items() if len(own) > 1]
    if not usable:
        return None
    largest = max(len(steps.flows[at].step_of) for at in usable)
    layers, heads = steps.flows[usable[0]].heads.shape[:2]
    most = max(1, MOST_NUMBERS // (layers * heads * largest**2))
    order = torch.randperm(len(usable), generator=torch.Generator().manual_seed(seed)).tolist()
    chosen = sorted(usable[place] for place in order[:most])
    widest = max(len(rows[at]) for at in chosen)
    made = [followed_one(steps, steps.flows[at], rows[at], largest, widest, tau) for at in chosen]
    return Followed(*(torch.stack(column) for column in zip(*made, strict=True)))


def tested_in(steps: StepEffects, trace: int) -> list[int]:
    """The rows of a trace with a measured effect, one for each step."""
    rows = (steps.traces == trace).nonzero()[:, 0].tolist()
    by_step = {steps.tests[row].test.step: row for row in rows if not steps.effects[row].isnan()}
    return list(by_step.values())


def followed_one(
    steps: StepEffects, flow: HeadFlow, rows: Sequence[int], size: int, widest: int, tau: float
) -> tuple[Tensor, ...]:
    """heads, start, part, target and problem of one trace, padded."""
    segments = len(flow.step_of)
    heads = torch.zeros(*flow.heads.shape[:2], size, size)
    heads[..., :segments, :segments] = flow.heads
    part, target = torch.zeros(size, widest), torch.zeros(widest)
    own = torch.tensor(flow.step_of)
    for place, row in enumerate(rows):
        part[:segments, place] = (own == steps.tests[row].test.step).float()
    target[: len(rows)] = (steps.effects[list(rows)] / tau).softmax(0)
    return heads, torch.tensor(flow.answer), part, target, steps.problems[rows[0]]
