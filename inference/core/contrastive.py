"""Contrastive flow: where the model looked to write this answer rather than a named rival.

Relevance after Chefer et al. 2021, of the difference of two logits after Yin & Neubig 2022. The gradient with respect
to a layer's attention is that of its output times the values, ∂/∂A = (∂/∂O)·Vᵀ, so that it can be made and reduced to
segments a few rows at a time, while the backward pass goes by: no [T, T] map is ever kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from inference.core.attention import Attended, recording
from inference.core.flow import Limits, blocks, by_segment, membership
from inference.core.inversion import segmented
from inference.core.language_model import LanguageModel
from inference.core.limits import check_finite, device_memory
from inference.core.records import Trace
from inference.core.spans import answer_span, token_ids


@dataclass
class ContrastTape:
    """Collects E_l = mean over heads of [∂/∂A ⊙ A]₊ by segment, [S', S'] for each layer, first layer first.

    Segments as on a `Tape`; rows before segment `first` are 0.
    """

    bounds: tuple[int, ...]
    first: int
    layers: list[Tensor] = field(default_factory=list)
    limits: Limits = field(default_factory=Limits)

    def listen(self, given: Attended, usual: Callable[[], Tensor]) -> Tensor:
        """Wait for the gradient of the output [1, T, H, D]; the backward pass meets the last layer first."""
        output = usual()
        output.register_hook(lambda grad: self.layers.insert(0, self.relevance(given, grad[0].transpose(0, 1))))  # type: ignore[no-untyped-call]
        return output

    @torch.no_grad()
    def relevance(self, given: Attended, grad: Tensor) -> Tensor:
        """grad [H, T, D] of the attention's output."""
        member, start = membership(self.bounds, given.key), self.bounds[self.first]
        rows, value = [], given.value[0]
        for at, attention in blocks(given, start, self.limits):
            heads, count, end = attention.shape
            grouped = grad[:, at : at + count].reshape(value.shape[0], -1, grad.shape[-1])
            pull = (grouped @ value[:, :end].transpose(1, 2)).float().view(heads, count, end)
            rows.append((attention * pull).clamp(min=0).mean(0) @ member[:end])
        means = by_segment(rows, member, start)
        means[: self.first] = 0
        return means.cpu()


@device_memory("the gradient of the contrast")
def contrastive_flow(model: LanguageModel, trace: Trace, rival: str) -> Tensor:
    """Share of each step in "why the answer and not `rival`": [S] float32 ≥ 0, sums to 1 unless nothing pulls.

    The two are compared at the first token where they differ. Sink and prompt are left out and the rest is
    renormalised. Raises ValueError for a blank rival, and where one of the two begins the other: no token tells them
    apart.
    """
    if not rival.strip():
        raise ValueError(f"rival is {rival!r}; name another answer that the model could have given")
    ids, answer = token_ids(trace), answer_span(trace)
    own, other = ids[answer.start : answer.end], following(model, trace, rival)
    ahead = next((at for at, (one, two) in enumerate(zip(own, other, strict=False)) if one != two), None)
    if ahead is None:
        raise ValueError(f"{rival!r} cannot be told from the answer {trace.answer.text!r} by any token; name another")
    at = answer.start + ahead - 1
    segments = segmented(trace, at)
    layers = contrast(model.module, ids[: at + 1], (own[ahead], other[ahead]), segments.bounds, model.device)
    check_finite(layers)
    mass = accumulated(layers, segments.answer)
    shares = torch.zeros(len(trace.steps))
    for segment, step in enumerate(segments.step_of[: segments.answer]):  # what follows was not read
        if step >= 0:
            shares[step] += mass[segment]
    return shares / shares.sum() if shares.sum() > 0 else shares


def following(model: LanguageModel, trace: Trace, text: str) -> Sequence[int]:
    """The tokens of `text` where the chain states its answer: with the white space that the chain's value has."""
    span = answer_span(trace)
    stated = trace.tokens[span.start - len(trace.prompt_ids)].text
    return model.encode(stated[: len(stated) - len(stated.lstrip())] + text)


def contrast(
    module: nn.Module, ids: Sequence[int], tokens: tuple[int, int], bounds: Sequence[int], device: str = "cpu"
) -> Tensor:
    """E [L, S', S'] float32 for the logit of tokens[0] minus that of tokens[1] after all `ids`.

    One forward and one backward pass; the weights get no gradient. bounds may reach beyond the ids.
    """
    edges = (*[bound for bound in bounds if bound < len(ids)], len(ids))
    given = module.get_input_embeddings()(torch.tensor([ids], device=device)).detach().requires_grad_()  # type: ignore[operator]
    with torch.enable_grad(), recording(ContrastTape(edges, first=2)) as tape:
        logits = module(inputs_embeds=given, use_cache=False, logits_to_keep=1).logits[0, 0].float()
        torch.autograd.grad(logits[tokens[0]] - logits[tokens[1]], given)
    return torch.stack(tape.layers)


def accumulated(layers: Tensor, start: int) -> Tensor:
    """Relevance [S'] of each segment for `start` under Ā_l = I + E_l, followed back through E [L, S', S']."""
    mass = torch.nn.functional.one_hot(torch.tensor(start), layers.shape[-1]).float()
    for layer in layers.flip(0):
        mass = mass + layer.T @ mass
    return mass
