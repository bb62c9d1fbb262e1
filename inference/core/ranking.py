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

    A model with windowed or recurrent layers cannot be probed in one pass; its signals keep None there.
    """
    steps = len(trace.steps)
    baseline = position_only_flow(inversion.segments, len(inversion.flow), steps)
    signals = tuple(
        replace(signal, position_flow=share) for signal, share in zip(inversion.signals, baseline, strict=True)
    )
    if not full_attention(model):
        return with_baselines(signals)
    trajectory = answer_trajectory(model, trace, inversion.prefix)
    best = trajectory.distributions.topk(min(2, trajectory.scores.shape[1])).values
    margins = (best[:, 0] - best[:, -1]).tolist()
    shifts, losses = trajectory.shifts.tolist(), direct_suppression(model, trace, inversion.prefix).tolist()
    return with_baselines(
        [
            replace(signal, answer_margin=margins[at], trajectory_shift=shifts[at], suppression=losses[at])
            for at, signal in enumerate(signals)
        ]
    )


def likely_and_mattered(signals: Sequence[StepSignals]) -> tuple[float, ...]:
    """One score in (0, 1] for each step: how likely another way was, times how much the answer hung on the step.

    Likely: the ranks of fork entropy and of a small answer margin before the step. Mattered: the ranks of direct
    suppression and of the trajectory shift. Where the model could not be probed, fork entropy alone ranks.
    """
    entropy = ranks([signal.fork_entropy for signal in signals])
    known = [
        (signal.answer_margin, signal.suppression, signal.trajectory_shift)
        for signal in signals
        if signal.answer_margin is not None and signal.suppression is not None and signal.trajectory_shift is not None
    ]
    if len(known) < len(signals):
        return tuple(entropy)
    margins, losses, shifts = (list(column) for column in zip(*known, strict=True))
    unsure, lost, moved = ranks([-margin for margin in margins]), ranks(losses), ranks(shifts)
    return tuple((entropy[at] + unsure[at]) / 2 * (lost[at] + moved[at]) / 2 for at in range(len(signals)))


def ranks(values: Sequence[float]) -> list[float]:
    """Share of the values that are at most as large, in (0, 1]; ties share the middle of their ranks."""
    size = len(values)
    return [
        (sum(other < value for other in values) + (sum(other == value for other in values) + 1) / 2) / size
        for value in values
    ]
