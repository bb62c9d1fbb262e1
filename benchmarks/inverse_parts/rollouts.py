"""Rollouts from many steps in one ragged batch beside the same rollouts made in plainer ways.

Greedy, and each row of the same length, so that every way has the same work: a call of Transformers' `generate` on
the full prompt for each, one batch for each start, and all in one batch. Each way runs once, in a process of its own,
so that its memory can be told; the texts have to be the same, token for token.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from inference.core import LanguageModel, Start, Trace, invert, roll
from inference.core.cache import PrefixCache
from inference.core.decode import Row as Written
from inference.core.decode import Sampling, decode
from inference.core.spans import step_spans, token_ids
from inverse_parts.chain import built_trace
from inverse_parts.memory import alone, growth
from inverse_parts.passes import loaded
from inverse_parts.table import Row

LEAST = 8.0
STARTS, ROWS = 4, 8

Texts = list[list[list[int]]]  # token ids of each row of each start
Way = Callable[[LanguageModel, PrefixCache, Sequence[Start]], Texts]


def never(new: object) -> bool:
    return False


def generate_calls(model: LanguageModel, prefix: PrefixCache, starts: Sequence[Start]) -> Texts:
    return [[whole_call(model, start) for _ in range(ROWS)] for start in starts]


def whole_call(model: LanguageModel, start: Start) -> list[int]:
    prompt, new = torch.tensor([start.ids], device=model.device), start.sampling.max_new_tokens
    asked = {"max_new_tokens": new, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    made = model.module.generate(prompt, attention_mask=torch.ones_like(prompt), **asked)
    found: list[int] = made[0, len(start.ids) :].tolist()
    return found


def batch_per_start(model: LanguageModel, prefix: PrefixCache, starts: Sequence[Start]) -> Texts:
    shared: dict[str, Any] = {"rows": ROWS, "finished": never, "prefix": prefix}
    return ids([decode(model.module, one.ids, sampling=one.sampling, **shared) for one in starts])


def one_batch(model: LanguageModel, prefix: PrefixCache, starts: Sequence[Start]) -> Texts:
    return ids(roll(model.module, starts, rows=ROWS, finished=never, prefix=prefix))


def ids(made: list[list[Written]]) -> Texts:
    return [[row.ids for row in group] for group in made]


WAYS: dict[str, Way] = {
    "generate calls on full prompts": generate_calls,
    "one batch for each start": batch_per_start,
    "all in one ragged batch": one_batch,
}


def spread(trace: Trace, sampling: Callable[[int], Sampling]) -> list[Start]:
    """Starts at steps spread over the trace, each written on as `sampling(tokens before it)` says."""
    spans, whole = step_spans(trace), token_ids(trace)
    places = [spans[(2 * at + 1) * len(spans) // (2 * STARTS)][0] for at in range(STARTS)]
    return [Start(whole[:place], sampling(place)) for place in places]


def measured(name: str, options: Any) -> tuple[float, float, Texts]:
    """Seconds, MiB that the peak grew by, and what was written."""
    model = loaded(options)
    trace = built_trace(model, options.steps)
    prefix, starts = invert(model, trace).prefix, spread(trace, lambda place: Sampling(options.new))
    whole_call(model, Start(starts[0].ids, Sampling(2)))  # warm up
    made: list[Texts] = []
    started = time.perf_counter()
    mebibytes = growth(lambda: made.append(WAYS[name](model, prefix, starts)))
    return time.perf_counter() - started, mebibytes, made[0]


def measure(model: object, options: Any) -> list[Row]:
    return rows({name: alone(measured, name, options) for name in WAYS})


def rows(found: dict[str, tuple[float, float, Texts]]) -> list[Row]:
    slowest, _, expected = next(iter(found.values()))
    made = []
    for name, (seconds, mebibytes, _) in found.items():
        least = LEAST if WAYS[name] is one_batch else None
        detail = f"{seconds:.2f} s to {slowest:.2f} s"
        made.append(Row(f"rollouts, {name}", slowest / seconds, "x", least=least, detail=detail))
        made.append(Row("  peak memory more", mebibytes, "MiB"))
    same = all(texts == expected for _, _, texts in found.values())
    return [*made, Row("  greedy continuations identical (1: yes)", float(same), "", least=1.0)]
