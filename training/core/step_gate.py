"""Judges what a new head says of steps on tests of held-out problems, beside what is free to have.

Each output is used only where it does better than the mean: expected effects by squared error, probabilities of a
decision point by log-loss, confidences of claims by Brier score. A mixing of attention has to beat the plain rollout
and equal shares beyond doubt. Order is judged by Spearman's correlation with effects and AUROC for decision points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from inference.core.head import Head
from inference.core.mixing import Mixing
from inference.core.step_head import NUMBERS, StepHead, rank_scores
from training.core.claim_fit import replications
from training.core.data import numbered
from training.core.mixing_fit import best_without, divergences, followed_of
from training.core.step_effects import StepEffects
from training.core.step_fit import tau_of

RESAMPLES = 500
BASELINES = {
    "position": "position",
    "length": "length",
    "entropy": "fork_entropy",
    "attention": "inverse_flow",
    "likely × mattered": "likely_and_mattered",
}
"""What the head's order of steps is compared with: number of `step_head.NUMBERS` by name, higher first."""

Statistic = Callable[[Tensor], float | None]
"""Rows [n] of steps, drawn with replacement -> a number, or None where they do not tell it."""


@dataclass(frozen=True)
class Interval:
    """A number and its 90 % interval from a bootstrap over whole problems."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class StepScore:
    """How well one order of steps agrees with the tests: Spearman's correlation with the effects (-1 to 1, 0 by
    chance), and the probability that a decision point comes before another step (0 to 1, 0.5 by chance)."""

    name: str
    spearman: Interval | None
    auroc: Interval | None


@dataclass(frozen=True)
class Against:
    """A loss on held-out tests, lower is better, and that of the mean of the training tests or, for a mixing, of the
    plain rollout or equal shares, whichever is lower.
    `gain` is the second minus the first."""

    loss: float
    plain: float
    gain: Interval

    @property
    def better(self) -> bool:
        return self.loss < self.plain


@dataclass(frozen=True)
class StepCheck:
    """None: the head does not tell it, or no held-out test does. Units: nats², nats, squared probability, nats."""

    training_steps: int
    held_out_steps: int
    held_out_problems: int
    effect: Against | None
    decision_point: Against | None
    claim: Against | None
    mixing: Against | None
    scores: tuple[StepScore, ...]

    @property
    def used(self) -> dict[str, bool]:
        """Which outputs may be used."""
        outputs = {"effect": self.effect, "decision_point": self.decision_point, "claim": self.claim}
        better = {name: one is not None and one.better for name, one in outputs.items()}
        return {**better, "mixing": self.mixing is not None and self.mixing.gain.low > 0}

    @property
    def better(self) -> bool:
        """Whether anything by which steps are ranked is better than the mean."""
        return self.used["effect"] or self.used["decision_point"]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "used": self.better, "outputs": self.used}


def check_steps(head: Head, training: StepEffects, held_out: StepEffects, seed: int = 0) -> StepCheck:
    """Judge what `head` learned from `training` on `held_out` steps, of other problems."""
    if not len(training) or not len(held_out):
        return StepCheck(len(training), len(held_out), 0, None, None, None, None, ())
    draws = draws_of(held_out.problems, seed)
    with torch.no_grad():
        decision = decision_check(head.steps, training, held_out, draws)
        reads_logits = decision is not None and decision.better  # else they will not be there
        return StepCheck(
            training_steps=len(training),
            held_out_steps=len(held_out),
            held_out_problems=held_out.problem_count,
            effect=effect_check(head.steps, training, held_out, draws),
            decision_point=decision,
            claim=claim_check(head.steps, training, held_out, reads_logits, seed),
            mixing=mixing_check(head.mixing, training, held_out, seed),
            scores=scores_of(head.steps, held_out, draws),
        )


def keep_what_is_better(head: Head, check: StepCheck) -> None:
    """Forget every output that was not shown to be worth using."""
    forget = {
        "effect": head.steps.forget_effects,
        "decision_point": head.steps.forget_decisions,
        "claim": head.steps.forget_claims,
        "mixing": head.mixing.forget,
    }
    for output, used in check.used.items():
        if not used:
            forget[output]()


def effect_check(head: StepHead, training: StepEffects, held_out: StepEffects, draws: list[Tensor]) -> Against | None:
    known = ~held_out.effects.isnan()
    if not head.tells_effects or not known.any():
        return None
    wanted, mean = held_out.effects, training.effects.nanmean()
    return against((head(held_out.features)[:, 0] - wanted).square(), (mean - wanted).square(), known, draws)


def decision_check(
    head: StepHead, training: StepEffects, held_out: StepEffects, draws: list[Tensor]
) -> Against | None:
    known, seen = ~held_out.decisions.isnan(), training.decisions[~training.decisions.isnan()]
    if not head.tells_decisions or not known.any():
        return None
    labels, rate = held_out.decisions.nan_to_num(), (seen.sum() + 0.5) / (len(seen) + 1)
    logits = head(held_out.features)[:, 1]
    mine, plain = (cross_entropy(x, labels, reduction="none") for x in (logits, rate.logit().expand_as(labels)))
    return against(mine, plain, known, draws)


def claim_check(
    head: StepHead, training: StepEffects, held_out: StepEffects, reads_logits: bool, seed: int
) -> Against | None:
    """On halves of held-out tests, of which only the problems are independent."""
    if not head.judges_claims:
        return None
    seen, unseen = (
        replications(steps, head(steps.features)[:, 1] if reads_logits else None, seed)
        for steps in (training, held_out)
    )
    if not len(unseen):
        return None
    mine = ((unseen.numbers @ head.claim.double()).sigmoid() - unseen.same).square()
    plain = (seen.same.mean() - unseen.same).square()
    return against(mine, plain, torch.ones(len(unseen), dtype=torch.bool), draws_of(unseen.problems, seed))


def mixing_check(mixing: Mixing, training: StepEffects, held_out: StepEffects, seed: int) -> Against | None:
    followed = followed_of(held_out, tau_of(training), seed)
    if not mixing.learned or followed is None:
        return None
    mine, plain = divergences(mixing, followed), best_without(followed, mixing)
    return against(mine, plain, torch.ones(len(followed), dtype=torch.bool), draws_of(followed.problems, seed))


def scores_of(head: StepHead, held_out: StepEffects, draws: list[Tensor]) -> tuple[StepScore, ...]:
    orders = {name: held_out.features[:, NUMBERS.index(number) - len(NUMBERS)] for name, number in BASELINES.items()}
    if head.ranks:
        orders = {"head": torch.tensor(rank_scores(head.estimates(held_out.features))), **orders}
    return tuple(score_of(name, order, held_out, draws) for name, order in orders.items())


def score_of(name: str, order: Tensor, held_out: StepEffects, draws: list[Tensor]) -> StepScore:
    return StepScore(
        name,
        interval(lambda rows: spearman(order[rows], held_out.effects[rows]), draws),
        interval(lambda rows: auroc(order[rows], held_out.decisions[rows]), draws),
    )


def against(mine: Tensor, plain: Tensor, known: Tensor, draws: list[Tensor]) -> Against | None:
    """Mean losses [M] of the rows that are `known` [M]; None without any."""

    def gain(rows: Tensor) -> float | None:
        kept = rows[known[rows]]
        return float((plain[kept] - mine[kept]).mean()) if len(kept) else None

    found = interval(gain, draws)
    return None if found is None else Against(float(mine[known].mean()), float(plain[known].mean()), found)


def draws_of(problems: Tensor, seed: int) -> list[Tensor]:
    """All rows, then the rows of RESAMPLES draws of whole problems, with replacement."""
    own = numbered(problems)
    count = int(own.max()) + 1
    rows = [(own == problem).nonzero()[:, 0] for problem in range(count)]
    chosen = torch.randint(count, (RESAMPLES, count), generator=torch.Generator().manual_seed(seed)).tolist()
    return [torch.arange(len(own)), *(torch.cat([rows[problem] for problem in draw]) for draw in chosen)]


def interval(statistic: Statistic, draws: list[Tensor]) -> Interval | None:
    value, *drawn = (statistic(rows) for rows in draws)
    known = torch.tensor([one for one in drawn if one is not None], dtype=torch.float64)
    if value is None or not len(known):
        return None
    low, high = torch.quantile(known, torch.tensor([0.05, 0.95], dtype=torch.float64)).tolist()
    return Interval(value, low, high)


def spearman(order: Tensor, effects: Tensor) -> float | None:
    """Rank correlation of known effects with an order; None where one of the two is constant."""
    known = ~effects.isnan()
    if known.sum() < 2:
        return None
    mine, theirs = (centred(ranks(values[known])) for values in (order, effects))
    size = float(mine.norm() * theirs.norm())
    return float(mine @ theirs) / size if size > 0 else None


def auroc(order: Tensor, decisions: Tensor) -> float | None:
    """Share of pairs of a decision point and another step that stand in the right order; ties count half."""
    positive, count = decisions == 1, int((decisions == 0).sum())
    known = ~decisions.isnan()
    if not positive.any() or not count:
        return None
    places, own = ranks(order[known]), int(positive.sum())
    return float((places[positive[known]].sum() - own * (own + 1) / 2) / (own * count))


def ranks(values: Tensor) -> Tensor:
    """1, 2, 3, … by rising value, [N] float64; ties share the middle of their places."""
    _, group, counts = torch.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()
    places: Tensor = (last - (counts.double() - 1) / 2)[group]
    return places


def centred(values: Tensor) -> Tensor:
    return values - values.mean()
