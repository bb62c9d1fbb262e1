"""Linear layers whose weights lie in oneDNN's own blocked layout, on a CPU in float32.

The usual product lays a weight out anew at each call, which costs most where few rows meet it, as in a batch of
rollouts. Here it is done once, on loading ("weight prepacking"); results differ by rounding alone.
`benchmarks/inverse.py --parts prepacked` compares both.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

ROWS = 64  # a hint: for how many rows the layout should be best


def prepack(module: torch.nn.Module) -> None:
    """Replace linear layers in place, on other devices and of other types none; their weights are frozen for good.

    An output layer that shares its weight with the embeddings gets one of its own (in the default model a fifth more
    memory): every token that is written goes through it.
    """
    for name, layer in list(module.named_children()):
        if type(layer) is torch.nn.Linear and fits(layer.weight):
            setattr(module, name, PrepackedLinear(layer))  # which frees the old one, before the next is made
        else:
            prepack(layer)


def fits(weight: Tensor) -> bool:
    there: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    known = there and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    return known and weight.device.type == "cpu" and weight.dtype == torch.float32


class PrepackedLinear(torch.nn.Module):
    """What `layer` computes: [..., in] -> [..., out]. Gradients flow to its input alone; the weight is no parameter.

    It can be saved, but not loaded into, moved, pickled, tied again or used under autocast.
    """

    def __init__(self, layer: torch.nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), ROWS)
        self.bias = layer.bias

    def __deepcopy__(self, memo: dict[int, Any]) -> PrepackedLinear:
        """The packed weight never changes, and is shared."""
        made = memo[id(self)] = type(self).__new__(type(self))
        memo[id(self.packed)] = self.packed
        made.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return made

    @property
    def weight(self) -> Tensor:
        """A copy in the usual layout, [out, in]: for code that looks at a layer's weight."""
        return self.packed.to_dense()

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        """A model that is saved has the weights that it was loaded with."""
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[f"{prefix}weight"] = self.weight

    def forward(self, rows: Tensor) -> Tensor:
        if not rows.requires_grad:
            return in_part(rows, self.packed, self.bias)
        result: Tensor = Product.apply(rows, self.packed, self.bias)  # type: ignore[no-untyped-call]
        return result


def product(rows: Tensor, packed: Tensor, bias: Tensor | None) -> Tensor:
    result: Tensor = torch.ops.mkldnn._linear_pointwise(rows, packed, bias, "none", [], "")
    return result


_needed: ContextVar[tuple[int, Tensor] | None] = ContextVar("sage_needed", default=None)


@contextmanager
def trimmable() -> Iterator[None]:
    """`trim` holds until the end of this, and for other threads' passes not at all."""
    token = _needed.set(None)
    try:
        yield
    finally:
        _needed.reset(token)


def trim(total: int, needed: Tensor) -> None:
    """From here on anything comes only of the rows `needed` [N] of the `total` in a pass; others may be 0.

    So it is after the attention of the last layer, where rows no longer meet.
    """
    _needed.set((total, needed))


def in_part(rows: Tensor, packed: Tensor, bias: Tensor | None) -> Tensor:
    """The `product` of rows [1, T, in], or of those that are needed."""
    found = _needed.get()
    if found is None or rows.shape[:-1] != (1, found[0]):
        return product(rows, packed, bias)
    made = rows.new_zeros(1, found[0], packed.shape[0])
    made[:, found[1]] = product(rows[:, found[1]], packed, bias)
    return made


class Product(torch.autograd.Function):
    """`product` with a gradient for the rows."""

    @staticmethod
    def forward(context: Any, rows: Tensor, packed: Tensor, bias: Tensor | None) -> Tensor:
        context.packed = packed
        return product(rows, packed, bias)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient @ context.packed.to_dense(), None, None
