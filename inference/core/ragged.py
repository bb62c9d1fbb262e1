"""Keys and values of rows of unlike lengths, cut from one prefix and padded on the left: all rows end together."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

from inference.core.cache import PrefixCache

ROOM = 64  # tokens that can be written before keys and values have to be moved


class RoomyLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """R rows cut from a prefix's layer, with room behind them, so that nothing is moved when tokens or rows change.

    The library's own layer copies all keys and values at each token, which for many rows takes as long as the model.
    """

    keys: Any  # Tensor [R, H_kv, T, D]: what is in use of the room
    values: Any

    def __init__(self, keys: Tensor, values: Tensor, lengths: Sequence[int]) -> None:
        """keys and values [1, H_kv, T, D]; row r gets the first `lengths[r]` tokens of them."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.lazy_initialization(keys, values)
        self.room = [padded(states, lengths) for states in (keys, values)]  # [R, H_kv, T and more, D] each
        self.rows, self.start, self.end = len(lengths), 0, max(lengths)
        self.show()

    def show(self) -> None:
        self.keys, self.values = (states[: self.rows, :, self.start : self.end] for states in self.room)

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append [R, H_kv, N, D] to both, and return all of both."""
        end = self.end + key_states.shape[2]
        if end > self.room[0].shape[2]:
            lengths = [self.end - self.start] * self.rows
            self.room = [padded(states, lengths, key_states.shape[2]) for states in (self.keys, self.values)]
            self.start, self.end, end = 0, lengths[0], lengths[0] + key_states.shape[2]
        for states, new in zip(self.room, (key_states, value_states), strict=True):
            states[: self.rows, :, self.end : end] = new
        self.end = end
        self.show()
        return self.keys, self.values

    def keep(self, rows: Sequence[int], padding: int) -> None:
        """Row i is from now on what row `rows[i]` was, without its first `padding` tokens. See `compacted`."""
        self.start += padding
        for states in self.room:
            for to, row in enumerate(rows):
                if to != row:
                    states[to, :, self.start : self.end] = states[row, :, self.start : self.end]
        self.rows = len(rows)
        self.show()


class RaggedBatch:
    """R rows being read together. `lengths` [R] are the tokens of each so far; the longest row has no padding."""

    def __init__(self, module: Any, cache: DynamicCache, lengths: Sequence[int]) -> None:
        self.module = module
        self.cache = cache
        self.lengths = torch.tensor(lengths, device=module.device)

    @classmethod
    def cut(cls, module: Any, prefix: PrefixCache, lengths: Sequence[int]) -> RaggedBatch:
        """Row r holds the first `lengths[r]` tokens of `prefix`, which is copied and left as it is."""
        cache, layers = DynamicCache(config=module.config), prefix.cache.layers
        cache.layers = [RoomyLayer(layer.keys, layer.values, lengths) for layer in layers]  # type: ignore[union-attr, arg-type]
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
        """Go on with `rows` as `compacted` orders them. Padding that none of them needs any more is cut off."""
        chosen = torch.tensor(rows, device=self.lengths.device)
        self.lengths = self.lengths[chosen]
        padding = self.cache.get_seq_length() - int(self.lengths.max())
        layers: Any = self.cache.layers
        for layer in layers:
            if isinstance(layer, RoomyLayer):
                layer.keep(rows, padding)
            else:
                layer.batch_select_indices(chosen)


def compacted(rows: Sequence[int]) -> list[int]:
    """`rows` in an order in which most stay where they are: those at the end fill the gaps before them.

    No row is written over before it has been moved.
    """
    staying, count = set(rows), len(rows)
    last = [row for row in rows if row >= count]
    return [row if row in staying else last.pop() for row in range(count)]


def padded(states: Tensor, lengths: Sequence[int], more: int = 0) -> Tensor:
    """Each row's first `lengths[r]` tokens, ending together, with zeros before them, and `more` and ROOM tokens free.

    states [R or 1, H_kv, T, D] -> [R, H_kv, longest + more + ROOM, D]. Zeros, because a mask does not hide NaN.
    """
    longest = max(lengths)
    size = (len(lengths), states.shape[1], longest + more + ROOM, states.shape[3])
    rows, given = states.new_empty(size), states.expand(len(lengths), -1, -1, -1)
    for row, length in enumerate(lengths):
        rows[row, :, : longest - length] = 0
        rows[row, :, longest - length : longest] = given[row, :, :length]
    return rows


def can_cut(module: Any, prefix: PrefixCache | None, starts: Sequence[Sequence[int]]) -> bool:
    """Whether all but the last token of each of `starts` can be had from `prefix`.

    Sliding windows and recurrent states forget, and a model that takes no positions cannot be told of padding.
    """
    if prefix is None or "position_ids" not in inspect.signature(module.forward).parameters:
        return False
    whole = all(type(layer) is DynamicLayer for layer in prefix.cache.layers)
    return whole and all(tuple(start[:-1]) == prefix.ids[: len(start) - 1] for start in starts)
