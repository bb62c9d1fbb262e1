"""Suppression: how much less likely the answer is when a step is hidden from it.

After Thought Anchors (Bogdan et al. 2025), who hide a step from everything after it. Both ways change what the model
sees, not what it wrote: neither says what it would have written without the step.
"""

from __future__ import annotations

import torch
from torch import Tensor

from inference.core.cache import PrefixCache
from inference.core.language_model import LanguageModel
from inference.core.limits import device_memory
from inference.core.packed import CELLS, Probe, logprobs
from inference.core.records import Trace
from inference.core.spans import answer_span, step_spans, token_ids


@device_memory("hiding the steps from the answer")
def direct_suppression(
    model: LanguageModel, trace: Trace, prefix: PrefixCache | None = None, cells: int = CELLS
) -> Tensor:
    """How much the answer loses when it may not look at a step: [S] float32, nats; negative where it gains.

    The answer is the tokens from its cue ("Answer:") to the end of its value, its log-probability the sum over the
    value. Only these are blind to the step, so that what later steps took from it still reaches the answer. All steps
    go through the model in one packed pass, over the answer's tokens alone where `prefix` holds the rest. A step that
    begins at the cue or after it has 0.
    """
    ids, answer = token_ids(trace), answer_span(trace)
    given, value = ids[answer.cue : answer.start], ids[answer.start : answer.end]
    probes = [Probe(answer.cue, given, value, blind) for blind in hidden(trace, answer.cue)]
    return losses(logprobs(model, ids, probes, prefix, cells))


@device_memory("hiding the steps from what follows")
def full_suppression(model: LanguageModel, trace: Trace, prefix: PrefixCache | None = None) -> Tensor:
    """How much the answer loses when nothing after a step may look at it: [S] float32, nats.

    All ways from the step to the answer are cut, also those through later steps. Every step needs the chain behind it
    read anew: half as many tokens as one forward pass for each step, from `prefix` where it holds the trace.
    """
    ids, answer = token_ids(trace), answer_span(trace)
    value, blind = ids[answer.start : answer.end], hidden(trace, answer.cue)
    probes = [Probe(end, ids[end : answer.start], value, (start, end)) for start, end in blind]
    return losses(logprobs(model, ids, probes, prefix, cells=len(ids) ** 2))


def hidden(trace: Trace, cue: int) -> list[tuple[int, int]]:
    """What is hidden: nothing first, then of each step its tokens before the answer's cue, [cue, cue) for none."""
    return [(cue, cue), *((min(start, cue), min(end, cue)) for start, end in step_spans(trace))]


def losses(found: list[Tensor]) -> Tensor:
    """How far each sum of log-probabilities lies below the first of them."""
    totals = torch.stack([one.sum() for one in found])
    return totals[0] - totals[1:]
