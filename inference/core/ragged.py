"""Rows of unlike lengths, written together behind slices of one prefix, whose keys and values none of them copies.

All rows' queries meet the prefix in one product, as in Hydragen (Juravsky et al. 2024), and each row its own new
tokens in another; one softmax goes over both. A row that begins early does not look at the rest of the prefix.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

from inference.core.attention import Attended, installed, recording
from inference.core.cache import PrefixCache

ROOM = 64  # tokens that can be written before keys and values have to be moved


class Rows(Protocol):
    """R rows being written together."""

    def read(self, tokens: Sequence[int]) -> Tensor:
        """Feed one token to each row; logits [R, V] of the next ones."""

    def keep(self, rows: Sequence[int]) -> None:
        """Row i is from now on what row `rows[i]` was."""


class RoomyLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """A layer's keys and values with room behind them: the library's own copies all of them at each token."""

    keys: Any  # Tensor [R, H_kv, T, D]: what is in use of the room
    values: Any
    room: Any = None  # both, [2, R, H_kv, T and more, D]

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append [R, H_kv, N, D] to both, and return all of both."""
        if self.room is None:
            self.lazy_initialization(key_states, value_states)
            self.room, self.end = roomier(key_states), 0
        start, self.end = self.end, self.end + key_states.shape[2]
        while self.end > self.room.shape[3]:
            self.room = torch.cat([self.room, roomier(key_states)], dim=3)
        self.room[0, :, :, start : self.end], self.room[1, :, :, start : self.end] = key_states, value_states
        return self.shown()

    def shown(self) -> tuple[Tensor, Tensor]:
        self.keys, self.values = self.room[..., : self.end, :]
        return self.keys, self.values

    def keep(self, rows: Tensor) -> None:
        self.room = self.room[:, rows]
        self.shown()


def roomier(states: Tensor) -> Tensor:
    """Room for ROOM tokens of keys and values like `states` [R, H_kv, N, D]."""
    return states.new_empty(2, *states.shape[:2], ROOM, states.shape[3])


class SharedRows:
    """Rows behind `prefix`, of which row r sees the first `lengths[r]` tokens. The prefix is left as it is."""

    def __init__(self, module: Any, prefix: PrefixCache, lengths: Sequence[int]) -> None:
        self.module, self.prefix = module, prefix
        self.lengths = torch.tensor(lengths, device=module.device)
        self.cache = DynamicCache(config=module.config)
        self.cache.layers = [RoomyLayer() for _ in prefix.cache.layers]  # type: ignore[no-untyped-call]
        self.hide()

    def hide(self) -> None:
        """What no row sees of the prefix is left out; `hidden` [R, P] is what each may not see of the rest."""
        longest = int(self.lengths.max())
        self.hidden = torch.arange(longest, device=self.lengths.device) >= self.lengths[:, None]

    def read(self, tokens: Sequence[int]) -> Tensor:
        """See Rows."""
        fed = torch.tensor(tokens, device=self.lengths.device)[:, None]
        places = self.lengths[:, None] + self.cache.get_seq_length()
        with recording(self):
            told = {"position_ids": places, "past_key_values": self.cache, "use_cache": True}
            logits: Tensor = self.module(input_ids=fed, **told).logits
        return logits[:, -1]

    def listen(self, given: Attended, usual: Callable[[], Tensor]) -> Tensor:
        """Attention over the prefix and the rows' own tokens, of which alone the cache and `usual` know."""
        layer: Any = self.prefix.cache.layers[given.layer]
        return shared_attention(given, layer.keys[0], layer.values[0], self.hidden)

    def keep(self, rows: Sequence[int]) -> None:
        """See Rows."""
        chosen = torch.tensor(rows, device=self.lengths.device)
        self.lengths = self.lengths[chosen]
        for layer in self.cache.layers:
            layer.keep(chosen)  # type: ignore[union-attr]
        self.hide()


class CopiedRows:
    """Rows that begin alike, each with its own copy of what `cache` [R] holds: for models that cannot share."""

    def __init__(self, module: Any, cache: DynamicCache) -> None:
        self.module, self.cache = module, cache

    def read(self, tokens: Sequence[int]) -> Tensor:
        """See Rows."""
        fed = torch.tensor(tokens, device=self.module.device)[:, None]
        logits: Tensor = self.module(input_ids=fed, past_key_values=self.cache, use_cache=True).logits
        return logits[:, -1]

    def keep(self, rows: Sequence[int]) -> None:
        """See Rows."""
        self.cache.batch_select_indices(torch.tensor(rows, device=self.module.device))


def shared_attention(given: Attended, key: Tensor, value: Tensor, hidden: Tensor) -> Tensor:
    """The output [R, 1, H, D] of R rows with one query each, query [R, H, 1, D].

    Each sees its own tokens, given.key and given.value [R, H_kv, T, D], and of those before them, key and value
    [H_kv, P or more, D], what `hidden` [R, P] bool leaves.
    """
    count, heads, _, size = given.query.shape
    groups, length = key.shape[0], hidden.shape[1]
    each = heads // groups
    scaled = given.query * (size**-0.5 if given.scaling is None else given.scaling)
    own = scaled.reshape(count, groups, each, size)
    ahead = own.transpose(0, 1).reshape(groups, -1, size)  # each key head's queries of all rows
    shared = (ahead @ key[:, :length].transpose(1, 2)).view(groups, count, each, length)
    shared.masked_fill_(hidden[:, None], float("-inf"))
    scores = torch.cat([shared, (own @ given.key.transpose(2, 3)).transpose(0, 1)], dim=-1)
    weights = scores.softmax(-1, dtype=torch.float32).to(value.dtype)  # [H_kv, R, H / H_kv, P + T]
    far = weights[..., :length].reshape(groups, count * each, length) @ value[:, :length]
    near = weights[..., length:].transpose(0, 1) @ given.value
    return (far.view(groups, count, each, -1).transpose(0, 1) + near).reshape(count, 1, heads, -1)


def one_width(layer: Any) -> bool:
    """Whether a layer's keys and values have one shape."""
    return bool(layer.keys.shape == layer.values.shape)


def can_share(module: Any, prefix: PrefixCache | None, starts: Sequence[Sequence[int]]) -> bool:
    """Whether rows can be written behind all but the last token of each of `starts`, as slices of `prefix`.

    Sliding windows and recurrent states forget, a model that takes no positions cannot be told where a row is, and
    the room for keys and values has one width (DeepSeek's latent attention has two).
    """
    if prefix is None or "position_ids" not in inspect.signature(module.forward).parameters:
        return False
    layers = prefix.cache.layers
    whole = all(type(layer) is DynamicLayer for layer in layers) and all(map(one_width, layers))
    return whole and installed(module) and all(tuple(start[:-1]) == prefix.ids[: len(start) - 1] for start in starts)
