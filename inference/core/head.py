"""The metacognitive head: scores explanations by expected preference, and steps by expected effect.

A linear Bradley-Terry reward on frozen features (Bradley & Terry 1952; reward modelling as in Christiano et al.
2017), eight more of its kind fitted on resampled problems, whose spread says how sure it is; what it says of steps
(step_head.py), and how it mixes layers and heads of the base model's attention (mixing.py). H is the hidden size of
the base model. What the features are, say features.py and step_features.py.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from inference.core.mixing import Mixing
from inference.core.step_head import NUMBERS, StepHead

FEATURE_SPEC = "packed/4"
SURFACE = ("log_tokens", "log_tokens_squared", "mean_logprob")
"""The explanation features after the hidden states: numbers that can be seen and named."""

KINDS = 3
BOOTSTRAPS = 8


class HeadMismatchError(Exception):
    """The head was fitted on other features than the ones at hand, or is not the file that was saved. Says which."""


@dataclass(frozen=True)
class HeadConfig:
    """What a head's numbers mean: valid only together with exactly this base model and feature spec.

    `layers` (counted from 1) are those whose hidden states the explanation features hold, `layer` that of the steps.
    `depth` counts all layers and `heads` the attention heads of each, which can be mixed; 0 where nothing mixes them.
    `weights` is a digest of the base model's: two models of one name are not the same.
    """

    model: str
    revision: str
    hidden: int
    layer: int
    layers: tuple[int, ...]
    feature_spec: str = FEATURE_SPEC
    depth: int = 0
    heads: int = 0
    weights: str = ""

    @property
    def explanation_size(self) -> int:
        return len(self.layers) * self.block_size + len(SURFACE)

    @property
    def block_size(self) -> int:
        """How many explanation features come from one layer: mean and last hidden state."""
        return 2 * self.hidden

    @property
    def step_size(self) -> int:
        return 2 * self.hidden + len(NUMBERS)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> HeadConfig:
        """Raises HeadMismatchError for another feature spec, and where a field is missing or unknown."""
        if data.get("feature_spec") != FEATURE_SPEC:
            raise HeadMismatchError(
                f"it has feature_spec {data.get('feature_spec')!r}, but this version has {FEATURE_SPEC!r}; retrain it"
            )
        if set(data) != {field.name for field in fields(cls)}:
            raise HeadMismatchError(f"a head's config has the fields {[field.name for field in fields(cls)]}")
        return cls(**(data | {"layers": tuple(data["layers"])}))

    def differences(self, other: HeadConfig) -> list[str]:
        """What differs, in words, mine first."""
        names = [field.name for field in fields(self)]
        pairs = [(name, getattr(self, name), getattr(other, name)) for name in names]
        return [f"{name} {mine!r}, not {theirs!r}" for name, mine, theirs in pairs if mine != theirs]


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


class Preference(Scorer):
    """A scorer of explanations, whose surface numbers may count differently for different kinds of text.

    People like a long explanation of one kind of answer and a short one of another. So beside the features themselves
    it reads the product of each surface number with each of KINDS summaries of the hidden states, which are the
    directions `kinds` [F, KINDS] in which texts differ most.
    """

    kinds: Tensor

    def __init__(self, size: int) -> None:
        super().__init__(size + KINDS * len(SURFACE))
        self.size = size
        self.register_buffer("kinds", torch.zeros(size, KINDS))

    def standardised(self, features: Tensor) -> Tensor:
        """features [N, F] -> [N, F + KINDS · S]."""
        own = (features - self.mean[: self.size]) / self.scale[: self.size]
        products = self.products(own)
        return torch.cat([own, (products - self.mean[self.size :]) / self.scale[self.size :]], dim=1)

    def products(self, own: Tensor) -> Tensor:
        """Standardised features [N, F] -> each kind times each surface number, [N, KINDS · S]."""
        surface, kinds = own[:, self.size - len(SURFACE) :], own @ self.kinds
        return (kinds[:, :, None] * surface[:, None]).flatten(1)

    def forward(self, features: Tensor) -> Tensor:
        """features [N, F] float32 -> scores [N]."""
        return self.standardised(features) @ self.weight


class Head(nn.Module):
    """`bootstrap` [8, F + KINDS · S] are weights like those of `preference`, each fitted on problems drawn with
    replacement.

    `calibration` [3] turns a difference of scores into probabilities: scale, log ν of ties (Davidson 1970), and how
    much being shown on the left adds.
    """

    bootstrap: Tensor
    calibration: Tensor

    def __init__(self, config: HeadConfig, number: int = 0) -> None:
        super().__init__()
        self.config = config
        self.number = number
        self.preference = Preference(config.explanation_size)
        self.steps = StepHead(config.step_size)
        self.mixing = Mixing(config.depth, config.heads)
        self.register_buffer("bootstrap", torch.zeros(BOOTSTRAPS, len(self.preference.weight)))
        self.register_buffer("calibration", torch.tensor([1.0, 0.0, 0.0]))

    @property
    def trained(self) -> bool:
        """With all weights at zero, as in version 0, every score is 0 and nothing can be ranked by it."""
        return self.number > 0 and bool(self.preference.weight.any())

    @property
    def ranks_steps(self) -> bool:
        """Whether it learned from tested steps; without any, it expects nothing of them."""
        return self.steps.ranks

    @property
    def mixes(self) -> bool:
        """Whether it learned which attention to follow; if not, the plain rollout is all there is."""
        return self.mixing.learned

    @property
    def name(self) -> str:
        return f"head v{self.number}"

    def score(self, features: Tensor) -> Tensor:
        """Scores [N] of explanations with features [N, F]. Raises ValueError where a feature is not a number."""
        if not torch.isfinite(features).all():
            rows = (~torch.isfinite(features)).any(1).nonzero()[:5, 0].tolist()
            raise ValueError(f"features of explanations {rows} are not finite numbers; compute them again")
        with torch.no_grad():
            scores: Tensor = self.preference(features.float())
        return scores

    def spread(self, first: Tensor, second: Tensor) -> Tensor:
        """How unsure the head is of score(first) - score(second): standard deviation over the bootstrap heads, [N].

        first, second [N, F].
        """
        own = self.preference.standardised(first) - self.preference.standardised(second)
        return (own @ self.bootstrap.T).std(1)

    def save(self, folder: Path, card: str = "") -> str:
        """Write the head into `folder` under its content hash; return the SHA-256. See head_files.save."""
        from inference.core.head_files import save

        return save(self, folder, card)

    @classmethod
    def load(cls, folder: Path, sha256: str, number: int, expected: HeadConfig) -> Head:
        """Load by content hash. See head_files.load."""
        from inference.core.head_files import load

        return load(folder, sha256, number, expected)

    @classmethod
    def read(cls, path: Path, number: int = 1) -> Head:
        """Load one head's own folder, without a registry. See head_files.read."""
        from inference.core.head_files import read

        return read(path, number)
