"""Reads many explanations in few forward passes.

A row is a context and the explanations that follow it: C C C a a b b b. Token positions start again after the context
for each explanation, and the attention mask lets each see the context and itself only, so that every explanation is
read as if it stood there alone. Rows of about the same length go through the model together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inference.core.language_model import LanguageModel
from inference.core.packed import full_attention
from inference.core.records import Progress

Ids = tuple[int, ...]

MOST_TOKENS = 1200  # in one pass, padding included: larger passes are no faster on a CPU
LONGEST_ROW = 600  # attention grows with the square of it


@dataclass(frozen=True)
class Heard:
    """What the model held at the W tokens of one explanation: hidden [L, W, H] at L layers, logprobs [W] (nats)."""

    hidden: Tensor
    logprobs: Tensor


@dataclass(frozen=True)
class Row:
    """A context, and the explanations behind it as (index of the caller, ids)."""

    context: Ids
    parts: tuple[tuple[int, Ids], ...]

    def __len__(self) -> int:
        return len(self.context) + sum(len(ids) for _, ids in self.parts)


def read(
    model: LanguageModel, contexts: Sequence[Ids], written: Sequence[Ids], layers: Sequence[int], tell: Progress
) -> Iterator[tuple[int, Heard]]:
    """What the model held at each of `written`, after the context of the same index; in any order, with its index.

    Layers count from 1. A model whose layers look back through a window, or are recurrent, makes its own mask, and
    reads one explanation at a time.
    """
    done, packs = 0, full_attention(model)
    for batch in batched(rows_of(contexts, written)) if packs else alone(contexts, written):
        tell("reading explanations", done / len(written))
        yield from read_batch(model, batch, layers, packs)
        done += sum(len(row.parts) for row in batch)


def alone(contexts: Sequence[Ids], written: Sequence[Ids]) -> Iterator[list[Row]]:
    """Each explanation behind its context, as the model would read it anyway."""
    for index, (context, ids) in enumerate(zip(contexts, written, strict=True)):
        yield [Row(context, ((index, ids),))]


def rows_of(contexts: Sequence[Ids], written: Sequence[Ids]) -> list[Row]:
    """Explanations that share a context share a row, while it stays short. The longest rows come first."""
    groups: dict[Ids, list[list[int]]] = {}
    for index, context in enumerate(contexts):
        rows = groups.setdefault(context, [[]])
        length = len(context) + sum(len(written[other]) for other in rows[-1])
        if rows[-1] and length + len(written[index]) > LONGEST_ROW:
            rows.append([])
        rows[-1].append(index)
    made = [
        Row(context, tuple((i, written[i]) for i in row)) for context, rows in groups.items() for row in rows if row
    ]
    return sorted(made, key=len, reverse=True)


def batched(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Rows, sorted by falling length, in batches of at most MOST_TOKENS with padding; a longer row goes alone."""
    batch: list[Row] = []
    for row in rows:
        if batch and (len(batch) + 1) * len(batch[0]) > MOST_TOKENS:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


@dataclass(frozen=True)
class Layout:
    """A row as tensors: ids and positions [T]; seen [T, T] bool, where each token may look; `before` [T], the place
    whose prediction each token is; `spans`, where each explanation lies."""

    ids: Tensor
    positions: Tensor
    seen: Tensor
    before: Tensor
    spans: tuple[tuple[int, int, int], ...]


def layout(row: Row) -> Layout:
    context = len(row.context)
    sizes = torch.tensor([len(ids) for _, ids in row.parts])
    ends = (context + sizes.cumsum(0)).tolist()
    starts = [context, *ends[:-1]]
    own = torch.cat([torch.zeros(context), torch.arange(1, len(sizes) + 1).repeat_interleave(sizes)])
    place = torch.arange(len(own))
    seen = ((own[:, None] == own[None]) | (own[None] == 0)) & (place[None] <= place[:, None])
    positions, before = place.clone(), place - 1
    for start, end in zip(starts, ends, strict=True):
        positions[start:end] = torch.arange(context, context + end - start)
        before[start] = context - 1
    ids = torch.tensor([*row.context, *(token for _, part in row.parts for token in part)])
    spans = tuple((index, start, end) for (index, _), start, end in zip(row.parts, starts, ends, strict=True))
    return Layout(ids, positions, seen, before, spans)


def read_batch(
    model: LanguageModel, rows: Sequence[Row], layers: Sequence[int], packed: bool = True
) -> Iterator[tuple[int, Heard]]:
    """Rows are padded on the right; a padding token sees itself alone, and no token sees it.

    Unless `packed`, `rows` is one row with one explanation, and the mask is the model's.
    """
    laid = [layout(row) for row in rows]
    width = max(len(one.ids) for one in laid)
    ids, positions = torch.zeros(2, len(rows), width, dtype=torch.long)
    seen = torch.eye(width, dtype=torch.bool).repeat(len(rows), 1, 1, 1)
    for at, one in enumerate(laid):
        size = len(one.ids)
        ids[at, :size], positions[at, :size], seen[at, 0, :size, :size] = one.ids, one.positions, one.seen
    least = min(len(row.context) for row in rows)  # tokens before it are in no explanation of the batch
    with torch.no_grad():
        output = model.module(
            input_ids=ids.to(model.device),
            attention_mask=seen.to(model.device) if packed else None,
            position_ids=positions.to(model.device) if packed else None,
            output_hidden_states=True,
            use_cache=False,
            logits_to_keep=width - least + 1,
        )
    for at, one in enumerate(laid):
        hidden = torch.stack([output.hidden_states[layer][at, : len(one.ids)] for layer in layers]).float().cpu()
        start = one.spans[0][1]
        before = one.before[start:] - (least - 1)
        logprobs = told(output.logits[at, before.to(model.device)], one.ids[start:])
        for index, begin, end in one.spans:
            yield index, Heard(hidden[:, begin:end], logprobs[begin - start : end - start])


def told(logits: Tensor, ids: Tensor) -> Tensor:
    """Log-probabilities (nats) of tokens `ids` [T] under `logits` [T, V]."""
    return -torch.nn.functional.cross_entropy(logits.float(), ids.to(logits.device), reduction="none").cpu()
