"""Gradient × input of the answer's log-probability, summed over each step."""

from __future__ import annotations

import torch
from torch import Tensor

from inference.core.cache import PrefixCache
from inference.core.language_model import LanguageModel
from inference.core.reading import told
from inference.core.records import Trace
from inference.core.spans import answer_span, step_spans, token_ids


def gradient_times_input(model: LanguageModel, trace: Trace, prefix: PrefixCache | None = None) -> Tensor:
    """What each step adds to the answer's log-probability, to first order: [S] float32, nats.

    Σ over the step's tokens t of x_t · ∂ log p(answer) / ∂x_t, with x_t their input embeddings (Denil et al. 2014;
    Shrikumar et al. 2016): the derivative by one factor on all of the step's embeddings. The answer's log-probability
    is the sum over the tokens of its value. One forward and one backward pass, the weights frozen; what `prefix`
    shares with what stands before the first step is a constant and not computed again. Tokens that the answer does
    not see add nothing.
    """
    ids, answer, spans = token_ids(trace), answer_span(trace), step_spans(trace)
    cache = prefix.branch(ids[: spans[0][0] + 1]) if prefix else None
    known = cache.get_seq_length() if cache is not None else 0
    module, read = model.module, torch.tensor([ids[known : answer.end - 1]], device=model.device)
    with torch.enable_grad():
        inputs = module.get_input_embeddings()(read).detach().requires_grad_()
        output = module(
            inputs_embeds=inputs,
            past_key_values=cache,
            use_cache=cache is not None,
            logits_to_keep=answer.end - answer.start,
        )
        total = told(output.logits[0], torch.tensor(ids[answer.start : answer.end])).sum()
        (gradient,) = torch.autograd.grad(total, inputs)
    tokens = (gradient * inputs.detach())[0].float().sum(-1).cpu()
    return torch.stack([tokens[max(start - known, 0) : max(end - known, 0)].sum() for start, end in spans])
