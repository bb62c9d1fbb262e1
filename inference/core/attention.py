"""The attention that models get on loading: that of `sdpa`, or inside `recording` what the recorder makes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

NAME = "sage_segments"


@dataclass(frozen=True)
class Attended:
    """What one layer's attention was given: query [B, H, R, D] are the last R of the T tokens, key and value
    [B, H_kv, T, D] all of them, mask [B, 1, R, T] (bool: where each may look) or None for a plain causal one.

    `layer` counts from 0. `plain`: whether nothing but these makes up the attention; layers of another kind are not
    recorded, and a model that has some is refused on loading (limits.py).
    """

    layer: int
    query: Tensor
    key: Tensor
    value: Tensor
    mask: Tensor | None
    scaling: float | None
    plain: bool = True


class Recorder(Protocol):
    """What may listen to the attention of a pass. It gives the layer's output [B, R, H, D], as `usual()` does."""

    def listen(self, given: Attended, usual: Callable[[], Tensor]) -> Tensor: ...


R = TypeVar("R", bound=Recorder)

_recorder: ContextVar[Recorder | None] = ContextVar("sage_recorder", default=None)


@contextmanager
def recording(recorder: R) -> Iterator[R]:
    """Forward passes inside go by `recorder`; other threads' passes do not."""
    token = _recorder.set(recorder)
    try:
        yield recorder
    finally:
        _recorder.reset(token)


def install(module: Any) -> None:
    """Give the model the recording attention, for good: it is `sdpa` wherever nothing is recorded.

    The mask has to be registered as well, else Transformers passes none and causality is lost without a word.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, segment_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    module.set_attn_implementation(NAME)


def installed(module: Any) -> bool:
    return bool(module.config.get_text_config()._attn_implementation == NAME)


def segment_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """query [B, H, R, D], key and value [B, H_kv, T, D]; the attention of `sdpa`, or as the recorder has it."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    def usual() -> Tensor:
        result: Tensor = sdpa_attention_forward(module, query, key, value, attention_mask, **options)[0]
        return result

    recorder = _recorder.get()
    if recorder is None:
        return usual(), None
    layer, scaling = getattr(module, "layer_idx", -1), options.get("scaling")
    kind = plain(module, query, attention_mask, options)
    return recorder.listen(Attended(layer, query, key, value, attention_mask, scaling, kind), usual), None


def plain(module: Any, query: Tensor, mask: Tensor | None, options: dict[str, Any]) -> bool:
    """Whether scores, their scale and a mask of yes and no, by default the causal one, make up the attention."""
    causal = options.get("is_causal")
    causal = getattr(module, "is_causal", True) if causal is None else causal
    ordered = causal if mask is None else mask.dtype == torch.bool
    more = (options.get(name) for name in ("position_bias", "cache"))
    return (ordered or query.shape[2] == 1) and not options.get("dropout") and all(one is None for one in more)
