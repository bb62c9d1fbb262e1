"""What a step's place alone tells of its signals: the baseline beside which each of them is read.

Attention piles up on early steps and entropy falls towards the end of a chain, whatever it says. The flow has a
baseline of its own kind (`inversion.position_only_flow`: a model that looks at all words alike), and so has the flow
that a head learned to follow (`inverse.mixed`). For every other signal it is the straight line over the positions of
this trace's steps, by least squares: only what differs from it can be about content. One or two steps have
no such baseline: the line would go through them, whatever they say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from inference.core.records import StepSignals

LEAST = 3  # steps
FITTED = ("fork_entropy", "mean_entropy", "answer_margin", "trajectory_shift", "suppression")


def with_baselines(signals: Sequence[StepSignals]) -> tuple[StepSignals, ...]:
    """The same signals, each with `by_position`: the line's value for every signal that was measured at all steps.

    It is empty where there are fewer than LEAST steps.
    """
    positions = [signal.position for signal in signals]
    lines = {
        name: line(positions, values)
        for name in FITTED
        if len(signals) >= LEAST and None not in (values := [getattr(signal, name) for signal in signals])
    }
    return tuple(
        replace(signal, by_position={name: fitted[at] for name, fitted in lines.items()})
        for at, signal in enumerate(signals)
    )


def line(positions: Sequence[float], values: Sequence[float]) -> list[float]:
    """The least-squares line through (position, value) at each position; the mean where all are in one place."""
    count = len(values)
    centre, mean = sum(positions) / count, sum(values) / count
    spread = sum((position - centre) ** 2 for position in positions)
    shared = sum((position - centre) * (value - mean) for position, value in zip(positions, values, strict=True))
    slope = shared / spread if spread else 0.0
    return [mean + slope * (position - centre) for position in positions]
