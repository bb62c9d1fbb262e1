"""The metacognitive head: scores explanations by expected preference, and steps by expected effect.

A linear Bradley-Terry reward on frozen features (Bradley & Terry 1952; reward modelling as in Christiano et al.
2017), and a linear step scorer. H is the hidden size of the base model.

Explanation features, [2H + 2]: mean and last hidden state over the explanation's tokens at `layer`, log(1 + tokens),
mean log-probability per token (nats). Step features, [H + 5]: mean hidden state over the step's tokens at `layer`,
then the five `StepSignals` in their order.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

FEATURE_SPEC = "mean+last/1"


class HeadMismatchError(Exception):
    """The head was fitted on other features than the ones at hand. Says which."""


@dataclass(frozen=True)
class HeadConfig:
    """What a head's numbers mean: valid only together with exactly this base model and feature spec."""

    model: str
    revision: str
    layer: int
    hidden: int
    feature_spec: str = FEATURE_SPEC

    @property
    def explanation_size(self) -> int:
        return 2 * self.hidden + 2

    @property
    def step_size(self) -> int:
        return self.hidden + 5


class Scorer(nn.Module):
    """score(x) = weight · (x - mean) / scale, without a bias: only differences of scores mean anything."""

    mean: Tensor
    scale: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))
        self.weight = nn.Parameter(torch.zeros(size))

    def forward(self, features: Tensor) -> Tensor:
        """features [N, size] float32 -> scores [N]."""
        return ((features - self.mean) / self.scale) @ self.weight


class Head(nn.Module):
    def __init__(self, config: HeadConfig, number: int = 0) -> None:
        super().__init__()
        self.config = config
        self.number = number
        self.preference = Scorer(config.explanation_size)
        self.step = Scorer(config.step_size)

    @property
    def trained(self) -> bool:
        """Version 0 has all weights at zero: every score is 0 and nothing can be ranked by it."""
        return self.number > 0

    @property
    def ranks_steps(self) -> bool:
        """Whether it learned from tested steps; without any, its step scores are all 0."""
        return bool(self.step.weight.any())

    @property
    def name(self) -> str:
        return f"head v{self.number}"

    def save(self, folder: Path) -> str:
        """Write the head into `folder` under its content hash, atomically; return the SHA-256."""
        metadata = {"config": json.dumps(asdict(self.config), sort_keys=True)}
        data = save(dict(self.state_dict()), metadata)
        digest = hashlib.sha256(data).hexdigest()
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f"{digest}.partial"
        partial.write_bytes(data)
        partial.replace(folder / f"{digest}.safetensors")
        return digest

    @classmethod
    def load(cls, folder: Path, sha256: str, number: int, expected: HeadConfig) -> Head:
        """Load by content hash.

        Raises HeadMismatchError when the file is missing, was changed, or was fitted on another base model,
        revision, layer or feature spec than `expected`.
        """
        path = folder / f"{sha256}.safetensors"
        if not path.exists():
            raise HeadMismatchError(f"head v{number} has no file {path}; copy it there from where it was trained.")
        if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            raise HeadMismatchError(f"{path} is not the file that was saved: its SHA-256 does not match its name.")
        with safe_open(path, "pt") as file:
            config = HeadConfig(**json.loads(file.metadata()["config"]))
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # not a dict
        if config != expected:
            raise HeadMismatchError(f"head v{number} was fitted for {config}, but the worker runs {expected}.")
        head = cls(config, number)
        head.load_state_dict(state)
        return head.eval()
