"""Keys and values of what was read, shared between continuations."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

from transformers.cache_utils import DynamicCache, DynamicLayer


@dataclass(frozen=True)
class PrefixCache:
    """Keys and values of the tokens `ids`, to be branched from and never written to."""

    ids: tuple[int, ...]
    cache: DynamicCache

    def branch(self, ids: Sequence[int]) -> DynamicCache | None:
        """A copy that holds what `ids` shares with this prefix, without the last of `ids`, which must be fed.

        None where nothing can be shared, as with sliding-window layers, which forget.
        """
        shared = 0
        for mine, wanted in zip(self.ids, ids[:-1], strict=False):
            if mine != wanted:
                break
            shared += 1
        if not shared or any(type(layer) is not DynamicLayer for layer in self.cache.layers):
            return None
        branch = copy.deepcopy(self.cache)
        if shared < len(self.ids):
            branch.crop(shared - len(self.ids))  # negative: how many tokens to remove
        return branch
