"""What the head sees of an explanation: the base model's hidden states over its tokens, and two surface numbers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from inference.core.head import HeadConfig
from inference.core.inversion import default_layer
from inference.core.language_model import LanguageModel
from inference.core.records import Trace

BATCH = 8
PADDED = 1.25


def head_config(model: LanguageModel, layer: int | None = None) -> HeadConfig:
    """The configuration that a head for this model has to have."""
    layer = default_layer(model) if layer is None else layer
    return HeadConfig(model.name, model.revision, layer, model.hidden)


def explanation_features(
    model: LanguageModel, trace: Trace, texts: Sequence[str], layer: int | None = None
) -> Tensor:
    """Features [N, 2H + 2] float32 of N explanations of one trace, in the order that head.py gives.

    The model reads question, answer and explanation; only the explanation's own tokens are pooled. The same text
    gives the same features whatever else is in `texts`, up to rounding. Raises ValueError for an empty text.
    """
    empty = [index for index, text in enumerate(texts) if not text.strip()]
    if empty:
        raise ValueError(f"explanations {empty} are empty; give texts with at least one word")
    layer = default_layer(model) if layer is None else layer
    context = model.encode(f"{trace.problem.question}\nAnswer: {trace.answer.text}\nExplanation:")
    written = [model.encode(f" {text.strip()}") for text in texts]
    features = torch.zeros(len(texts), 2 * model.hidden + 2)
    for batch in batched(written):
        features[batch] = batch_features(model, context, [written[index] for index in batch], layer)
    return features


def batched(written: Sequence[tuple[int, ...]]) -> list[list[int]]:
    """Indices of texts to be read together: at most BATCH, and none much longer than the first, to pad little."""
    batches: list[list[int]] = []
    for index in sorted(range(len(written)), key=lambda index: len(written[index])):
        first = batches[-1][0] if batches else index
        if batches and len(batches[-1]) < BATCH and len(written[index]) <= PADDED * len(written[first]):
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


def batch_features(
    model: LanguageModel, context: tuple[int, ...], written: Sequence[tuple[int, ...]], layer: int
) -> Tensor:
    """Rows are padded on the right, where causal attention never looks back from."""
    width = max(map(len, written))
    ids = torch.tensor([[*context, *own, *[0] * (width - len(own))] for own in written])
    mask = torch.tensor([[1] * (len(context) + len(own)) + [0] * (width - len(own)) for own in written])
    with torch.no_grad():
        output = model.module(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            output_hidden_states=True,
            logits_to_keep=width + 1,
        )
    hidden = output.hidden_states[layer][:, len(context) :].float().cpu()
    logits = output.logits[:, :-1].float()
    chosen = logits.gather(2, ids[:, len(context) :, None].to(logits.device))[..., 0]
    logprobs = (chosen - logits.logsumexp(-1)).cpu()
    return torch.stack([pooled(hidden[row], logprobs[row], len(own)) for row, own in enumerate(written)])


def pooled(hidden: Tensor, logprobs: Tensor, count: int) -> Tensor:
    """hidden [W, H] and logprobs [W] at the explanation's tokens, of which `count` ≤ W are real -> [2H + 2]."""
    surface = torch.tensor([1.0 + count]).log(), logprobs[:count].mean()[None]
    return torch.cat([hidden[:count].mean(0), hidden[count - 1], *surface])
