"""Read the answer from the value that the chain states, matched to the options.

A small model states the right value far more often than the right letter, so the letter comes late.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from inference.core.records import Answer

CUE = re.compile(r"\b(?:final\s+)?answer\s*(?:is\s*:?|:)\s*(?P<value>[^\n]*)", re.IGNORECASE)
LETTER = re.compile(r"^\W*(?:option\s+|choice\s+)?([A-Za-z])(?:\W*$|\s*[).:])", re.IGNORECASE)
WORD = re.compile(r"[^\W_]+")
OVERLAP = 0.5


@dataclass(frozen=True)
class Stated:
    """What stands after the last "Answer:". `start` is its character offset in the chain."""

    text: str
    start: int


def find_stated(chain: str) -> Stated | None:
    """The last non-empty "Answer: ..." (or "the answer is ...") of the chain."""
    found = [cue for cue in CUE.finditer(chain) if cue["value"].strip()]
    return Stated(found[-1]["value"].strip(), found[-1].start("value")) if found else None


def read_answer(chain: str, options: Sequence[str]) -> Answer | None:
    """Match the stated value to one of the options; None when it states none, or fits none of them better."""
    stated = find_stated(chain)
    return match_option(stated.text, options) if stated else None


def match_option(value: str, options: Sequence[str]) -> Answer | None:
    """Try the rules in order of how far they can be trusted; each needs one option only to fit."""
    rules: tuple[tuple[str, Callable[[str, Sequence[str]], int | None]], ...] = (
        ("stated value", by_value),
        ("number", by_number),
        ("letter", by_letter),
        ("word overlap", by_overlap),
    )
    for name, rule in rules:
        index = rule(value, options)
        if index is not None:
            return Answer(index, options[index], name)
    return None


def by_value(value: str, options: Sequence[str]) -> int | None:
    """The same words, case and punctuation aside, with or without a letter before them."""
    texts = {normalised(value), normalised(LETTER.sub("", value))} - {""}
    return only([index for index, option in enumerate(options) if normalised(option) in texts])


def by_number(value: str, options: Sequence[str]) -> int | None:
    stated = set(numbers(LETTER.sub("", value)))
    if len(stated) != 1:
        return None
    return only([index for index, option in enumerate(options) if set(numbers(option)) == stated])


def by_letter(value: str, options: Sequence[str]) -> int | None:
    letter = LETTER.match(value)
    index = ord(letter[1].upper()) - ord("A") if letter else -1
    return index if 0 <= index < len(options) else None


def by_overlap(value: str, options: Sequence[str]) -> int | None:
    """The one option whose words overlap most with the value's (Dice coefficient, at least 0.5)."""
    scores = [overlap(value, option) for option in options]
    best = max(scores, default=0.0)
    return only([index for index, score in enumerate(scores) if score == best]) if best >= OVERLAP else None


def overlap(first: str, second: str) -> float:
    """2 · shared words / all words, from 0 to 1."""
    one, two = Counter(words(first)), Counter(words(second))
    return 2 * (one & two).total() / max(1, one.total() + two.total())


def words(text: str) -> list[str]:
    return WORD.findall(text.casefold())


def numbers(text: str) -> list[float]:
    """The numbers in a text; a comma before three digits groups thousands, any other comma separates numbers."""
    grouped = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    return [float(number) for number in re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?", grouped)]


def normalised(text: str) -> str:
    return " ".join(words(text))


def only(indices: list[int]) -> int | None:
    return indices[0] if len(indices) == 1 else None
