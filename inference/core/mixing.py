"""Learned mixing of layers and heads: which attention the inverse flow follows.

The plain rollout (Abnar & Zuidema 2020) takes all heads alike and lets half of each layer's mass stay where it is.
Here both are learned from causal tests, by `flow.mixed_flow`. Still attention: it proposes, and shows nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from inference.core.flow import mixed_flow


@dataclass(frozen=True)
class HeadFlow:
    """The attention of one trace, head by head: heads [L, H, S', S'] over segments, of which segment i is part of
    step `step_of[i]` (-1: sink or prompt); `answer` is the segment that predicts the answer's value."""

    heads: Tensor
    step_of: tuple[int, ...]
    answer: int

    def to_tensors(self) -> dict[str, Tensor]:
        """Heads in half precision: shares differ by less than a thousandth."""
        places = torch.tensor([self.answer, *self.step_of], dtype=torch.int32)
        return {"heads": self.heads.detach().cpu().to(torch.float16).contiguous(), "places": places}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> HeadFlow:
        """Heads stay in half precision: many traces are held at once."""
        answer, *step_of = tensors["places"].tolist()
        return cls(tensors["heads"], tuple(step_of), answer)


class Mixing(nn.Module):
    """`weights` [L, H] and `residual` [L] of `flow.mixed_flow`; all zero is the plain rollout."""

    def __init__(self, layers: int, heads: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(layers, heads))
        self.residual = nn.Parameter(torch.zeros(layers))

    @property
    def learned(self) -> bool:
        return bool(self.weights.any() or self.residual.any())

    def forward(self, flow: HeadFlow, steps: int) -> Tensor:
        """Share [steps] of the answer's attention, followed back, that lands on each step; sums to 1."""
        mass = mixed_flow(flow.heads, self.weights, self.residual, flow.answer)
        return step_shares(mass, flow.step_of, steps)

    @torch.no_grad()
    def flow(self, flow: HeadFlow, steps: int) -> list[float]:
        shares: list[float] = self(flow, steps).tolist()
        return shares

    @torch.no_grad()
    def forget(self) -> None:
        self.weights.zero_()
        self.residual.zero_()


def step_shares(mass: Tensor, step_of: Sequence[int], steps: int) -> Tensor:
    """Mass [S'] on segments -> share [steps] of each step; sums to 1. Sink and prompt are left out, the rest is
    renormalised; where nothing reaches a step, all share alike."""
    own = torch.tensor(step_of)
    found = torch.zeros(steps).index_add(0, own[own >= 0], mass[own >= 0])
    total = found.sum()
    return found / total if total > 0 else torch.full((steps,), 1 / steps)
