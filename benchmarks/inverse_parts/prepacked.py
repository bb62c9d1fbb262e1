"""A model with prepacked weights beside the same model with the usual linear layers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch

from inference.core import LanguageModel, Trace, invert, roll
from inference.core.decode import Sampling
from inference.core.prepacked import PrepackedLinear
from inference.core.spans import token_ids
from inverse_parts.chain import built_trace
from inverse_parts.clock import in_turns
from inverse_parts.passes import plain
from inverse_parts.rollouts import ROWS, STARTS, never, spread
from inverse_parts.table import Row


def measure(model: LanguageModel, options: Any) -> list[Row]:
    if not any(isinstance(layer, PrepackedLinear) for layer in model.module.modules()):
        raise SystemExit(
            "no layer of this model is prepacked: that is done on a CPU, in float32; leave out this part"
        )
    trace, before = built_trace(model, options.steps), usual(model)
    ours, theirs = works(model, trace, options), works(before, trace, options)
    rows = []
    for name, work in ours.items():
        timed = in_turns(options.runs, {"prepacked": work, "usual": theirs[name]})
        detail = timed.both("prepacked", "usual")
        rows.append(Row(f"prepacked, {name}, to usual layers", timed.ratio("prepacked", "usual"), "x", detail=detail))
    return rows


def works(model: LanguageModel, trace: Trace, options: Any) -> dict[str, Callable[[], object]]:
    prefix, starts = invert(model, trace).prefix, spread(trace, lambda place: Sampling(options.new))
    shared: dict[str, Any] = {"finished": never, "prefix": prefix}
    return {
        "a plain forward": lambda: plain(model, token_ids(trace)),
        "one row written": lambda: roll(model.module, starts[-1:], rows=1, **shared),
        f"{STARTS * ROWS} rows written": lambda: roll(model.module, starts, rows=ROWS, **shared),
    }


def usual(model: LanguageModel) -> LanguageModel:
    made = copy.copy(model)
    made.module = copy.deepcopy(model.module)
    for parent in list(made.module.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, PrepackedLinear):
                setattr(parent, name, unpacked(layer))
    return made


def unpacked(layer: PrepackedLinear) -> torch.nn.Linear:
    made = torch.nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
    made.weight, made.bias = torch.nn.Parameter(layer.weight, requires_grad=False), layer.bias
    return made
