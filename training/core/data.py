"""Judgements as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from training.core.davidson import FIRST, SECOND, TIE

# "Both bad" says nothing about which of the two is better.
OUTCOMES = {"first": FIRST, "second": SECOND, "tie": TIE, "both_bad": TIE}


@dataclass(frozen=True)
class Pairs:
    """N judgements: features `first` and `second` [N, F]; `outcomes` [N] as in davidson; `problems` [N] numbers."""

    first: Tensor
    second: Tensor
    outcomes: Tensor
    problems: Tensor

    def __len__(self) -> int:
        return len(self.outcomes)

    @property
    def problem_count(self) -> int:
        return int(numbered(self.problems).max()) + 1

    def where(self, mask: Tensor) -> Pairs:
        """The judgements where `mask` [N] is true."""
        return Pairs(self.first[mask], self.second[mask], self.outcomes[mask], self.problems[mask])


def numbered(labels: Tensor) -> Tensor:
    """Labels [N] replaced by 0, 1, 2, … in the order of their values, [N] int64."""
    values: Tensor = torch.unique(labels)
    return torch.searchsorted(values, labels)


def pairs_of(
    first: Sequence[Tensor], second: Sequence[Tensor], choices: Sequence[str], problems: Sequence[str]
) -> Pairs:
    """Stack N judgements (at least one). Problems become numbers in the order of their sorted names."""
    number = {problem: i for i, problem in enumerate(sorted(set(problems)))}
    return Pairs(
        torch.stack(list(first)),
        torch.stack(list(second)),
        torch.tensor([OUTCOMES[choice] for choice in choices]),
        torch.tensor([number[problem] for problem in problems]),
    )


def split(pairs: Pairs, held_out: Sequence[bool]) -> tuple[Pairs, Pairs]:
    """The judgements that are not held out, and those that are."""
    testing = torch.tensor(list(held_out))
    return pairs.where(~testing), pairs.where(testing)


@dataclass(frozen=True)
class StepEffects:
    """M steps with features [M, F] float32 and measured causal effects [M] (nats)."""

    features: Tensor
    effects: Tensor

    def __len__(self) -> int:
        return len(self.effects)


def step_effects_of(features: Sequence[Tensor], effects: Sequence[float], size: int) -> StepEffects:
    """Stack M steps; M may be 0, so the feature `size` F is given."""
    stacked = torch.stack(list(features)) if features else torch.zeros(0, size)
    return StepEffects(stacked, torch.tensor(effects, dtype=torch.float32))
