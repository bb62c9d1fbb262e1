"""The same values in the plainest way, one forward pass each: to compare with, in time and in value."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from inference.core import LanguageModel, Trace
from inference.core.spans import answer_span, step_spans, token_ids
from inference.core.trajectory import cuts, option_ids


def trajectory(model: LanguageModel, trace: Trace) -> Tensor:
    """Scores [S + 1, P] of every option after every cut."""
    ids, options = token_ids(trace), option_ids(model, trace.problem.options)
    rows = [[score(model, (*ids[:cut], *cue), option) for option in options] for cut, cue in cuts(model, trace)]
    return torch.tensor(rows)


def leave_one_out(model: LanguageModel, trace: Trace) -> Tensor:
    """How much less likely the answer is without each step before the one that states it: [S - 1], nats."""
    ids, answer = token_ids(trace), answer_span(trace)
    before, value = ids[: answer.start], ids[answer.start : answer.end]
    whole = score(model, before, value)
    spans = step_spans(trace)[:-1]
    return torch.tensor([whole - score(model, (*before[:start], *before[end:]), value) for start, end in spans])


@torch.no_grad()
def score(model: LanguageModel, before: Sequence[int], then: Sequence[int]) -> float:
    """Log-probability (nats) of the tokens `then` after `before`."""
    read = torch.tensor([[*before, *then[:-1]]], device=model.device)
    logits = model.module(input_ids=read, use_cache=False, logits_to_keep=len(then)).logits[0].float().log_softmax(-1)
    return float(logits[range(len(then)), list(then)].sum())
