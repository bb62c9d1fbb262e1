"""The hidden states after one layer, without keeping those of all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Any

from torch import Tensor, nn

from inference.core.language_model import LanguageModel


@contextmanager
def listening(model: LanguageModel, layer: int) -> Iterator[list[Tensor]]:
    """This thread's forward passes inside append the hidden states [B, T, H] after `layer`, counted from 1.

    They are those of `output_hidden_states`: after the last layer, with its norm.
    """
    heard: list[Tensor] = []
    thread = get_ident()

    def keep(_module: nn.Module, _given: Any, output: Any) -> None:
        if get_ident() == thread:
            heard.append(states(output))

    handle = source(model, layer).register_forward_hook(keep)
    try:
        yield heard
    finally:
        handle.remove()


def source(model: LanguageModel, layer: int) -> nn.Module:
    """The module whose output is meant. Raises ValueError where the model's layers stand in no list of their own."""
    base: nn.Module = model.module.base_model
    if layer == model.layers:
        return base
    for part in base.modules():
        if isinstance(part, nn.ModuleList) and len(part) == model.layers:
            return part[layer - 1]
    raise ValueError(f"{model.name} keeps its {model.layers} layers in no list; its hidden states cannot be read")


def states(output: Any) -> Tensor:
    """A layer returns the states or a tuple that begins with them, a whole model an object that holds them."""
    if isinstance(output, Tensor):
        return output
    found: Tensor = output[0]
    return found
