"""One call to a server with OpenAI's chat protocol, as it is recorded, and whether the reply is whole."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from inference.core.endpoint import LENGTHS
from inference.core.records import ReasoningError

if TYPE_CHECKING:
    from inference.core.language_model import Message

DEEPEST = 50  # levels of a server's body; more would be too deep for what keeps and writes it
LONGEST_QUOTATION = 400  # characters of what a server said that go into an error message


@dataclass(frozen=True)
class Exchange:
    """One call that was answered, and the answer, as they went over the line: no key and no headers.

    `text` is "" where the server gave no text; `reasoning` is what it keeps apart from the text, `usage` its own
    count of tokens, `model` and `fingerprint` its own names, `logprobs` [{"token", "logprob"}] in nats if it gave
    them. `at`: UTC, when the call was made; `seconds`: until the answer was there, with all retries.
    """

    messages: tuple[dict[str, str], ...]
    parameters: dict[str, Any]
    text: str
    finish_reason: str
    usage: dict[str, Any] | None
    model: str
    fingerprint: str
    at: str
    seconds: float
    reasoning: str = ""
    logprobs: tuple[dict[str, Any], ...] | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def read_json(text: str, hide: Callable[[str], str]) -> Any:
    """A server's body, each text in it as `hide` gives it.

    Raises ValueError or RecursionError for what is no JSON, and for what no database or no file can keep.
    """
    return sound(json.loads(text), hide)


def sound(value: Any, hide: Callable[[str], str], deep: int = DEEPEST) -> Any:
    """Raises ValueError for NUL, half a character, a number that is not finite, and more than `deep` levels."""
    if isinstance(value, str):
        value.encode()
        if "\0" in value:
            raise ValueError("NUL is in it")
        return hide(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not in JSON")
    if isinstance(value, (dict, list)) and deep == 0:
        raise ValueError(f"it has more than {DEEPEST} levels")
    if isinstance(value, dict):
        return {sound(name, hide): sound(inner, hide, deep - 1) for name, inner in value.items()}
    return [sound(inner, hide, deep - 1) for inner in value] if isinstance(value, list) else value


def first_choice(body: Any) -> dict[str, Any] | None:
    """The first choice that has a message, or None."""
    choices = body.get("choices") if isinstance(body, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) and isinstance(first.get("message"), dict) else None


def recorded(
    body: Mapping[str, Any],
    choice: Mapping[str, Any],
    messages: Sequence[Message],
    parameters: Mapping[str, Any],
    at: datetime,
    now: datetime,
) -> Exchange:
    message, usage = choice["message"], body.get("usage")
    return Exchange(
        messages=tuple(dict(message) for message in messages),
        parameters=dict(parameters),
        text=text_or_nothing(message.get("content")),
        finish_reason=text_or_nothing(choice.get("finish_reason")),
        usage=usage if isinstance(usage, dict) else None,
        model=text_or_nothing(body.get("model")),
        fingerprint=text_or_nothing(body.get("system_fingerprint")),
        at=at.isoformat(timespec="seconds"),
        seconds=round((now - at).total_seconds(), 2),
        reasoning=text_or_nothing(message.get("reasoning_content") or message.get("reasoning")),
        logprobs=logprobs_of(choice),
    )


def logprobs_of(choice: Mapping[str, Any]) -> tuple[dict[str, Any], ...] | None:
    given = choice.get("logprobs")
    tokens = given.get("content") if isinstance(given, dict) else None
    if not isinstance(tokens, list):
        return None
    found = [token for token in tokens if isinstance(token, dict)]
    return tuple({"token": token.get("token"), "logprob": token.get("logprob")} for token in found)


def check_whole(what: str, exchange: Exchange, message: Mapping[str, Any]) -> None:
    """Raises ReasoningError, quoting what was written, unless the reply is a text that ended by itself."""
    finish, text = exchange.finish_reason, exchange.text
    refusal = text_or_nothing(message.get("refusal"))
    if finish == "length":
        limit = limit_of(exchange.parameters)
        raise ReasoningError(f"{what} was cut off after {limit} tokens: {quoted(text)}. Allow a longer chain.")
    if finish == "content_filter" or refusal:
        raise ReasoningError(
            f"{what} was withheld by the server's content filter or refused: {quoted(refusal or text)}."
        )
    if finish != "stop" or not isinstance(message.get("content"), str):
        came = quoted(json.dumps(dict(message), ensure_ascii=False))
        raise ReasoningError(f"{what} did not come as a text that has ended (finish reason {finish!r}): {came}.")
    if not text.strip():
        raise ReasoningError(f"{what} came back empty. Try another seed.")


def limit_of(parameters: Mapping[str, Any]) -> int:
    """The most tokens that a reply to a call with these parameters may have."""
    return next(int(parameters[name]) for name in LENGTHS if name in parameters)


def tokens_used(usage: Mapping[str, Any] | None, most: int) -> int:
    """Prompt and reply as the server counted them; where it did not, the most that they can have been."""
    counted = [(usage or {}).get(name) for name in ("prompt_tokens", "completion_tokens")]
    known = [count for count in counted if isinstance(count, int) and count >= 0]
    return sum(known) if len(known) == len(counted) else most


def text_or_nothing(value: object) -> str:
    return value if isinstance(value, str) else ""


def quoted(text: str) -> str:
    short = text.strip()
    return repr(short if len(short) <= LONGEST_QUOTATION else f"{short[:LONGEST_QUOTATION]} …")
