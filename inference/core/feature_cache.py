"""Feature vectors on disk, named by what they were computed from: a changed text or head config is another file."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import Tensor

from inference.core.features import Text, text_features
from inference.core.head import HeadConfig
from inference.core.language_model import LanguageModel
from inference.core.mixing import HeadFlow
from inference.core.reasoning import silent
from inference.core.records import Progress, Trace

CHUNK = 256  # texts read and then stored together: what an interruption can cost


class FeatureCache:
    """Holds fp16 tensors under `folder`/<config hash>/<content hash>.safetensors. Safe to share between processes."""

    def __init__(self, folder: Path, config: HeadConfig) -> None:
        self.config = config
        self.folder = folder / _digest(json.dumps(asdict(config), sort_keys=True))[:16]

    def explanation(self, trace: Trace, text: str) -> Path:
        """Where the features [F] of an explanation `text` of `trace` belong."""
        return self._path(trace.problem.question, trace.answer.text, text)

    def text(self, text: Text) -> Path:
        """Where the features [F] of `text` belong."""
        return self._path(text.question, text.answer, text.explanation)

    def steps(self, trace: Trace) -> Path:
        """Where the features [S, F] of the steps of `trace` belong."""
        return self._path(trace.prompt, trace.chain)

    def flow(self, trace: Trace) -> Path:
        """Where the attention of each head over `trace` belongs."""
        return self._path("flow of each head", trace.prompt, trace.chain)

    def features(self, model: LanguageModel | None, texts: Sequence[Text], tell: Progress = silent) -> Tensor:
        """Features [N, F] float32 of N texts; only those that are not cached yet are computed, and then stored.

        Without a model, raises LookupError where one would be needed. Raises ValueError for an empty explanation.
        """
        found = torch.zeros(len(texts), self.config.explanation_size)
        missing = [at for at, text in enumerate(texts) if not self._copied(text, found[at])]
        for start in range(0, len(missing), CHUNK):
            if model is None:
                raise LookupError(
                    f"{len(missing)} of {len(texts)} texts have no cached features, and no model is here"
                )
            tell(f"reading {len(missing)} new explanations", start / len(missing))
            chunk = missing[start : start + CHUNK]
            features = text_features(model, [texts[at] for at in chunk], self.config)
            for at, row in zip(chunk, features, strict=True):
                self.put(self.text(texts[at]), row)
                found[at] = row.to(torch.float16)  # as it will be read next time
        return found

    def _copied(self, text: Text, to: Tensor) -> bool:
        """Whether the features of `text` were cached; then they are now in `to` [F]."""
        known = self.get(self.text(text))
        if known is not None:
            to.copy_(known)
        return known is not None

    def get(self, path: Path) -> Tensor | None:
        """float32, or None when it was never computed."""
        try:
            return load(path.read_bytes())["features"].float()
        except FileNotFoundError:
            return None

    def put(self, path: Path, features: Tensor) -> None:
        self._write(path, {"features": features.detach().cpu().to(torch.float16).contiguous()})

    def get_flow(self, trace: Trace) -> HeadFlow | None:
        """None when it was not kept."""
        try:
            return HeadFlow.from_tensors(load(self.flow(trace).read_bytes()))
        except FileNotFoundError:
            return None

    def put_flow(self, trace: Trace, flow: HeadFlow) -> None:
        self._write(self.flow(trace), flow.to_tensors())

    def _write(self, path: Path, tensors: dict[str, Tensor]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}.partial")
        partial.write_bytes(save(tensors))
        partial.replace(path)

    def _path(self, *contents: str) -> Path:
        return self.folder / f"{_digest(chr(0).join(contents))}.safetensors"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
