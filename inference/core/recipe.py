"""What an explainer does, without its name: everything that decides which text comes out for a problem."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

METHODS = ("inverse", "chain", "self_explain", "attention", "api")
SAYS = ("explanation", "chain")
UNTRAINED = "untrained"
WRITERS = ("templates", "model", "both")
STYLES = 3  # of the templates
BOUNDS = {"max_new_tokens": (16, 2048), "candidates": (1, 8), "tested_steps": (0, 20), "rollouts": (1, 200)}
MOST_BUDGET = 100_000_000
"""Smallest and largest allowed, both included."""

ONLY_INVERSE = ("writer", "candidates", "tested_steps", "rollouts", "budget", "similarity", "head")
ONLY_API = ("says", "api_url", "api_sends")
ONLY_LOCAL = ("revision", "device", "dtype")


@dataclass(frozen=True)
class Recipe:
    """`head` is the SHA-256 of a head's weights and config, or "untrained". `seed` 0 decodes the chain greedily.

    `max_new_tokens` is the longest chain in tokens; what a method does not use is left out by `to_json`. `candidates`
    are the texts of each writer; with "both" the templates give at most their three. `budget` are the tokens that all
    rollouts of a problem may have, 1 to 100 million, None for any number. `similarity` is the sentence
    encoder: see similarity.py. Method api has one run show what the model says afterwards or the chain (`says`);
    `api_url` and `api_sends` are those of its `Endpoint`. Raises ValueError for an unknown method or writer and for a
    number out of `BOUNDS`.
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
    budget: int | None = None
    similarity: str = "all-minilm-l6-v2"
    head: str = UNTRAINED
    writer: str = "templates"
    says: str = "explanation"
    api_url: str = ""
    api_sends: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"method is {self.method!r}; allowed are {', '.join(METHODS)}")
        check_writer(self.writer, self.candidates)
        if self.says not in SAYS:
            raise ValueError(f"says is {self.says!r}; allowed are {', '.join(SAYS)}")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}; allowed is 0 (greedy) or more")
        if not self.similarity:
            raise ValueError("similarity is empty; name a sentence encoder, such as all-minilm-l6-v2")
        if self.budget is not None and not 1 <= self.budget <= MOST_BUDGET:
            raise ValueError(f"budget is {self.budget} tokens; allowed is 1 to {MOST_BUDGET}, or none at all")
        for name, (least, most) in BOUNDS.items():
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed is {least} to {most}")

    def to_json(self) -> dict[str, Any]:
        """What matters to this method. Two recipes that give the same texts give the same JSON."""
        left_out: tuple[str, ...] = ONLY_LOCAL if self.method == "api" else ONLY_API
        left_out += () if self.method == "inverse" else ONLY_INVERSE
        settings = {name: value for name, value in asdict(self).items() if name not in left_out}
        return settings | ({"api_sends": list(self.api_sends)} if self.method == "api" else {})


def check_writer(writer: str, candidates: int) -> None:
    """Raises ValueError for an unknown writer, and for more texts than it has."""
    check_known(writer)
    if writer == "templates" and candidates > STYLES:
        raise ValueError(
            f"candidates is {candidates}; the templates have 1 to {STYLES}. Let the model write for more."
        )


def check_known(writer: str) -> None:
    """Raises ValueError for an unknown writer."""
    if writer not in WRITERS:
        raise ValueError(f"writer is {writer!r}; allowed are {', '.join(WRITERS)}")
