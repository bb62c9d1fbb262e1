"""What the head sees of an explanation: the base model's hidden states over its tokens, and numbers that have names.

Explanation features, [F] with F = layers × 2H + S: for each of the config's layers the mean and the last hidden state
over the explanation's tokens, then the S surface numbers of `head.SURFACE`.

The model reads question, answer and explanation. Explanations of one answer are packed behind it into one row, in
which none sees another (reading.py), so that question and answer are read once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inference.core.head import HeadConfig
from inference.core.inversion import default_layer
from inference.core.language_model import LanguageModel
from inference.core.limits import check_context, check_finite, context_of, device_memory
from inference.core.reading import Heard, Ids, read
from inference.core.reasoning import silent
from inference.core.records import Progress, Trace

DEPTHS = (8 / 15, 3 / 5, 2 / 3)  # where in the depth the candidate layers lie; see docs/retraining.md


@dataclass(frozen=True)
class Text:
    """One explanation with what it is about. `id` is the caller's own name for it."""

    id: str
    question: str
    answer: str
    explanation: str


def head_config(model: LanguageModel) -> HeadConfig:
    """The configuration that a head for this model has to have."""
    layers = tuple(sorted({max(1, round(model.layers * depth)) for depth in DEPTHS}))
    return HeadConfig(
        model.name,
        model.revision,
        model.hidden,
        default_layer(model),
        layers,
        depth=model.layers,
        heads=model.heads,
        weights=model.weights,
    )


def explanation_features(
    model: LanguageModel, trace: Trace, texts: Sequence[str], config: HeadConfig | None = None
) -> Tensor:
    """Features [N, F] float32 of N explanations of one trace. See text_features."""
    return text_features(model, [about(trace, text, str(i)) for i, text in enumerate(texts)], config)


@device_memory("reading the explanations")
def text_features(
    model: LanguageModel, texts: Sequence[Text], config: HeadConfig | None = None, tell: Progress = silent
) -> Tensor:
    """Features [N, F] float32 of N texts, in their order.

    The same text gives the same features whatever else is in `texts`, up to rounding. Raises ValueError for an empty
    explanation, LimitError where one is too long for the model's context, the device is too small or a hidden state
    is no number.
    """
    empty = [text.id for text in texts if not text.explanation.strip()]
    if empty:
        raise ValueError(f"explanations {empty[:5]} are empty; give texts with at least one word")
    config = config or head_config(model)
    features = torch.zeros(len(texts), config.explanation_size)
    ids = [encoded(model, text) for text in texts]
    contexts, written = [before for before, _ in ids], [own for _, own in ids]
    for text, before, own in zip(texts, contexts, written, strict=True):
        check_context(model.module, len(before) + len(own), what=f"explanation {text.id}")
    for index, heard in read(model, contexts, written, config.layers, tell):
        features[index] = pooled(heard)
    check_finite(features)
    return features


def readable(model: LanguageModel, trace: Trace, explanation: str) -> bool:
    """Whether question, answer and explanation fit into the model's context."""
    before, own = encoded(model, about(trace, explanation))
    most = context_of(model.module)
    return most is None or len(before) + len(own) <= most


def about(trace: Trace, explanation: str, id: str = "") -> Text:
    return Text(id, trace.problem.question, trace.answer.text, explanation)


def encoded(model: LanguageModel, text: Text) -> tuple[Ids, Ids]:
    """What the model reads: question and answer, and the explanation behind them."""
    return model.encode(context(text)), model.encode(f" {text.explanation.strip()}")


def context(text: Text) -> str:
    """What the model reads before the explanation."""
    return f"{text.question.strip()}\nAnswer: {text.answer.strip()}\nExplanation:"


def pooled(heard: Heard) -> Tensor:
    """Hidden states [L, W, H] and log-probabilities [W] at the explanation's W tokens -> [F]."""
    blocks = torch.stack([heard.hidden.mean(1), heard.hidden[:, -1]], dim=1)
    length = torch.tensor(1.0 + len(heard.logprobs)).log()
    surface = torch.stack([length, length.square(), heard.logprobs.mean()])
    return torch.cat([blocks.flatten(), surface])
