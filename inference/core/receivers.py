"""Receiver heads: attention heads that narrow later steps' attention to a few earlier ones.

After Thought Anchors (Bogdan et al. 2025). Pure functions of step × step attention.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from inference.core.inversion import Segments

NEAR = 4  # steps right behind a step look at it for being near; their attention is left out, as in the source
TOP = 16
FORKS = 0.2


def step_attention(heads: Tensor, segments: Segments, steps: int) -> Tensor:
    """Attention of each head from step to step, per token pair: [L, H, S, S] float32.

    heads [L, H, S', S'] over `segments`: mass that a token of a segment sends to a segment. A long step gets more of
    it for its length alone, so the mass is divided by the number of tokens that received it.
    """
    sizes = torch.tensor(segments.bounds).diff().float()
    part = torch.zeros(steps, len(sizes))
    for segment, step in enumerate(segments.step_of):
        if step >= 0:
            part[step, segment] = 1.0
    tokens = part @ sizes
    return (part * sizes) @ heads @ part.T / tokens[:, None] / tokens


def received(attention: Tensor, near: int = NEAR) -> Tensor:
    """Mean attention [L, H, C] that each of the first C steps gets from steps more than `near` after it.

    attention [L, H, S, S], C = S - near - 1. Raises ValueError where fewer than three steps have such a reader.
    """
    steps = attention.shape[-1]
    columns = steps - near - 1
    if columns < 3:
        raise ValueError(f"the chain has {steps} steps; receiver heads can be told apart from {near + 4} on")
    return torch.stack([attention[..., step + near + 1 :, step].mean(-1) for step in range(columns)], dim=-1)


def kurtosis(scores: Tensor) -> Tensor:
    """Excess kurtosis over the last axis (Fisher): 0 for a normal distribution, and 0 where all are equal."""
    centred = scores.double() - scores.double().mean(-1, keepdim=True)
    variance = centred.square().mean(-1)
    fourth = centred.pow(4).mean(-1)
    peaked = fourth / variance.square() - 3
    return torch.where(variance > 0, peaked, torch.zeros_like(peaked)).float()


def receiver_heads(scores: Tensor, top: int = TOP) -> list[tuple[int, int]]:
    """The `top` (layer, head), from 0, whose received attention [L, H, C] has the highest kurtosis, highest first."""
    flat = kurtosis(scores).flatten()
    order = flat.argsort(descending=True, stable=True)[:top].tolist()
    return [divmod(index, scores.shape[1]) for index in order]


def receiver_scores(scores: Tensor, heads: Sequence[tuple[int, int]]) -> Tensor:
    """Mean attention [C] that each step gets in `heads`, of received attention [L, H, C].

    Raises ValueError for no heads.
    """
    if not heads:
        raise ValueError("heads is empty; give at least one (layer, head), such as those of `receiver_heads`")
    return torch.stack([scores[layer, head] for layer, head in heads]).mean(0)


def forks(entropies: Sequence[float], share: float = FORKS) -> list[int]:
    """The tokens of highest entropy, a `share` of all rounded up, in their order (Wang et al. 2025: 20 %).

    Raises ValueError for a share outside 0 to 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share}; allowed is 0 to 1")
    count = math.ceil(share * len(entropies))
    highest = sorted(range(len(entropies)), key=lambda token: -entropies[token])[:count]
    return sorted(highest)
