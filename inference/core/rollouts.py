"""Write rollouts from many places of one chain at once.

K starts × N rows behind slices of one prefix cache go as one ragged batch: a step of the model costs little more for
many rows than for one, as long as its weights have to come from memory anyway. As in `decode`, a row's text depends
only on its prefix, its seed and its number, up to rounding: which other rows were in the batch makes no difference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inference.core.cache import PrefixCache
from inference.core.decode import TICK, Guide, Row, Sampling, choose, first_logits
from inference.core.limits import DeviceMemoryError
from inference.core.ragged import CopiedRows, Rows, SharedRows, can_share

MAX_ROWS = 32
"""Of a batch, unless told otherwise. Each row keeps what it writes: 45 KiB a token in the default model."""

CHOOSING = 8  # rows whose distributions over the vocabulary are looked at together: a few MiB of working memory

Place = tuple[int, int]  # number of the start, and of the row from there
Tick = Callable[[float], None]
Done = Callable[[Place, Row], None]

Wanted = int | Sequence[Sequence[int]]
"""How many rows of each start, or the numbers of those that are wanted of each."""


class RolloutMemoryError(DeviceMemoryError):
    """Not even one rollout fits into the device's memory."""


@dataclass(frozen=True)
class Start:
    """Where rollouts begin: all tokens before them (at least one), and how to go on. Each start has its own seed.

    `opened` are those of the tokens before that `finished` and `guide` read, too: an open `<think>` tag.
    """

    ids: tuple[int, ...]
    sampling: Sampling
    opened: tuple[int, ...] = ()


@dataclass(frozen=True)
class Writing:
    """What all rollouts of one call share."""

    module: Any
    starts: Sequence[Start]
    finished: Callable[[Sequence[int]], bool]
    guide: Guide
    prefix: PrefixCache | None
    ragged: bool  # whether rows of several starts may share a batch


@torch.no_grad()
def roll(
    module: Any,
    starts: Sequence[Start],
    *,
    rows: Wanted,
    finished: Callable[[Sequence[int]], bool],
    guide: Guide = lambda ids: None,
    prefix: PrefixCache | None = None,
    max_rows: int = MAX_ROWS,
    tick: Tick = lambda share: None,
    done: Done = lambda place, row: None,
) -> list[list[Row]]:
    """`rows` continuations of each start, as `decode` writes them: until `finished(new ids)` or `max_new_tokens`.

    `done` gets each row as soon as its batch is written, after the numbers of its start and of the row.
    At most `max_rows` are written at a time. Where `prefix` does not hold all starts, or forgets (sliding windows),
    each start is a batch of its own. CUDA out of memory halves the batches. Raises RolloutMemoryError when not even
    one row fits, ValueError for settings that cannot be.
    """
    numbers = row_numbers(starts, rows)
    check(starts, numbers, max_rows)
    ragged = can_share(module, prefix, [start.ids for start in starts])
    writing = Writing(module, starts, finished, guide, prefix, ragged)
    places = [(start, row) for start, wanted in enumerate(numbers) for row in wanted]
    made = in_batches(places, lambda batch, told: write(writing, batch, told), max_rows, ragged, tick, done)
    return [[made[start, row] for row in wanted] for start, wanted in enumerate(numbers)]


def row_numbers(starts: Sequence[Start], rows: Wanted) -> Sequence[Sequence[int]]:
    """The rows wanted of each start. Raises ValueError where there are none, or not as many lists as starts."""
    if isinstance(rows, int):
        if rows < 1:
            raise ValueError(f"rows is {rows}; give at least 1")
        return [range(rows)] * len(starts)
    if len(rows) != len(starts):
        raise ValueError(f"rows has {len(rows)} lists for {len(starts)} starts; give the numbers of the rows of each")
    return rows


def check(starts: Sequence[Start], numbers: Sequence[Sequence[int]], max_rows: int) -> None:
    if max_rows < 1:
        raise ValueError(f"max_rows is {max_rows}; give at least 1")
    if any(len(set(wanted)) < len(wanted) or min(wanted, default=0) < 0 for wanted in numbers):
        raise ValueError("the rows of a start are different numbers from 0; some are below 0 or named twice")
    if not all(start.ids for start in starts):
        raise ValueError("each start needs a token before it; one of these has none")
    ways = {(start.sampling.temperature, start.sampling.top_p) for start in starts}
    if len(ways) > 1:
        raise ValueError(f"(temperature, top_p) are {sorted(ways)}; all starts of one call have the same")


def in_batches(
    places: Sequence[Place],
    write: Callable[[Sequence[Place], Tick], list[Row] | None],
    size: int,
    ragged: bool,
    tick: Tick,
    done: Done = lambda place, row: None,
) -> dict[Place, Row]:
    """Write all `places`, `size` at a time; where that does not fit into memory, half as many from there on."""
    made: dict[Place, Row] = {}
    while len(made) < len(places):
        left = places[len(made) :]
        batch = left[:size] if ragged else [place for place in left[:size] if place[0] == left[0][0]]
        before, share = len(made) / len(places), len(batch) / len(places)
        rows = write(batch, lambda part, before=before, share=share: tick(before + part * share))  # type: ignore[misc]
        if rows is not None:
            for place, row in zip(batch, rows, strict=True):
                made[place] = row
                done(place, row)
        elif len(batch) > 1:
            size = len(batch) // 2
        else:
            raise RolloutMemoryError(
                "Not even one rollout fits into the device's memory beside the model and the trace's keys and"
                " values. Use a smaller model, bfloat16, shorter chains, or a device with more memory."
            )
    return made


def write(writing: Writing, batch: Sequence[Place], tick: Tick) -> list[Row] | None:
    """The rows of one batch; None where the device's memory does not hold them, and nothing of them is kept."""
    try:
        return written(writing, batch, tick)
    except torch.OutOfMemoryError:
        pass  # the failed batch is freed only once this block is left
    torch.cuda.empty_cache()
    return None


def written(writing: Writing, batch: Sequence[Place], tick: Tick) -> list[Row]:
    made = [begun(writing.starts[start], row) for start, row in batch]
    samplings = [writing.starts[start].sampling for start, _ in batch]
    limits = [one.max_new_tokens for one in samplings]
    logits, rows = opened(writing, [start for start, _ in batch])
    going = list(range(len(made)))
    for length in range(1, max(limits) + 1):
        for at in range(0, len(going), CHOOSING):
            some = [made[row] for row in going[at : at + CHOOSING]]
            choose(logits[at : at + CHOOSING], some, samplings[0], writing.guide)
        stay = [at for at, row in enumerate(going) if length < limits[row] and not writing.finished(made[row].seen)]
        if not stay:
            break
        if length % TICK == 0:
            tick(length / max(limits))
        if len(stay) < len(going):
            rows.keep(stay)
            going = [going[at] for at in stay]
        logits = rows.read([made[row].ids[-1] for row in going])
    return made


def begun(start: Start, row: int) -> Row:
    return Row(np.random.default_rng([start.sampling.seed, row]), before=start.opened)


def opened(writing: Writing, starts: Sequence[int]) -> tuple[Tensor, Rows]:
    """Next-token logits [R, V] where the rows begin, which are of the starts of these numbers, and what they read."""
    texts = [writing.starts[start].ids for start in starts]
    if writing.ragged and writing.prefix:
        rows = SharedRows(writing.module, writing.prefix, [len(ids) - 1 for ids in texts])
        return rows.read([ids[-1] for ids in texts]), rows
    logits, cache = first_logits(writing.module, texts[0], writing.prefix)
    cache.batch_repeat_interleave(len(texts))
    return logits.expand(len(texts), -1), CopiedRows(writing.module, cache)
