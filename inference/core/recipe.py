"""What an explainer does, without its name: everything that decides which text comes out for a problem."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

METHODS = ("inverse", "chain", "self_explain", "attention", "api")
SAYS = ("explanation", "chain")
UNTRAINED = "untrained"
BOUNDS = {"max_new_tokens": (16, 2048), "candidates": (1, 3), "tested_steps": (0, 20), "rollouts": (1, 200)}
"""Smallest and largest allowed, both included."""

ONLY_INVERSE = ("candidates", "tested_steps", "rollouts", "head")
ONLY_API = ("says", "api_url", "api_sends")
ONLY_LOCAL = ("revision", "device", "dtype")


@dataclass(frozen=True)
class Recipe:
    """`head` is the SHA-256 of a head's weights and config, or "untrained". `seed` 0 decodes the chain greedily.

    `max_new_tokens` is the longest chain in tokens; what each method does not use is told by `to_json`. Method api
    has one run show what the model says afterwards or the chain (`says`); `api_url` and `api_sends` are those of its
    `Endpoint`. Raises ValueError for an unknown method and for a number out of `BOUNDS`.
    """

    method: str
    model: str
    revision: str = ""
    device: str = "cpu"
    dtype: str = "float32"
    seed: int = 0
    max_new_tokens: int = 160
    candidates: int = 3
    tested_steps: int = 2
    rollouts: int = 6
    head: str = UNTRAINED
    says: str = "explanation"
    api_url: str = ""
    api_sends: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"method is {self.method!r}; allowed are {', '.join(METHODS)}")
        if self.says not in SAYS:
            raise ValueError(f"says is {self.says!r}; allowed are {', '.join(SAYS)}")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}; allowed is 0 (greedy) or more")
        for name, (least, most) in BOUNDS.items():
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed is {least} to {most}")

    def to_json(self) -> dict[str, Any]:
        """What matters to this method. Two recipes that give the same texts give the same JSON."""
        left_out: tuple[str, ...] = ONLY_LOCAL if self.method == "api" else ONLY_API
        left_out += () if self.method == "inverse" else ONLY_INVERSE
        settings = {name: value for name, value in asdict(self).items() if name not in left_out}
        return settings | ({"api_sends": list(self.api_sends)} if self.method == "api" else {})
