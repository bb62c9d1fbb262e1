"""Ask the model afterwards, in the same chat, why it gave its answer. A baseline: nothing of it is checked."""

from __future__ import annotations

import re

from inference.core.decode import Sampling
from inference.core.language_model import LanguageModel
from inference.core.limits import device_memory
from inference.core.reasoning import messages, silent, user, worked_examples
from inference.core.records import Progress, ReasoningError, Trace

LONGEST = 80  # tokens
REQUEST = "Why did you choose “{answer}”? Explain it in two or three sentences."


@device_memory("the model's own explanation")
def self_explain(model: LanguageModel, trace: Trace, progress: Progress = silent) -> str:
    """What the model says when it is asked to explain its answer, greedily decoded, at most 80 tokens.

    Raises ReasoningError when it says nothing, LimitError as `reason` does.
    """
    stage = "Asking the model to explain itself"
    progress(stage, 0.0)
    turns = [
        *messages(trace.problem),
        {"role": "assistant", "content": trace.chain.strip()},
        user(REQUEST.format(answer=trace.answer.text)),
    ]
    _, ids = model.encode_chat(turns)
    (tokens,) = model.generate(
        ids,
        Sampling(LONGEST),
        prefix=worked_examples(model, trace.problem.asks),
        tick=lambda share: progress(stage, share),
    )
    text = "".join(token.text for token in tokens).strip()
    if not text:
        raise ReasoningError("Asked to explain itself, the model wrote nothing.")
    progress(stage, 1.0)
    return whole_sentences(text)


def whole_sentences(text: str) -> str:
    """Without a last sentence that the token limit cut off; a text of no whole sentence stays as it is."""
    ends = list(re.finditer(r"[.!?][\"”’')]*(?=\s|$)", text))
    return text[: ends[-1].end()] if ends else text
