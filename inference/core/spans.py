"""Where steps and answer lie among the tokens of prompt and chain."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from inference.core.answer import find_stated
from inference.core.records import Trace


@dataclass(frozen=True)
class AnswerSpan:
    """The answer's value is tokens [start, end) of prompt + chain; what announces it ("Answer:") begins at `cue`.

    cue < start < end.
    """

    cue: int
    start: int
    end: int


def token_ids(trace: Trace) -> tuple[int, ...]:
    """Prompt and chain."""
    return (*trace.prompt_ids, *(token.id for token in trace.tokens))


def step_spans(trace: Trace) -> list[tuple[int, int]]:
    """Tokens [start, end) of each step in prompt + chain; white space after a step goes with it."""
    prompt = len(trace.prompt_ids)
    starts = [prompt + step.token_start for step in trace.steps]
    return list(pairwise([*starts, prompt + len(trace.tokens)]))


def answer_span(trace: Trace) -> AnswerSpan:
    """Where the chain states its answer; where it does so in no words, its last token is taken for the answer."""
    prompt, stated = len(trace.prompt_ids), find_stated(trace.chain)
    if stated is None:
        end = prompt + len(trace.tokens)
        return AnswerSpan(end - 2, end - 1, end)
    first = prompt + token_at(trace, stated.start)
    last = prompt + token_at(trace, stated.start + len(stated.text) - 1)
    return AnswerSpan(min(prompt + token_at(trace, stated.cue), first - 1), first, last + 1)


def token_at(trace: Trace, offset: int) -> int:
    """The token of the chain that holds character `offset`."""
    end = 0
    for index, token in enumerate(trace.tokens):
        end += len(token.text)
        if end > offset:
            return index
    raise ValueError(f"character {offset} is outside the chain, which has {end}")
