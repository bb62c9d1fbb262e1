"""Keys and values of rows of unlike lengths, cut from one prefix and padded on the left: all rows end together."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

from inference.core.cache import PrefixCache

ROOM = 32  # tokens that can be written before keys and values have to be copied


class RoomyLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """A layer that writes new tokens into room kept behind the old ones.

    The library's own copies all keys and values at each token, which for many rows takes as long as the model does.
    """

    keys: Any  # Tensor [R, H_kv, T, D], None before the first tokens
    values: Any

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.roomy: tuple[Tensor, Tensor] | None = None  # [R, H_kv, at least T, D]; keys and values are views of them

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append [R, H_kv, N, D] to both, and return all of both."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = key_states[:, :, :0], value_states[:, :, :0]
        start = self.keys.shape[2]
        end = start + key_states.shape[2]
        if self.roomy is None or self.roomy[0].shape[2] < end:
            self.roomy = (with_room(self.keys, end + ROOM), with_room(self.values, end + ROOM))
        self.roomy[0][:, :, start:end] = key_states
        self.roomy[1][:, :, start:end] = value_states
        self.keys, self.values = self.roomy[0][:, :, :end], self.roomy[1][:, :, :end]
        return self.keys, self.values

    def keep(self, rows: Tensor, padding: int) -> None:
        """Only `rows` (which may repeat), without their first `padding` tokens. Room is made when it is needed."""
        self.roomy = None
        self.keys = self.keys[:, :, padding:].index_select(0, rows)
        self.values = self.values[:, :, padding:].index_select(0, rows)


class RaggedBatch:
    """R rows being read together. `lengths` [R] are the tokens of each so far; the longest row has no padding."""

    def __init__(self, module: Any, cache: DynamicCache, lengths: Sequence[int]) -> None:
        self.module = module
        self.cache = cache
        self.lengths = torch.tensor(lengths, device=module.device)

    @classmethod
    def cut(cls, module: Any, prefix: PrefixCache, lengths: Sequence[int]) -> RaggedBatch:
        """Row r holds the first `lengths[r]` tokens of `prefix`, which is copied and left as it is."""
        cache = DynamicCache(config=module.config)
        cache.layers = [RoomyLayer() for _ in prefix.cache.layers]
        layers: Any = prefix.cache.layers
        for index, layer in enumerate(layers):
            cache.update(padded(layer.keys, lengths), padded(layer.values, lengths), index)
        return cls(module, cache, lengths)

    def read(self, tokens: Sequence[int]) -> Tensor:
        """Feed one token to each row; logits [R, V] of the next ones."""
        self.lengths += 1
        width = self.cache.get_seq_length() + 1
        if int(self.lengths.min()) < width:
            places = torch.arange(width, device=self.lengths.device)
            mask = (places >= width - self.lengths[:, None]).long()
            # Positions follow from a mask in `generate` only; here a row's have to be told.
            where = {"attention_mask": mask, "position_ids": self.lengths[:, None] - 1}
        else:
            where = {}
        fed = torch.tensor(tokens, device=self.lengths.device)[:, None]
        logits: Tensor = self.module(input_ids=fed, past_key_values=self.cache, use_cache=True, **where).logits
        return logits[:, -1]

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with `rows` alone, which may repeat. Padding that no row needs any more is cut off."""
        chosen = torch.tensor(rows, device=self.lengths.device)
        self.lengths = self.lengths[chosen]
        padding = self.cache.get_seq_length() - int(self.lengths.max())
        layers: Any = self.cache.layers
        for layer in layers:
            if isinstance(layer, RoomyLayer):
                layer.keep(chosen, padding)
            else:
                layer.batch_select_indices(chosen)


def with_room(states: Tensor, length: int) -> Tensor:
    """`states` [R, H_kv, T, D] at the start of [R, H_kv, length, D]; what stands behind them is not set."""
    roomy = states.new_empty((*states.shape[:2], length, states.shape[3]))
    roomy[:, :, : states.shape[2]] = states
    return roomy


def padded(states: Tensor, lengths: Sequence[int]) -> Tensor:
    """states [1, H_kv, T, D] -> [R, H_kv, longest, D]: the first lengths[r] tokens end row r, zeros stand before."""
    longest = max(lengths)
    rows = states.new_zeros((len(lengths), states.shape[1], longest, states.shape[3]))
    for row, length in enumerate(lengths):
        rows[row, :, longest - length :] = states[0, :, :length]
    return rows


def can_cut(module: Any, prefix: PrefixCache | None, starts: Sequence[Sequence[int]]) -> bool:
    """Whether all but the last token of each of `starts` can be had from `prefix`.

    Sliding windows and recurrent states forget, and a model that takes no positions cannot be told of padding.
    """
    if prefix is None or "position_ids" not in inspect.signature(module.forward).parameters:
        return False
    whole = all(type(layer) is DynamicLayer for layer in prefix.cache.layers)
    return whole and all(tuple(start[:-1]) == prefix.ids[: len(start) - 1] for start in starts)
