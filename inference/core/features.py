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
    batches = [written[start : start + BATCH] for start in range(0, len(written), BATCH)]
    rows = [batch_features(model, context, batch, layer) for batch in batches]
    return torch.cat(rows) if rows else torch.zeros(0, 2 * model.hidden + 2)


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
    logprobs = output.logits[:, :-1].float().log_softmax(-1).cpu()
    return torch.stack([pooled(hidden[row], logprobs[row], own) for row, own in enumerate(written)])


def pooled(hidden: Tensor, logprobs: Tensor, own: tuple[int, ...]) -> Tensor:
    """hidden [W, H] and logprobs [W, V] at the explanation's tokens, W ≥ len(own) -> [2H + 2]."""
    count = len(own)
    chosen = logprobs[torch.arange(count), torch.tensor(own)]
    surface = torch.tensor([1.0 + count]).log(), chosen.mean()[None]
    return torch.cat([hidden[:count].mean(0), hidden[count - 1], *surface])
