"""Feature vectors on disk, named by what they were computed from: a changed text or head config is another file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from inference.core.head import HeadConfig
from inference.core.records import Trace


class FeatureCache:
    """Holds fp16 tensors under `folder`/<config hash>/<content hash>.safetensors. Safe to share between processes."""

    def __init__(self, folder: Path, config: HeadConfig) -> None:
        self.folder = folder / _digest(json.dumps(asdict(config), sort_keys=True))[:16]

    def explanation(self, trace: Trace, text: str) -> Path:
        """Where the features [2H + 2] of an explanation `text` of `trace` belong."""
        return self._path(trace.problem.question, trace.answer.text, text)

    def steps(self, trace: Trace) -> Path:
        """Where the features [S, H + 5] of the steps of `trace` belong."""
        return self._path(trace.prompt, trace.chain)

    def get(self, path: Path) -> Tensor | None:
        """float32, or None when it was never computed."""
        return load_file(path)["features"].float() if path.exists() else None

    def put(self, path: Path, features: Tensor) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{id(features)}.partial")
        save_file({"features": features.detach().cpu().to(torch.float16).contiguous()}, partial)
        partial.replace(path)

    def _path(self, *contents: str) -> Path:
        return self.folder / f"{_digest(chr(0).join(contents))}.safetensors"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
