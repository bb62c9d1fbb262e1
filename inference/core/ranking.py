"""Which steps to test first, before a head has learned it: likely × mattered.

A step is worth its rollouts where another way was likely and where the answer hangs on it. Both are guesses from
cheap signals, of unlike units and spread: only their ranks are combined, so that no weight has to be made up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from inference.core.inversion import Inversion, position_only_flow
from inference.core.language_model import LanguageModel
from inference.core.packed import full_attention
from inference.core.position import with_baselines
from inference.core.records import StepSignals, Trace
from inference.core.suppression import direct_suppression
from inference.core.trajectory import answer_trajectory


def probed(model: LanguageModel, trace: Trace, inversion: Inversion) -> tuple[StepSignals, ...]:
    """The signals of `inversion` and what two packed passes tell, each with its position-only baseline.

    A model with windowed or recurrent layers cannot be probed in one pass; its signals keep None there. A problem
    without options has no trajectory over them: answer_margin and trajectory_shift stay None.
    """
    steps = len(trace.steps)
    baseline = position_only_flow(inversion.segments, len(inversion.flow), steps)
    signals = tuple(
        replace(signal, position_flow=share) for signal, share in zip(inversion.signals, baseline, strict=True)
    )
    if not full_attention(model):
        return with_baselines(signals)
    losses = direct_suppression(model, trace, inversion.prefix).tolist()
    signals = tuple(replace(signal, suppression=loss) for signal, loss in zip(signals, losses, strict=True))
    if not trace.problem.options:
        return with_baselines(signals)
    trajectory = answer_trajectory(model, trace, inversion.prefix)
    best = trajectory.distributions.topk(min(2, trajectory.scores.shape[1])).values
    margins, shifts = (best[:, 0] - best[:, -1]).tolist(), trajectory.shifts.tolist()
    return with_baselines(
        [replace(signal, answer_margin=margins[at], trajectory_shift=shifts[at]) for at, signal in enumerate(signals)]
    )


def likely_and_mattered(signals: Sequence[StepSignals]) -> tuple[float, ...]:
    """One score in (0, 1] for each step: how likely another way was, times how much the answer hung on the step.

    Likely: the ranks of fork entropy and of a small answer margin before the step. Mattered: the ranks of direct
    suppression, of the trajectory shift, and of the flow by a mixing that a head has learned. What was not measured
    is left out: a problem without options has neither margin nor shift, and where the model could not be probed and
    no head mixes, fork entropy alone ranks.
    """
    likely = [ranks([signal.fork_entropy for signal in signals])]
    margins = known([signal.answer_margin for signal in signals])
    if margins:
        likely.append(ranks([-margin for margin in margins]))
    names = ("suppression", "trajectory_shift", "learned_flow")
    measured = [known([getattr(signal, name) for signal in signals]) for name in names]
    mattered = [ranks(column) for column in measured if column]
    return tuple(mean(likely, at) * mean(mattered, at) for at in range(len(signals)))


def known(column: Sequence[float | None]) -> list[float]:
    """A signal of all steps; empty where it was not measured of all."""
    values = [value for value in column if value is not None]
    return values if len(values) == len(column) else []


def mean(columns: Sequence[Sequence[float]], at: int) -> float:
    """Of row `at`; 1 without a column."""
    return sum(column[at] for column in columns) / len(columns) if columns else 1.0


def ranks(values: Sequence[float]) -> list[float]:
    """Share of the values that are at most as large, in (0, 1]; ties share the middle of their ranks."""
    size = len(values)
    return [
        (sum(other < value for other in values) + (sum(other == value for other in values) + 1) / 2) / size
        for value in values
    ]
