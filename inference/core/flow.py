"""Inverse flow: follow the answer's attention back over the segments of a trace.

The model's own attention goes on as before; beside it, each layer's attention is reduced at once to segment ×
segment, so that no [T, T] map of all heads is ever kept. Transposed rollout after Abnar & Zuidema 2020.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

NAME = "sage_segments"
BLOCK = 64  # query rows handled at a time: the working memory is heads × BLOCK × T


@dataclass
class Tape:
    """What one forward pass leaves behind. Segment s covers tokens [bounds[s], bounds[s + 1]).

    Rows are measured from segment `first` on, and those tokens have to be in the pass; earlier ones may come from a
    cache. Mass that has reached an earlier segment can never come back to a later one, so that earlier segments are
    made absorbing: their rows are those of the identity.
    """

    bounds: tuple[int, ...]
    first: int
    layers: list[Tensor] = field(default_factory=list)

    def flow(self) -> Tensor:
        """Attention [L, S', S'] float32: row s is where segment s looks, over all heads; rows sum to 1."""
        return torch.stack(self.layers)


_tape: ContextVar[Tape | None] = ContextVar("sage_tape", default=None)


@contextmanager
def recording(tape: Tape) -> Iterator[Tape]:
    """Forward passes of batch size 1 inside write onto `tape`; other threads' passes do not."""
    token = _tape.set(tape)
    try:
        yield tape
    finally:
        _tape.reset(token)


def install(module: Any) -> None:
    """Give the model the recording attention, for good: it computes the same as `sdpa` and records only when asked.

    The mask has to be registered as well, else Transformers passes none and causality is lost without a word.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, segment_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    module.set_attn_implementation(NAME)


def segment_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """query [B, H, T, D], key and value [B, H_kv, T, D]; the attention of `sdpa`, recorded where a tape runs."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    tape = _tape.get()
    if tape is not None:
        tape.layers.append(reduced(query[0], key[0], attention_mask, options.get("scaling"), tape))
    result: tuple[Tensor, None] = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    return result


def reduced(query: Tensor, key: Tensor, mask: Tensor | None, scaling: float | None, tape: Tape) -> Tensor:
    """Mean attention from segment to segment [S', S'] of one layer.

    query [H, R, D] are the last R of the T tokens, key [H_kv, T, D] all of them; mask [1, 1, R, T] or None.
    """
    segments = len(tape.bounds) - 1
    start, length = tape.bounds[tape.first], tape.bounds[-1]
    known = length - query.shape[1]  # tokens whose keys came from a cache
    member = membership(tape.bounds, key)
    scaled = query * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    rows = []
    for at in range(start, length, BLOCK):
        end = min(at + BLOCK, length)
        allowed = visible(at, end, key) if mask is None else shown(mask[0, 0, at - known : end - known, :end])
        rows.append(block_rows(scaled[:, at - known : end - known], key, allowed, member))
    own = member[start:]
    means = own.T @ torch.cat(rows) / own.sum(0).clamp(min=1)[:, None]
    means[: tape.first] = torch.eye(segments, device=key.device)[: tape.first]
    return means.cpu()


def membership(bounds: tuple[int, ...], like: Tensor) -> Tensor:
    """[T, S'] float32: 1 where the token lies in the segment."""
    sizes = torch.tensor(bounds, device=like.device).diff()
    own = torch.repeat_interleave(torch.arange(len(sizes), device=like.device), sizes)
    return torch.nn.functional.one_hot(own, len(sizes)).float()


def block_rows(query: Tensor, key: Tensor, allowed: Tensor, member: Tensor) -> Tensor:
    """Where each of R query rows looks, by segment, mean over heads: [R, S'].

    query [H, R, D] scaled; key [H_kv, T, D]; allowed [R, E] bool, E ≤ T: later keys are out of sight of all rows.
    """
    heads, rows, size = query.shape
    groups, end = heads // key.shape[0], allowed.shape[1]
    # Queries are grouped by the key head that they share, rather than keys repeated for each query head.
    grouped = query.reshape(key.shape[0], groups * rows, size)
    scores = (grouped @ key[:, :end].transpose(1, 2)).float()
    scores = scores.view(heads, rows, end).masked_fill_(~allowed, float("-inf"))
    return (scores.softmax(-1) @ member[:end]).mean(0)


def visible(start: int, end: int, like: Tensor) -> Tensor:
    """Which of the first `end` keys tokens [start, end) may look at, each at none after itself: bool."""
    positions = torch.arange(end, device=like.device)
    return positions[None, :] <= positions[start:end, None]


def shown(mask: Tensor) -> Tensor:
    """A mask as bool: one that is added to the scores is 0 where a token may look."""
    return mask if mask.dtype == torch.bool else mask >= 0


def rollout(attention: Tensor, start: int) -> Tensor:
    """Mass [S'] on each segment after following `start` back through all layers; sums to 1.

    attention [L, S', S'], first layer first. Ā_l = ½·A_l + ½·I, f_L = one at `start`, f_{l-1} = Ā_lᵀ·f_l.
    """
    mass = torch.zeros(attention.shape[-1])
    mass[start] = 1.0
    for layer in attention.flip(0):
        mixed = 0.5 * layer + 0.5 * torch.eye(len(mass))
        mass = (mixed / mixed.sum(-1, keepdim=True)).T @ mass
    return mass
