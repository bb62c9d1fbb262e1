"""How a result was made: model, machine and versions, as a row or a line keeps them."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from inference.core.chat import DATE, DATED

if TYPE_CHECKING:
    from inference.core.language_model import LanguageModel


def provenance(model: LanguageModel) -> dict[str, Any]:
    return {
        "model": model.name,
        "revision": model.revision,
        "commit": model.commit,
        "weights": model.weights,
        "prompt": prompt(model),
        "device": model.device,
        "dtype": model.dtype_name,
        "torch": version("torch"),
        "transformers": version("transformers"),
        "python": platform.python_version(),
        "code": code_version(),
    }


def prompt(model: LanguageModel) -> str:
    if model.plain:
        return f"plain, as {model.plain}"
    return f"chat template, dated {DATE}" if model.template.startswith(DATED) else "chat template"


SAMPLE = 64  # numbers of each tensor


def weights_digest(module: torch.nn.Module) -> str:
    """12 hex digits that tell a model's weights from others of the same name, by a sample of each tensor.

    The same for the same weights in float32 and in bfloat16, on any device; in float16 they are other numbers.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        sample = tensor.flatten()[:: max(1, tensor.numel() // SAMPLE)].to("cpu", torch.bfloat16).contiguous()
        digest.update(f"{name} {list(tensor.shape)}".encode() + sample.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:12]


@cache
def code_version() -> str:
    """The project's version and a hash of the core's sources, so that any change of the engine shows."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    return f"{version('sage-web')}+core.{digest[:12]}"
