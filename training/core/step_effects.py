"""What causal tests said of steps, as tensors: what the head's step outputs are learned from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from inference.core.mixing import HeadFlow
from inference.core.records import StepTest
from training.core.data import numbers


@dataclass(frozen=True)
class TestedStep:
    """One test of a step with features [F]. `outcomes` counts the possible answers, `answer` is the trace's."""

    __test__ = False  # of no interest to pytest

    features: Tensor
    test: StepTest
    outcomes: int
    answer: str
    problem: str
    trace: str


@dataclass(frozen=True)
class StepEffects:
    """M tested steps, the last features of which are `step_head.NUMBERS`.

    features [M, F] float32; effects [M] float32: effect beyond chance (nats), nan where none was measured; decisions
    [M] float32: 1 confirmed, 0 not, nan untested; problems, traces [M] int64: numbers of what they belong to. The
    tests [M] themselves are needed for claims, and `flows` (trace number -> attention) for the mixing; both may lack.
    """

    features: Tensor
    effects: Tensor
    decisions: Tensor
    problems: Tensor
    traces: Tensor
    tests: tuple[TestedStep, ...] = ()
    flows: Mapping[int, HeadFlow] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.effects)

    @property
    def weights(self) -> Tensor:
        """[M] float32: how much each effect counts, in proportion to the rollouts that it rests on; 1 on average.

        Tests that ended early are the less sure ones: those confirmed overstate their effects. 1 without the tests.
        """
        drawn = torch.tensor([float(row.test.rollouts) for row in self.tests])
        return drawn / drawn.mean() if drawn.any() else torch.ones(len(self))

    @property
    def problem_count(self) -> int:
        return len(torch.unique(self.problems))


def stacked(rows: Sequence[TestedStep], size: int, flows: Mapping[str, HeadFlow] | None = None) -> StepEffects:
    """M steps, of which there may be none, so the feature `size` F is given. `flows` are by the trace's name."""
    names = sorted({row.trace for row in rows})
    return StepEffects(
        features=torch.stack([row.features for row in rows]) if rows else torch.zeros(0, size),
        effects=torch.tensor([effect_of(row.test) for row in rows], dtype=torch.float32),
        decisions=torch.tensor([decision_of(row.test) for row in rows], dtype=torch.float32),
        problems=numbers([row.problem for row in rows]),
        traces=numbers([row.trace for row in rows]),
        tests=tuple(rows),
        flows={at: flows[name] for at, name in enumerate(names) if flows and name in flows},
    )


def effect_of(test: StepTest) -> float:
    """Effect beyond chance, nats. 0 for a step that no resample replaced: the model knew nothing else to write there.
    nan where no answers could be compared, and in records that did not have it yet."""
    if test.excess is not None:
        return test.excess
    return 0.0 if test.rollouts and not test.different else math.nan


def decision_of(test: StepTest) -> float:
    """1 confirmed, 0 tested and not confirmed, nan untested. The first records had no word for that."""
    if test.confirmed:
        return 1.0
    compared = test.effect is not None or (test.rollouts > 0 and not test.different)
    return 0.0 if compared else math.nan
