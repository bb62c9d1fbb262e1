"""How a result was made: model, machine and versions, as a row or a line keeps them."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inference.core.language_model import LanguageModel


def provenance(model: LanguageModel) -> dict[str, Any]:
    return {
        "model": model.name,
        "revision": model.revision,
        "commit": model.commit,
        "prompt": f"plain, as {model.plain}" if model.plain else "chat template",
        "device": model.device,
        "dtype": model.dtype_name,
        "torch": version("torch"),
        "transformers": version("transformers"),
        "python": platform.python_version(),
        "code": code_version(),
    }


@cache
def code_version() -> str:
    """The project's version and a hash of the core's sources, so that any change of the engine shows."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    return f"{version('sage-web')}+core.{digest[:12]}"
