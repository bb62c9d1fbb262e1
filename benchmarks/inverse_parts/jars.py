"""A trace of any length for the invert pass: many short steps, which is the costly case."""

from __future__ import annotations

from inference.core import Answer, LanguageModel, Problem, ReasonSettings, Token, Trace
from inference.core.steps import split_steps

LINE = "Step {number}: The shelf now holds {number} * 4 = {product} jars, so the next box goes below it.\n"


def trace_of(model: LanguageModel, length: int) -> Trace:
    """A trace of exactly `length` tokens: a short prompt and a chain of many steps, which is the costly case."""
    prompt, prompt_ids = model.encode_chat([{"role": "user", "content": "How many jars are there? Think in steps."}])
    lines = "".join(LINE.format(number=number, product=4 * number) for number in range(1, 1 + length // 20))
    ids = model.encode(lines)[: length - len(prompt_ids)]
    pieces = model.pieces(ids)
    tokens = tuple(Token(token, piece, -0.5, 0.5) for token, piece in zip(ids, pieces, strict=True))
    problem, answer = Problem("How many jars are there?", ("8", "12")), Answer(1, "12", "number")
    chain = "".join(pieces)
    return Trace(problem, prompt, prompt_ids, chain, tokens, split_steps(chain, pieces), answer, ReasonSettings())
