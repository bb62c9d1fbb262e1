"""What a model or a device cannot do, said by name before or as soon as it shows, rather than by a wrong result."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from inference.core.attention import Attended, install, recording

PROBE = 4  # tokens read once, to see whether all layers are recorded


class LimitError(RuntimeError):
    """The work is beyond the model or the device; another seed does not help. Says what is, and what to do."""


class AttentionError(LimitError):
    """The model's attention cannot be recorded in every layer."""


class ContextError(LimitError):
    """More tokens than the model's context holds."""


class DeviceMemoryError(LimitError):
    """The device's memory is too small."""


class NumbersError(LimitError):
    """The model computed numbers that are not finite."""


def context_of(module: Any) -> int | None:
    """How many tokens the model was made for; None where its configuration names no limit."""
    found = getattr(module.config.get_text_config(), "max_position_embeddings", None)
    return found if isinstance(found, int) and found > 0 else None


def check_context(module: Any, read: int, new: int = 0, what: str = "question or chain") -> None:
    """Raises ContextError unless `read` tokens and `new` ones after them fit: nothing is cut off to make room."""
    most = context_of(module)
    if most is None or read + new <= most:
        return
    given = f"{read} tokens and up to {new} new ones" if new else f"{read} tokens"
    fewer = f", at most {most - read} new tokens" if read < most else ""
    raise ContextError(
        f"{given} are {read + new - most} more than the model's context of {most} tokens. "
        f"Use a shorter {what}{fewer}, or a model with a longer context."
    )


def check_entropies(entropies: Sequence[float]) -> None:
    """Entropies (nats) of next-token distributions: they are not finite where a logit is not a number."""
    if not all(map(math.isfinite, entropies)):
        raise NumbersError(f"The model's scores for the next token are not numbers. {REMEDY}")


def check_finite(*computed: Tensor) -> None:
    """The attention or the hidden states of a pass over a chain."""
    if not all(bool(tensor.isfinite().all()) for tensor in computed):
        raise NumbersError(f"The model's attention or hidden states are not all numbers. {REMEDY}")


def check_numbers(logprobs: Tensor) -> None:
    """Log-probabilities or their gradients: minus infinity is a token that can never come, NaN is nothing."""
    if bool(logprobs.isnan().any()):
        raise NumbersError(f"The model's scores for the answer are not numbers. {REMEDY}")


REMEDY = "Its weights may be damaged, or its numbers too large for their type: load it again, or in float32."


@contextmanager
def device_memory(doing: str) -> Iterator[None]:
    """Around what may not fit into the device's memory, or as a decorator of it."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DeviceMemoryError(
            f"The device's memory is too small for {doing}: {error} Free memory that other programs hold there, or "
            "use a smaller model, bfloat16, a shorter chain, or device cpu."
        ) from error


def install_recording(module: Any) -> None:
    """Give the model the recording attention (see attention.py), and see that every layer is recorded.

    Raises AttentionError where a layer has no attention, or one of its own that the recording one cannot stand for:
    its results would be another model's.
    """
    name, layers = type(module).__name__, module.config.get_text_config().num_hidden_layers
    if not getattr(module, "_supports_sdpa", False):
        raise AttentionError(f"{name} does not compute its attention as `sdpa` does. {OTHER}")
    install(module)
    recorded = count_recorded(module)
    if recorded != layers:
        raise AttentionError(f"{name} has {layers} layers, and the attention of {recorded} can be recorded. {OTHER}")


OTHER = (
    "Inverse reasoning has to read the attention of every layer. Use a model whose class in Transformers has "
    "AttentionInterface and sdpa, such as Llama, Mistral, Qwen, Phi or GPT-2."
)


class Counter:
    """A recorder that only counts the layers, of those kinds that can be recorded."""

    count = 0

    def listen(self, given: Attended, usual: Callable[[], Tensor]) -> Tensor:
        self.count += given.plain
        return usual()


@torch.no_grad()
def count_recorded(module: Any) -> int:
    """Layers that a pass over a few tokens records."""
    ids = torch.zeros(1, PROBE, dtype=torch.long, device=module.device)
    with recording(Counter()) as counter:
        module.get_decoder()(input_ids=ids, use_cache=False)
    return counter.count
