"""What the head sees of a step: the base model's hidden states over its tokens, and numbers that have names.

Step features, [2H + K]: mean and last hidden state over the step's tokens at the head's `layer`, then the K numbers
of `step_head.NUMBERS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from inference.core.ranking import likely_and_mattered
from inference.core.records import StepSignals
from inference.core.step_head import NUMBERS


def step_features(states: Tensor, signals: Sequence[StepSignals]) -> Tensor:
    """Features [S, 2H + K] float32 of S steps with pooled states [S, 2H] (`Inversion.step_states`).

    `signals` are those after probing (`ranking.probed`). What could not be measured counts as 0. That is told from a
    measured 0 by `probed`, 0 where nothing was probed, and by `has_options`, 0 where there were no options of which a
    margin and a shift could be measured.
    """
    return torch.cat([states, named_numbers(signals)], dim=1)


def named_numbers(signals: Sequence[StepSignals]) -> Tensor:
    """[S, K] float32, in the order of `step_head.NUMBERS`. No head is in them: later heads learn from them."""
    fused = likely_and_mattered([replace(signal, learned_flow=None) for signal in signals])
    rows = []
    for signal, score in zip(signals, fused, strict=True):
        derived = {
            "probed": signal.suppression is not None,
            "has_options": signal.answer_margin is not None,
            "likely_and_mattered": score,
        }
        values = [derived[name] if name in derived else getattr(signal, name) for name in NUMBERS]
        rows.append([0.0 if value is None else float(value) for value in values])
    return torch.tensor(rows)
