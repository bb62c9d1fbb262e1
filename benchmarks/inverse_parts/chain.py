"""The trace that all parts work on: written here and not by the model, so that it is the same on every machine."""

from __future__ import annotations

from inference.core import Answer, LanguageModel, Problem, ReasonSettings, Token, Trace
from inference.core.steps import split_steps

SHELF = (
    "There is a shelf in the cellar for jars of plum jam. In the morning it holds 8 jars. Then every child of the "
    "house comes down the stairs and puts 2 more jars on it. How many jars are on the shelf when 17 have come?"
)
LINE = "Step {number}: {before} jars and 2 more make {after} jars on it.\n"
LAST = 42


def built_trace(model: LanguageModel, steps: int = 18) -> Trace:
    """`steps` steps, the last of which states the answer; with 18 about 450 tokens, prompt included.

    The prompt is plain text: peers cut a chat's markers in ways of their own, and then spans no longer match.
    """
    options = tuple(f"{number} jars" for number in (LAST - 6, LAST, LAST + 6, LAST + 12))
    prompt = f"Question: {SHELF}\nOptions: {', '.join(options)}\nThink in steps, then say the answer.\n"
    first = LAST - 2 * (steps - 1)
    lines = [LINE.format(number=n + 1, before=first + 2 * n, after=first + 2 * n + 2) for n in range(steps - 1)]
    chain = "".join(lines) + f"Answer: {options[1]}"
    prompt_ids, ids = model.encode(prompt), model.encode(chain)
    pieces = model.pieces(ids)
    tokens = tuple(Token(token, piece, -0.5, 0.5) for token, piece in zip(ids, pieces, strict=True))
    answer = Answer(1, options[1], "stated value")
    return Trace(
        Problem(SHELF, options),
        prompt,
        prompt_ids,
        chain,
        tokens,
        split_steps(chain, pieces),
        answer,
        ReasonSettings(),
    )
