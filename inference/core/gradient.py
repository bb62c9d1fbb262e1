"""Gradient × input of the answer's log-probability, summed over each step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from inference.core.cache import PrefixCache
from inference.core.language_model import LanguageModel
from inference.core.limits import check_numbers, device_memory
from inference.core.reading import told
from inference.core.records import Trace
from inference.core.spans import answer_span, step_spans, token_ids


@device_memory("the gradient of the answer")
def gradient_times_input(model: LanguageModel, trace: Trace, prefix: PrefixCache | None = None) -> Tensor:
    """What each step adds to the answer's log-probability, to first order: [S] float32, nats.

    Σ over the step's tokens t of x_t · ∂ log p(answer) / ∂x_t, with x_t their input embeddings (Denil et al. 2014;
    Shrikumar et al. 2016): the derivative by one factor on all of the step's embeddings. The answer's log-probability
    is the sum over the tokens of its value. One forward and one backward pass, the weights frozen; what stands before
    the first step is a constant, and not computed again where `prefix` holds it. Tokens that the answer does not see
    add nothing. Raises NumbersError where the model's scores are not numbers.
    """
    ids, answer, spans = token_ids(trace), answer_span(trace), step_spans(trace)
    cache = before(model, ids[: spans[0][0] + 1], prefix)
    known = cache.get_seq_length()
    module, read = model.module, torch.tensor([ids[known : answer.end - 1]], device=model.device)
    with torch.enable_grad():
        inputs = module.get_input_embeddings()(read).detach().requires_grad_()
        output = module(
            inputs_embeds=inputs,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=answer.end - answer.start,
        )
        total = told(output.logits[0], torch.tensor(ids[answer.start : answer.end])).sum()
        (gradient,) = torch.autograd.grad(total, inputs)
    tokens = (gradient * inputs.detach())[0].float().sum(-1).cpu()
    check_numbers(tokens)
    return torch.stack([tokens[max(start - known, 0) : max(end - known, 0)].sum() for start, end in spans])


def before(model: LanguageModel, ids: Sequence[int], prefix: PrefixCache | None) -> DynamicCache:
    """Keys and values of all but the last of `ids`, from `prefix` as far as it holds them."""
    cache = (prefix.branch(ids) if prefix else None) or DynamicCache(config=model.module.config)
    rest = ids[cache.get_seq_length() : -1]
    if rest:
        model.forward(rest, past_key_values=cache, use_cache=True)
    return cache
