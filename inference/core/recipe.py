"""What an explainer does, without its name: everything that decides which text comes out for a problem."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

METHODS = ("inverse", "chain", "self_explain", "attention")
UNTRAINED = "untrained"
BOUNDS = {"max_new_tokens": (16, 2048), "candidates": (1, 3), "tested_steps": (0, 20), "rollouts": (1, 200)}
"""Smallest and largest allowed, both included."""

ONLY_INVERSE = ("candidates", "tested_steps", "rollouts", "similarity", "head")


@dataclass(frozen=True)
class Recipe:
    """`head` is the SHA-256 of a head's weights and config, or "untrained". `seed` 0 decodes the chain greedily.

    `max_new_tokens` is the longest chain in tokens; the last five matter only to method inverse. `similarity` is the
    sentence encoder: see similarity.py. Raises ValueError for an unknown method and for a number out of `BOUNDS`.
    """

    method: str
    model: str
    revision: str = ""
    device: str = "cpu"
    dtype: str = "float32"
    seed: int = 0
    max_new_tokens: int = 160
    candidates: int = 3
    tested_steps: int = 5
    rollouts: int = 6
    similarity: str = "all-minilm-l6-v2"
    head: str = UNTRAINED

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"method is {self.method!r}; allowed are {', '.join(METHODS)}")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}; allowed is 0 (greedy) or more")
        if not self.similarity:
            raise ValueError("similarity is empty; name a sentence encoder, such as all-minilm-l6-v2")
        for name, (least, most) in BOUNDS.items():
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed is {least} to {most}")

    def to_json(self) -> dict[str, Any]:
        """What matters to this method. Two recipes that give the same texts give the same JSON."""
        left_out = () if self.method == "inverse" else ONLY_INVERSE
        return {name: value for name, value in asdict(self).items() if name not in left_out}
