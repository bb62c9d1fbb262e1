"""Fits the metacognitive head: preferences by Bradley-Terry with ties, step scores by ridge regression.

Everything is convex and full-batch, so the same data and settings give the same weights on the same platform.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from inference.core.head import Head, HeadConfig, Scorer
from training.core.data import Pairs, StepEffects, numbered
from training.core.davidson import log_losses

STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)  # L2 strengths tried by cross-validation
FOLDS = 5
SURFACE = 2  # the last explanation features: length and likelihood
SIGNALS = 5  # the last step features: the StepSignals

Tell = Callable[[str, float], None]
"""Called with what is being done and the share of it that is done, 0 to 1."""


@dataclass(frozen=True)
class Calibration:
    """What turns a raw score difference into probabilities: d = scale · difference, and the tie parameter."""

    scale: float
    log_nu: float

    def losses(self, difference: Tensor, outcomes: Tensor) -> Tensor:
        return log_losses(self.scale * difference, torch.tensor(self.log_nu, dtype=difference.dtype), outcomes)


@dataclass(frozen=True)
class Fitted:
    """A preference scorer, and the L2 strength that cross-validation chose for it."""

    scorer: Scorer
    strength: float
    cross_validated_loss: dict[float, float]


def fit_preference(pairs: Pairs, tell: Tell) -> Fitted:
    """The scorer fitted on all of `pairs`, with its strength chosen by cross-validation grouped by problem.

    Raises ValueError with fewer than two problems: nothing can then be held out.
    """
    with one_thread():
        return chosen_by_cross_validation(pairs, tell)


@contextmanager
def one_thread() -> Iterator[None]:
    """Thousands of tiny operations: a second thread costs more than it saves, on a busy machine tenfold."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def chosen_by_cross_validation(pairs: Pairs, tell: Tell) -> Fitted:
    folds = fold_of(pairs.problems)
    held_out = {}
    for done, strength in enumerate(STRENGTHS):
        tell(f"cross-validation, L2 {strength:g}", done / len(STRENGTHS))
        held_out[strength] = out_of_fold(pairs, folds, strength)
    calibrations = {strength: calibrate(d, pairs.outcomes) for strength, d in held_out.items()}
    losses = {s: float(calibrations[s].losses(held_out[s], pairs.outcomes).mean()) for s in STRENGTHS}
    best = min(STRENGTHS, key=lambda strength: (losses[strength], -strength))
    tell("fitting", 1.0)
    return Fitted(fit_scorer(pairs, best), best, losses)


def fold_of(problems: Tensor) -> Tensor:
    """The fold of each judgement, [N]: problems are dealt to at most FOLDS folds in turn."""
    index = numbered(problems)
    count = int(index.max()) + 1
    if count < 2:
        raise ValueError(f"cross-validation needs at least 2 problems, got {count}")
    return index % min(FOLDS, count)


def out_of_fold(pairs: Pairs, folds: Tensor, strength: float) -> Tensor:
    """Score differences [N], each from a scorer that saw no judgement of the same problem."""
    difference = torch.zeros(len(pairs))
    for fold in range(int(folds.max()) + 1):
        scorer = fit_scorer(pairs.where(folds != fold), strength)
        mine = pairs.where(folds == fold)
        difference[folds == fold] = (scorer(mine.first) - scorer(mine.second)).detach()
    return difference


def fit_scorer(pairs: Pairs, strength: float) -> Scorer:
    """Minimise mean negative log-likelihood + strength/2 · |w|², features standardised on these pairs."""
    scorer = Scorer(pairs.first.shape[1])
    standardise(scorer, torch.cat([pairs.first, pairs.second]), SURFACE)
    difference, back = rotated(((pairs.first - pairs.second) / scorer.scale).double())
    weight = torch.zeros(difference.shape[1], dtype=torch.float64, requires_grad=True)
    log_nu = torch.zeros((), dtype=torch.float64, requires_grad=True)

    def objective() -> Tensor:
        loss = log_losses(difference @ weight, log_nu, pairs.outcomes).mean()
        return loss + strength / 2 * weight.square().sum()

    minimise(objective, [weight, log_nu])
    with torch.no_grad():
        scorer.weight.copy_((back @ weight).float())
    return scorer


def rotated(features: Tensor) -> tuple[Tensor, Tensor]:
    """Features [N, F] in the r <= min(N, F) directions that they span, [N, r], and the way back, [F, r].

    A weight outside their span only adds to the L2 penalty, so the fit is the same, in far fewer dimensions.
    """
    _, size, directions = torch.linalg.svd(features, full_matrices=False)
    back = directions[size > 1e-9 * size.max()].T
    return features @ back, back


def calibrate(difference: Tensor, outcomes: Tensor, signed: bool = False) -> Calibration:
    """Scale and tie parameter that fit these judgements best; a weak pull keeps separable data finite.

    The scale is positive: a head whose scores point the wrong way must not be judged as if they were turned round.
    Only a `signed` number, such as length, has no right way.
    """
    free = torch.zeros((), dtype=torch.float64, requires_grad=True)
    log_nu = torch.zeros((), dtype=torch.float64, requires_grad=True)

    def scale() -> Tensor:
        return free if signed else free.exp()

    def objective() -> Tensor:
        loss = log_losses(scale() * difference.double(), log_nu, outcomes).mean()
        return loss + 0.001 * (free.square() + log_nu.square())

    minimise(objective, [free, log_nu])
    return Calibration(float(scale().detach()), float(log_nu.detach()))


def fit_steps(steps: StepEffects, strength: float = 1.0) -> Scorer:
    """Ridge regression of causal effects on step features; all weights 0 without any step."""
    scorer = Scorer(steps.features.shape[1])
    if len(steps):
        standardise(scorer, steps.features, SIGNALS)
        x = ((steps.features - scorer.mean) / scorer.scale).double()
        y = (steps.effects - steps.effects.mean()).double()
        gram = x @ x.T + strength * x.shape[1] * torch.eye(len(x), dtype=torch.float64)
        with torch.no_grad():
            scorer.weight.copy_((x.T @ torch.linalg.solve(gram, y)).float())
    return scorer


def standardise(scorer: Scorer, features: Tensor, named: int) -> None:
    """Set the scorer's mean and scale from features [N, F]; a constant feature keeps scale 1.

    The last `named` features count in full. The hidden state before them is scaled to count, as a whole, like one
    of them: otherwise a thousand of its dimensions drown the few numbers that are known to matter.
    """
    spread = features.std(dim=0, unbiased=False)
    hidden = features.shape[1] - named
    scale = torch.where(spread > 1e-6, spread, torch.ones_like(spread))
    scale[:hidden] *= hidden**0.5
    scorer.mean.copy_(features.mean(dim=0))
    scorer.scale.copy_(scale)


def minimise(objective: Callable[[], Tensor], parameters: list[Tensor]) -> None:
    optimiser = torch.optim.LBFGS(parameters, max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = objective()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]


def assemble(config: HeadConfig, number: int, preference: Scorer, steps: Scorer) -> Head:
    """A head of the two scorers."""
    head = Head(config, number)
    head.preference.load_state_dict(preference.state_dict())
    head.step.load_state_dict(steps.state_dict())
    return head.eval()
