"""Where a server with OpenAI's chat protocol is, and what it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from inference.core.records import ReasonSettings

LENGTHS = ("max_tokens", "max_completion_tokens")
MAY_SEND = ("seed", "temperature", "top_p", "logprobs")
SENDS = ("max_tokens", "seed", "temperature", "top_p")
BOUNDS = {"timeout": (1, 600), "retries": (0, 10), "budget": (256, 1_000_000)}
"""Smallest and largest allowed, both included."""


@dataclass(frozen=True)
class Endpoint:
    """`url` is the base address, most often ending in /v1. `key` may be empty where a server wants none.

    `sends` names the parameters that the server is given: one of `LENGTHS`, and any of `MAY_SEND`. Servers differ
    in what they refuse, so that this is told and not guessed; what is left out is the server's own choice.
    `timeout`: seconds of silence in one try. `retries`: further tries after a timeout, a lost connection, or status
    408, 409, 429 and 5xx, with growing pauses. `budget`: tokens for one problem, prompts and replies of all calls.
    Raises ValueError for what cannot be.
    """

    url: str
    key: str = field(default="", repr=False)
    sends: tuple[str, ...] = SENDS
    timeout: float = 120.0
    retries: int = 4
    budget: int = 8192

    def __post_init__(self) -> None:
        check_url(self.url)
        if not (self.key.isascii() and self.key.isprintable()) or " " in self.key:
            raise ValueError("SAGE_API_KEY has a space, a line break or another sign that no key has; set it anew.")
        unknown = [name for name in self.sends if name not in LENGTHS + MAY_SEND]
        if unknown or sum(name in LENGTHS for name in self.sends) != 1:
            raise ValueError(
                f"SAGE_API_SENDS is {','.join(self.sends)!r}; allowed is one of {', '.join(LENGTHS)}, and any of "
                f"{', '.join(MAY_SEND)}"
            )
        for name, (least, most) in BOUNDS.items():
            if not least <= getattr(self, name) <= most:
                given = f"SAGE_API_{name.upper()} is {getattr(self, name)}"
                raise ValueError(f"{given}; allowed is {least} to {most}")

    @classmethod
    def from_environment(cls, variables: Mapping[str, str], url: str = "") -> Endpoint:
        """As SAGE_API_URL, _KEY, _SENDS, _TIMEOUT, _RETRIES and _BUDGET say; `url` goes before the first."""
        given: dict[str, Any] = {"url": url or variables.get("SAGE_API_URL", "")}
        kinds: dict[str, Callable[[str], Any]] = {
            "key": str, "sends": names, "timeout": float, "retries": int, "budget": int
        }  # fmt: skip
        for name, kind in kinds.items():
            text = variables.get(f"SAGE_API_{name.upper()}", "").strip()
            try:
                given |= {name: kind(text)} if text else {}
            except ValueError as error:
                raise ValueError(f"SAGE_API_{name.upper()} is {text!r}; a number is needed") from error
        return cls(**given)

    @property
    def address(self) -> str:
        return f"{self.url.rstrip('/')}/chat/completions"

    def parameters(self, settings: ReasonSettings) -> dict[str, Any]:
        """What a call is made with besides model and messages. Seed 0 means greedy: temperature 0, and no top_p."""
        greedy = settings.seed == 0
        values = {
            "max_tokens": settings.max_new_tokens,
            "max_completion_tokens": settings.max_new_tokens,
            "seed": settings.seed,
            "temperature": 0.0 if greedy else settings.temperature,
            "top_p": None if greedy else settings.top_p,
            "logprobs": True,
        }
        return {name: values[name] for name in self.sends if values[name] is not None}


def check_url(url: str) -> None:
    form = "give the server's base address, such as http://127.0.0.1:8000/v1"
    if not url:
        raise ValueError(f"SAGE_API_URL is not set; {form}")
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
    except ValueError:
        sound = False
    if sound and (parts.username or parts.password or parts.query or parts.fragment):
        raise ValueError("SAGE_API_URL holds a user, a password or a query; put the key into SAGE_API_KEY instead")
    if not sound:
        raise ValueError(f"SAGE_API_URL is {url!r}; {form}")


def names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
