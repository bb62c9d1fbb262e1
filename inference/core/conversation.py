"""Calls to a server with OpenAI's chat protocol about one problem: recorded, retried, within a budget of tokens.

The key goes into one header and nowhere else: neither into a transcript, nor a message, nor a `repr`, not even where
the server repeats it. What is shorter than SHORTEST_SECRET is taken for a stand-in such as "EMPTY": a chain may well
have that word, so that it is taken out of messages about failed calls only.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

from inference.core.endpoint import Endpoint
from inference.core.exchange import (
    Exchange,
    check_whole,
    first_choice,
    limit_of,
    quoted,
    read_json,
    recorded,
    tokens_used,
)
from inference.core.limits import LimitError
from inference.core.records import ReasonSettings

if TYPE_CHECKING:
    from openai import OpenAI, OpenAIError

    from inference.core.language_model import Message

Made = TypeVar("Made")

TICK = 1.0  # seconds between two reports of progress while a call is under way
SHORTEST_SECRET = 8  # characters
HIDDEN = "(the key)"
PER_MESSAGE, PER_CALL = 16, 128  # tokens that a server's template may add, generously
UNLIKE = "Is this the base address of a server with OpenAI's chat protocol (most end in /v1)?"


class ApiError(Exception):
    """The server cannot be used: not reached, refused, or no answer in the protocol. Nothing of the call is kept.

    Says what was asked of which address, what came, and what to do.
    """


class ApiBudgetError(LimitError):
    """The next call could take more tokens than are left for the problem."""


def utc_now() -> datetime:
    return datetime.now(UTC)


class Conversation:
    """All calls about one problem, within the endpoint's budget. `exchanges` is the transcript, failures included.

    `earlier` is the transcript of the problem before a stop or a retry, as JSON: its tokens are spent already.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        model: str,
        clock: Callable[[], datetime] = utc_now,
        earlier: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self.endpoint, self.model, self.clock, self.earlier = endpoint, model, clock, earlier
        self.exchanges: list[Exchange] = []
        self.spent = sum(map(tokens_of, earlier))  # as the server counts them, or else at most

    def ask(
        self, what: str, messages: Sequence[Message], settings: ReasonSettings, tick: Callable[[], None]
    ) -> Exchange:
        """The reply to `messages`, whole. `what` names it in errors; `tick` is called every second and may raise.

        Raises ApiBudgetError before a call that could exceed the budget, ApiError when the server cannot be used, and
        ReasoningError when it gave no text, or not all of it.
        """
        most = longest(messages) + settings.max_new_tokens
        if self.spent + most > self.endpoint.budget:
            raise ApiBudgetError(
                f"{what} may take {most} tokens, prompt and reply together, and of the {self.endpoint.budget} for a "
                f"problem {self.spent} are spent. Raise SAGE_API_BUDGET, or shorten the longest chain."
            )
        parameters = {"model": self.model, **self.endpoint.parameters(settings)}
        at = self.clock()
        body = self.reply(what, messages, parameters, tick)
        choice = first_choice(body)
        if choice is None:
            self.fail(what, f"it answered without a choice: {self.quoted(json.dumps(body))}.", UNLIKE)
        exchange = recorded(body, choice, messages, parameters, at, self.clock())
        if HIDDEN in exchange.text:
            exchange = replace(exchange, logprobs=None)  # they spell the key out, token by token
        self.exchanges.append(exchange)
        self.spent += tokens_of(exchange.to_json())
        check_whole(what, exchange, choice["message"])
        return exchange

    def reply(
        self, what: str, messages: Sequence[Message], parameters: Mapping[str, Any], tick: Callable[[], None]
    ) -> Any:
        """The body of the server's answer, read as JSON."""
        import openai

        client, turns = self.client(), cast("Any", list(messages))
        try:
            raw = waited(lambda: client.chat.completions.with_raw_response.create(messages=turns, **parameters), tick)
            text = raw.text
        except openai.OpenAIError as error:
            self.fail(what, *trouble(error, self.endpoint, self.quoted))
        finally:
            client.close()
        try:
            return read_json(text, self.hidden if len(self.endpoint.key) >= SHORTEST_SECRET else str)
        except (ValueError, RecursionError):
            self.fail(what, f"it answered with something that is no sound JSON: {self.quoted(text)}.", UNLIKE)

    def client(self) -> OpenAI:
        from openai import OpenAI

        own = self.endpoint
        # The library wants a key where the server may not.
        client = OpenAI(api_key=own.key or "none", base_url=own.url, timeout=own.timeout, max_retries=own.retries)
        client.organization = client.project = None  # it takes them from the environment, for any server
        return client

    def fail(self, what: str, came: str, do: str) -> NoReturn:
        asked = f"{what} was asked of model {self.model!r} at {self.endpoint.address}"
        # No cause is kept: it quotes the server, which may repeat the key.
        raise ApiError(f"{asked}; {came} {do}") from None

    def quoted(self, text: str) -> str:
        """Without the key, taken out before anything is cut off."""
        return quoted(self.hidden(text))

    def hidden(self, text: str) -> str:
        """Without the key, which a server may repeat: as it is, or as JSON may escape it."""
        key = self.endpoint.key
        for form in (key, json.dumps(key)[1:-1], key.replace("/", r"\/")):
            text = text.replace(form, HIDDEN) if form else text
        return text


def tokens_of(told: Mapping[str, Any]) -> int:
    """The tokens that one call of a transcript took; where the server did not count, the most that it can have."""
    return tokens_used(told["usage"], longest(told["messages"]) + limit_of(told["parameters"]))


def trouble(error: OpenAIError, endpoint: Endpoint, quote: Callable[[str], str]) -> tuple[str, str]:
    """What came instead of an answer, and what to do about it."""
    import openai

    tries = f"{endpoint.retries + 1} {'tries' if endpoint.retries else 'try'}"
    if isinstance(error, openai.APITimeoutError):
        came = f"nothing was heard for {endpoint.timeout:g} seconds in any of {tries}."
        return came, "Try again later, or raise SAGE_API_TIMEOUT."
    if isinstance(error, openai.APIStatusError):
        return f"it answered {error.status_code}: {quote(error.response.text)}.", advice(error.status_code, tries)
    if isinstance(error, openai.APIConnectionError):
        came = f"it could not be reached in {tries}: {quote(str(error.__cause__ or error))}."
        return came, "Check SAGE_API_URL, and that the server runs."
    return f"the client library gave up: {quote(str(error))}.", UNLIKE


def advice(status: int, tries: str) -> str:
    if status in (401, 403):
        return "Check SAGE_API_KEY, and that it may use this model."
    if status == 404:
        return "Check the model's name, and SAGE_API_URL (most end in /v1)."
    if status in (408, 409, 429) or status >= 500:
        return f"So it ended after {tries}. Try again later."
    return (
        "If it names a parameter, choose what is sent with SAGE_API_SENDS; if it names the length, shorten the "
        "longest chain."
    )


def longest(messages: Sequence[Message]) -> int:
    """The most tokens that a prompt can have: one for each byte, and what the server's template adds."""
    return PER_CALL + sum(PER_MESSAGE + len(message["content"].encode()) for message in messages)


def waited(call: Callable[[], Made], tick: Callable[[], None]) -> Made:
    """What `call` returns or raises, made in a thread of its own while `tick` is called every second in this one.

    When `tick` raises, the call is left behind: a daemon thread keeps no process from ending.
    """
    done: Future[Made] = Future()

    def work() -> None:
        try:
            done.set_result(call())
        except BaseException as error:  # noqa: BLE001  # raised again in the thread that waits
            done.set_exception(error)

    threading.Thread(target=work, daemon=True, name="api call").start()
    tick()
    while not wait({done}, timeout=TICK).done:
        tick()
    return done.result()
