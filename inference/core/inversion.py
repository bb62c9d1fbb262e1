"""Invert: one teacher-forced pass over prompt and chain gives every cheap signal of every step."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from inference.core.answer import find_stated
from inference.core.attention import recording
from inference.core.cache import PrefixCache
from inference.core.flow import Tape, rollout, uniform_attention
from inference.core.hidden import listening
from inference.core.language_model import LanguageModel
from inference.core.limits import check_context, check_finite, device_memory
from inference.core.mixing import step_shares
from inference.core.records import StepSignals, Trace
from inference.core.steps import content_start

FORK_TOKENS = 4  # a step's first tokens, where it can still turn into another step


@dataclass(frozen=True)
class Segments:
    """How the T tokens of prompt and chain are cut: sink, prompt, steps.

    Segment i covers tokens [bounds[i], bounds[i + 1]). `step_of[i]` is the step that segment i is part of, -1 for the
    sink (the first token, where attention rests that goes nowhere) and the prompt. `answer` is the segment that holds
    only the token which predicts the answer's value.
    """

    bounds: tuple[int, ...]
    step_of: tuple[int, ...]
    answer: int


@dataclass(frozen=True)
class Inversion:
    """What the pass gives. flow [L, S', S'] over `segments`; step_states [S, 2H] float32: mean and last hidden state.

    heads [L, H, S', S'] is the flow of each attention head, where it was asked for.
    """

    signals: tuple[StepSignals, ...]
    step_states: Tensor
    flow: Tensor
    segments: Segments
    layer: int
    prefix: PrefixCache
    heads: Tensor | None = None


def default_layer(model: LanguageModel) -> int:
    """Two thirds of the depth, where hidden states told preferences best on this kind of model."""
    return max(1, round(model.layers * 2 / 3))


@device_memory("the pass over prompt and chain")
def invert(
    model: LanguageModel,
    trace: Trace,
    layer: int | None = None,
    prefix: PrefixCache | None = None,
    *,
    each_head: bool = False,
) -> Inversion:
    """Signals and hidden states of each step of `trace`, from one forward pass.

    `layer` counts decoder layers from 1; by default two thirds of the depth. What `prefix` shares with the prompt is
    not computed again; `each_head` keeps the flow of the heads apart. Raises ValueError for a layer outside 1..L and
    for a trace without steps or tokens (one of method `api` has no tokens) or with tokens that the model does not
    have, LimitError where the chain is too long, the device too small or what the model computes not finite.
    """
    layer = default_layer(model) if layer is None else layer
    if not 1 <= layer <= model.layers:
        raise ValueError(f"layer is {layer}; {model.name} has layers 1 to {model.layers}")
    if not trace.steps or not trace.tokens:
        counts = f"{len(trace.steps)} steps and {len(trace.tokens)} tokens"
        raise ValueError(f"the trace has {counts}; give one that a local model wrote")
    ids = (*trace.prompt_ids, *(token.id for token in trace.tokens))
    check_context(model.module, len(ids))
    check_vocabulary(model, ids)
    segments = segmented(trace)
    cache = (prefix.branch(trace.prompt_ids) if prefix else None) or DynamicCache(config=model.module.config)
    known = cache.get_seq_length()
    with recording(Tape(segments.bounds, 2, each_head)) as tape, listening(model, layer) as heard:
        model.forward(ids[known:], past_key_values=cache, use_cache=True)
    flow = tape.flow()
    check_finite(flow, heard[0])
    signals = step_signals(trace, inverse_flow(flow, segments, len(trace.steps)))
    states = pooled_steps(heard[0][0, len(trace.prompt_ids) - known :], trace)
    heads = tape.heads() if each_head else None
    return Inversion(signals, states, flow, segments, layer, PrefixCache(ids, cache), heads)


def check_vocabulary(model: LanguageModel, ids: Sequence[int]) -> None:
    """Of a trace that another model wrote, this is what can be told for sure."""
    size = model.module.get_input_embeddings().num_embeddings
    if max(ids) >= size:
        raise ValueError(f"the trace has token {max(ids)}, but {model.name} has {size}: another model wrote it")


def segmented(trace: Trace, at: int | None = None) -> Segments:
    """White space after a step goes with it, and white space before the first step with the prompt.

    Token `at` stands alone, by default the one that predicts the answer's value.
    """
    prompt, end = len(trace.prompt_ids), len(trace.prompt_ids) + len(trace.tokens)
    starts = [prompt + step.token_start for step in trace.steps]
    at = answer_position(trace) if at is None else at
    bounds = sorted({0, 1, *starts, at, at + 1, end})
    step_of = tuple(bisect.bisect_right(starts, bound) - 1 for bound in bounds[:-1])
    return Segments(tuple(bounds), step_of, bounds.index(at))


def answer_position(trace: Trace) -> int:
    """Index in prompt + chain of the token that predicts the first token of the answer's value.

    Where the chain states no value in so many words, the token before the last one.
    """
    stated = find_stated(trace.chain)
    before, end = 0, 0
    for index, token in enumerate(trace.tokens):
        end += len(token.text)
        if stated is not None and end > stated.start:
            before = index
            break
    else:
        before = len(trace.tokens) - 1
    return len(trace.prompt_ids) + before - 1


def inverse_flow(flow: Tensor, segments: Segments, steps: int) -> list[float]:
    """Share of the answer's attention, followed back, that lands on each step; sums to 1.

    Sink and prompt are masked and the rest is renormalised. Where nothing reaches a step, all steps share alike.
    """
    shares: list[float] = step_shares(rollout(flow, segments.answer), segments.step_of, steps).tolist()
    return shares


def position_only_flow(segments: Segments, layers: int, steps: int) -> list[float]:
    """The inverse flow of a model that attends alike to all it can see: the baseline of `inverse_flow`, sums to 1.

    Causal models pile mass on early tokens whatever they say; only what differs from this can be about the content.
    """
    attention = uniform_attention(segments.bounds, first=2)
    return inverse_flow(attention.expand(layers, -1, -1), segments, steps)


def step_signals(trace: Trace, flow: list[float]) -> tuple[StepSignals, ...]:
    entropies = [token.entropy for token in trace.tokens]
    last = max(1, len(trace.steps) - 1)
    signals = []
    for step in trace.steps:
        own = entropies[step.token_start : step.token_end]
        signals.append(
            StepSignals(
                inverse_flow=flow[step.index],
                fork_entropy=max(own[fork_start(trace, step.index) - step.token_start :][:FORK_TOKENS]),
                mean_entropy=sum(own) / len(own),
                position=step.index / last,
                length=len(own),
            )
        )
    return tuple(signals)


def fork_start(trace: Trace, index: int) -> int:
    """The first token of the step's own words: its label ("Step 2:") leaves no choice."""
    step = trace.steps[index]
    words_at = step.char_start + content_start(step.text)
    end = 0
    for position, token in enumerate(trace.tokens):
        end += len(token.text)
        if end > words_at and position >= step.token_start:
            return min(position, step.token_end - 1)
    return step.token_end - 1


def pooled_steps(hidden: Tensor, trace: Trace) -> Tensor:
    """Mean and last hidden state over each step's tokens: [S, 2H] float32. hidden [tokens of the chain, H]."""
    spans = [hidden[step.token_start : step.token_end].float() for step in trace.steps]
    return torch.stack([torch.cat([span.mean(0), span[-1]]) for span in spans]).cpu()
