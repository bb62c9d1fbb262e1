"""The inverse pass beside a plain forward pass, and beside keeping all attention maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers.cache_utils import DynamicCache

from inference.core import LanguageModel, invert, resolve
from inverse_parts.clock import in_turns
from inverse_parts.jars import trace_of
from inverse_parts.memory import peaks
from inverse_parts.table import Row

MOST_TIME, MOST_MEMORY = 1.15, 16.0
PLAIN, INVERT, KEPT = "plain forward", "invert", "output_attentions=True"


def loaded(options: Any) -> LanguageModel:
    source = resolve(options.model, options.var, print)
    return LanguageModel.load(source, dtype=options.dtype, device=options.device, threads=options.threads)


def plain(model: LanguageModel, ids: Sequence[int]) -> object:
    """The last hidden states and the cache, and nothing else: what every ratio is against."""
    return model.forward(ids, past_key_values=DynamicCache(config=model.module.config), use_cache=True)


def all_maps(model: LanguageModel, ids: Sequence[int]) -> object:
    """What Transformers offers: the attention of all layers and heads at once, which needs the eager attention."""
    before = model.module.config._attn_implementation
    model.module.set_attn_implementation("eager")
    try:
        return model.forward(
            ids, past_key_values=DynamicCache(config=model.module.config), use_cache=True, output_attentions=True
        )
    finally:
        model.module.set_attn_implementation(before)


def works(model: LanguageModel, length: int, options: Any) -> dict[str, Callable[[], object]]:
    trace = trace_of(model, length)
    ids = [*trace.prompt_ids, *(token.id for token in trace.tokens)]
    return {
        PLAIN: lambda: plain(model, ids),
        INVERT: lambda: invert(model, trace),
        KEPT: lambda: all_maps(model, ids),
    }


@torch.no_grad()
def measure(model: LanguageModel, options: Any) -> list[Row]:
    rows = []
    sizes = peaks((PLAIN, INVERT, KEPT), tuple(options.lengths), options) if options.memory else {}
    for length in options.lengths:
        timed = in_turns(options.runs, works(model, length, options))
        for name, time_goal, memory_goal in ((INVERT, MOST_TIME, MOST_MEMORY), (KEPT, None, None)):
            what = f"{name}, {length} tokens, to a plain forward"
            rows.append(Row(what, timed.ratio(name, PLAIN), "x", most=time_goal, detail=timed.both(name, PLAIN)))
            if sizes:
                extra = sizes[name, length] - sizes[PLAIN, length]
                detail = f"{sizes[name, length]:.0f} MiB to {sizes[PLAIN, length]:.0f} MiB"
                rows.append(Row(f"{what}: memory more", extra, "MiB", most=memory_goal, detail=detail))
    return rows
