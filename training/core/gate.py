"""Judges a scorer on held-out problems: may it replace the one in use?

    promote   it predicts held-out judgements better than the one in use, beyond doubt, and breaks no guard
    hold      it is better than guessing, but not shown to be better than the one in use
    reject    nothing shows that it is better than guessing, or it is worse than the one in use, or it breaks a guard

Beyond doubt means: the lower end of a 90 % bootstrap interval is above 0. A guard is broken when a harm is beyond
doubt in the same sense. Only randomly selected pairs count. See docs/retraining.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from inference.core.head import Head
from training.core.calibration import Calibration, Reliability, calibrate, reliability
from training.core.data import Pairs, length_matched, numbered, surface_at
from training.core.davidson import agreement
from training.core.fit import one_thread
from training.core.resampling import Estimate, Resampling, resampling

FOLDS = 10
SLICE = 100  # judgements that a slice needs to be guarded
MOST_ERROR = 0.05  # expected calibration error
PROMOTE, HOLD, REJECT = "promote", "hold", "reject"

Difference = Callable[[Pairs], Tensor]
"""A scorer seen from outside: the score difference, first minus second, of each judgement, [N]."""


@dataclass(frozen=True)
class Contender:
    """A scorer that takes part. A `signed` number, such as length, may count either way round. `calibration` is its
    own, for the calibration error; without one, it is calibrated on other held-out problems."""

    name: str
    difference: Difference
    signed: bool = False
    calibration: Calibration | None = None


@dataclass(frozen=True)
class Score:
    """How well one scorer predicts held-out judgements: log-loss in nats (lower is better), accuracy on the decided
    ones with a 90 % interval; and by how much the new scorer's log-loss and accuracy are better than its."""

    name: str
    log_loss: float
    accuracy: Estimate | None
    gain: Estimate | None
    accuracy_gain: Estimate | None


@dataclass(frozen=True)
class Guard:
    """One thing that may not get worse. `low` and `high` are of the new scorer's accuracy minus that of the one in
    use or, where nothing is compared, absent."""

    name: str
    judgements: int
    value: float
    in_use: float | None
    low: float | None
    high: float | None
    broken: bool
    said: str


@dataclass(frozen=True)
class GateReport:
    """The verdict with everything that it rests on. `scores` begin with the new scorer and the one in use."""

    verdict: str
    reason: str
    gain: Estimate
    scores: tuple[Score, ...]
    guards: tuple[Guard, ...]
    reliability: Reliability | None
    judgements: int
    left_out: int  # not selected at random
    problems: int
    raters: int  # 0: resampled by problems alone
    used_before: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def judge_head(
    new: Head,
    in_use: Head,
    held_out: Pairs,
    *,
    slices: Mapping[str, Tensor] | None = None,
    used_before: int = 0,
    latency: tuple[float, float, float] | None = None,
    seed: int = 0,
) -> GateReport:
    """Judge a new head against the one in use. See `judge`."""
    contenders = by_head(new, "new head"), by_head(in_use, f"{in_use.name} (in use)")
    return judge(*contenders, held_out, slices=slices, used_before=used_before, latency=latency, seed=seed)


def judge(
    new: Contender,
    in_use: Contender,
    held_out: Pairs,
    *,
    slices: Mapping[str, Tensor] | None = None,
    used_before: int = 0,
    latency: tuple[float, float, float] | None = None,
    seed: int = 0,
) -> GateReport:
    """Judge any two scorers on `held_out` judgements of problems that neither was fitted on.

    `slices` are masks [N] by name, of which those with SLICE judgements are guarded. `used_before` is how often this
    test set has been used. `latency` is (new, in use, most) in seconds for one explanation. Raises ValueError when
    fewer than two problems have randomly selected judgements.
    """
    pairs = held_out.where(held_out.random)
    if pairs.problem_count < 2:
        raise ValueError(
            f"the gate has randomly selected judgements on {pairs.problem_count} held-out problems and needs 2; "
            "collect judgements on more problems"
        )
    masks = {name: mask[held_out.random] for name, mask in (slices or {}).items()}
    with one_thread(), torch.no_grad():
        drawn = resampling(pairs, seed)
        contenders = [new, in_use, *baselines()]
        tried = [trial(contender, pairs) for contender in contenders]
        scores = tuple(score_of(one, tried[0], pairs, drawn) for one in tried)
        known = own_reliability(new, tried[0], pairs, seed)
        guards = [*accuracy_guards(tried[0], tried[1], pairs, masks, drawn), *calibration_guard(known)]
    if latency is not None:
        guards.append(latency_guard(*latency))
    gain = drawn.estimate(tried[1].losses - tried[0].losses)
    guess = drawn.estimate(tried[2].losses - tried[0].losses)
    verdict, why = decide(gain, guess, [guard for guard in guards if guard.broken], in_use.name)
    return GateReport(
        verdict=verdict,
        reason=" ".join([why, *context(gain, pairs, used_before)]),
        gain=gain,
        scores=scores,
        guards=tuple(guards),
        reliability=known,
        judgements=len(pairs),
        left_out=len(held_out) - len(pairs),
        problems=pairs.problem_count,
        raters=0 if drawn.raters is None else drawn.raters.shape[1],
        used_before=used_before,
    )


@dataclass(frozen=True)
class Trial:
    """One scorer on the held-out judgements: differences brought to scale, log-losses (nats), both [N]."""

    name: str
    difference: Tensor
    losses: Tensor


def baselines() -> tuple[Contender, ...]:
    return (
        Contender("random", lambda pairs: torch.zeros(len(pairs))),
        Contender("length alone", by_surface("log_tokens"), signed=True),
        Contender("likelihood alone", by_surface("mean_logprob"), signed=True),
    )


def trial(contender: Contender, pairs: Pairs) -> Trial:
    """Scores brought to scale, each problem by other held-out problems, which no scorer was fitted on.

    So an untrained head is not beaten merely for not knowing how often raters call a tie, nor an older one for what
    it was trained on. Raises ValueError for a score that is not a finite number.
    """
    raw = contender.difference(pairs)
    if not torch.isfinite(raw).all():
        raise ValueError(f"{contender.name} has scores that are not finite numbers; score the texts again")
    folds = numbered(pairs.problems) % min(FOLDS, pairs.problem_count)
    scaled, losses = torch.zeros(len(pairs)), torch.zeros(len(pairs))
    for fold in range(int(folds.max()) + 1):
        mine, side, outcomes = folds == fold, pairs.side, pairs.outcomes
        found = calibrate(raw[~mine], outcomes[~mine], side=side[~mine], signed=contender.signed)
        scaled[mine] = found.scale * raw[mine]
        losses[mine] = found.losses(raw[mine], outcomes[mine], side[mine])
    return Trial(contender.name, scaled, losses)


def score_of(one: Trial, new: Trial, pairs: Pairs, drawn: Resampling) -> Score:
    decided, loss = pairs.decided, float(one.losses.mean())
    gain = None if one is new else drawn.estimate(one.losses - new.losses)
    if not decided.any():
        return Score(one.name, loss, None, gain, None)
    right, best = agreement(one.difference, pairs.outcomes), agreement(new.difference, pairs.outcomes)
    more = None if one is new else drawn.estimate(best - right, decided)
    return Score(one.name, loss, drawn.estimate(right, decided), gain, more)


def own_reliability(new: Contender, tried: Trial, pairs: Pairs, seed: int) -> Reliability | None:
    """With the calibration that it brings from training, of which the held-out judgements are an honest test."""
    if new.calibration is None:
        return reliability(tried.difference, pairs.outcomes, seed, pairs.compared)
    scaled = new.calibration.difference(new.difference(pairs), pairs.side)
    return reliability(scaled, pairs.outcomes, seed, pairs.compared)


def accuracy_guards(
    new: Trial, in_use: Trial, pairs: Pairs, slices: Mapping[str, Tensor], drawn: Resampling
) -> list[Guard]:
    """Pairs of about the same length, where length cannot help; and the caller's slices."""
    cases = {"length within 15 %": length_matched(pairs)} | dict(slices)
    kept = {name: mask & pairs.decided for name, mask in cases.items()}
    return [
        accuracy_guard(name, new, in_use, pairs, mask, drawn)
        for name, mask in kept.items()
        if int(mask.sum()) >= SLICE
    ]


def accuracy_guard(name: str, new: Trial, in_use: Trial, pairs: Pairs, mask: Tensor, drawn: Resampling) -> Guard:
    mine, theirs = agreement(new.difference, pairs.outcomes), agreement(in_use.difference, pairs.outcomes)
    change = drawn.estimate(mine - theirs, mask)
    value, before, count = float(mine[mask].mean()), float(theirs[mask].mean()), int(mask.sum())
    said = f"On {name} ({count} judgements) it is right in {value:.1%}, {in_use.name} in {before:.1%}."
    return Guard(name, count, value, before, change.low, change.high, change.high < 0, said)


def calibration_guard(found: Reliability | None) -> list[Guard]:
    """A few judgements show a large error by chance alone, so that it must be larger than chance as well."""
    if found is None:
        return []
    broken = found.error > MOST_ERROR and found.error > found.chance
    said = (
        f"Its stated probabilities are off by {found.error:.3f} on average (at most {MOST_ERROR} is allowed; chance "
        f"alone reaches {found.chance:.3f} on {found.judgements} judgements)."
    )
    return [Guard("calibration error", found.judgements, found.error, None, None, None, broken, said)]


def latency_guard(new: float, in_use: float, most: float) -> Guard:
    said = f"It takes {new:.3f} s for an explanation, the one in use {in_use:.3f} s; {most:.3f} s are allowed."
    return Guard("latency", 0, new, in_use, None, None, new > most, said)


def decide(gain: Estimate, guess: Estimate, broken: Sequence[Guard], in_use: str) -> tuple[str, str]:
    """The verdict and its reason in words."""
    compared = (
        f"Its log-loss is {abs(gain.mean):.3f} nats {'lower' if gain.mean > 0 else 'higher'} than that of {in_use} "
        f"(gain {gain.mean:+.3f}, 90 % interval {gain.low:+.3f} to {gain.high:+.3f})."
    )
    if gain.high < 0:
        return REJECT, f"It is worse than the one in use. {compared}"
    if guess.low <= 0:
        return REJECT, (
            f"Nothing shows that it predicts better than guessing (gain over guessing {guess.mean:+.3f} nats, 90 % "
            f"interval {guess.low:+.3f} to {guess.high:+.3f}). {compared}"
        )
    if broken:
        return REJECT, " ".join([f"It breaks a guard: {guard.said}" for guard in broken] + [compared])
    if gain.low > 0:
        return PROMOTE, f"{compared} The whole interval is above 0, and no guard is broken."
    return HOLD, f"{compared} To be promoted, the whole interval has to be above 0."


def context(gain: Estimate, pairs: Pairs, used_before: int) -> list[str]:
    times = "once" if used_before == 1 else f"{used_before} times"
    often = (
        f"These problems have tested a head {times} before"
        if used_before
        else "These problems test for the first time"
    )
    return [
        f"This was tested on {len(pairs)} randomly selected judgements of {pairs.problem_count} held-out problems, "
        f"which could show a gain of {gain.detectable:.3f} nats or more.",
        f"{often}{'; the more often, the less a small gain means' if used_before else ''}.",
    ]


def by_head(head: Head, name: str = "") -> Contender:
    def difference(pairs: Pairs) -> Tensor:
        return pairs.difference(head.score(pairs.features))

    scale, log_nu, position = head.calibration.tolist()
    own = Calibration(scale, log_nu, position) if head.trained else None
    return Contender(name or head.name, difference, calibration=own)


def by_surface(name: str) -> Difference:
    """A number of the features alone, such as length: log(1 + tokens)."""
    return lambda pairs: pairs.difference(pairs.features[:, surface_at(name)])
