"""Read the answer that the chain states: an option, a number or a text, as the problem asks.

A small model states the right value far more often than the right letter, so the letter comes late. Where nothing is
stated, or not one thing, nothing is read.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from inference.core.numerals import NUMERAL, canonical, stated_numbers, ungrouped
from inference.core.records import Answer, Problem

ANNOUNCED = r"(?:final\s+)?answer\s*(?:is\s*:?|:)"
CUE = re.compile(rf"\b{ANNOUNCED}(?!\W*\b{ANNOUNCED})\s*(?P<value>[^\n]*)", re.IGNORECASE)
LETTER = re.compile(r"^\W*(?:option\s+|choice\s+)?([A-Za-z])(?:\W*$|\s*[).:])", re.IGNORECASE)
WORD = re.compile(r"[^\W_]+")
PART = re.compile(rf"{NUMERAL.pattern}|\d+|[^\W\d_]+", re.IGNORECASE)
DENIAL = re.compile(r"\b(?:no|not|never|none|nothing|cannot|without)\b|n['’]t\b", re.IGNORECASE)
OVERLAP = 0.5
AROUND = " \t*_`\"'“”‘’«».,;:"  # what may stand around a stated text and is no part of it


@dataclass(frozen=True)
class Stated:
    """What stands after the last "Answer:". `start` is its character offset in the chain, `cue` that of "Answer:"."""

    text: str
    start: int
    cue: int


def find_stated(chain: str) -> Stated | None:
    """The last non-empty "Answer: ..." (or "the answer is ...") of the chain."""
    found = [cue for cue in CUE.finditer(chain) if cue["value"].strip()]
    if not found:
        return None
    return Stated(found[-1]["value"].strip(), found[-1].start("value"), found[-1].start())


def read_answer(chain: str, problem: Problem) -> Answer | None:
    """What the chain states last, read as the problem asks for it; None where it states nothing that fits."""
    stated = find_stated(chain)
    if stated is None:
        return None
    if problem.asks == "number":
        return read_number(stated.text)
    if problem.asks == "free":
        return read_text(stated.text)
    return match_option(stated.text, problem.options)


def read_number(value: str) -> Answer | None:
    """The one number that the value states, without its unit; of a calculation, what stands after the last "="."""
    found = stated_numbers(value.rpartition("=")[2])
    if not found or len({canonical(number) for number in found}) > 1 or DENIAL.search(value):
        return None
    return Answer(None, found[0], "stated number")


def read_text(value: str) -> Answer | None:
    """The value on one line, without marks around it or a full stop."""
    text = " ".join(value.split()).strip(AROUND)
    return Answer(None, text, "stated text") if text else None


def answer_key(text: str, asks: str) -> str:
    """What answers are compared by: two texts with the same key are the same answer.

    An option is its own key. Of a number it is its canonical form, of a free text its words and numbers.
    """
    if asks == "choice":
        return text
    if asks == "number":
        return canonical(text)
    plain = ungrouped(text.casefold())
    found = (part[0] for part in PART.finditer(plain))
    return " ".join(canonical(part) if NUMERAL.fullmatch(part) else part for part in found) or plain


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
    """The same words and numbers, case and punctuation aside, with or without a letter before them."""
    bare = LETTER.sub("", value)
    same = [{normalised(value), normalised(bare)} - {""}, [numbers(value), numbers(bare)]]
    found = [i for i, option in enumerate(options) if normalised(option) in same[0] and numbers(option) in same[1]]
    return only(found)


def by_number(value: str, options: Sequence[str]) -> int | None:
    """The one option with the number that the value states; of a calculation, what stands after the last "="."""
    stated = set(numbers(LETTER.sub("", value).rpartition("=")[2]))
    if len(stated) != 1:
        return None
    return only([index for index, option in enumerate(options) if set(numbers(option)) == stated])


def by_letter(value: str, options: Sequence[str]) -> int | None:
    letter = LETTER.match(value)
    index = ord(letter[1].upper()) - ord("A") if letter else -1
    return index if 0 <= index < len(options) else None


def by_overlap(value: str, options: Sequence[str]) -> int | None:
    """The one option most of whose words (at least half) the value has.

    An option with other numbers than the value, or denied where the value is not, is never read from it.
    """
    scores = [overlap(value, option) if compatible(value, option) else 0.0 for option in options]
    best = max(scores, default=0.0)
    return only([index for index, score in enumerate(scores) if score == best]) if best >= OVERLAP else None


def compatible(value: str, option: str) -> bool:
    same_numbers = not numbers(option) or set(numbers(option)) == set(numbers(value))
    return same_numbers and bool(DENIAL.search(value)) == bool(DENIAL.search(option))


def overlap(value: str, option: str) -> float:
    """Share of the option's words that the value has, 0 to 1."""
    wanted = Counter(words(option))
    return (wanted & Counter(words(value))).total() / max(1, wanted.total())


def words(text: str) -> list[str]:
    return WORD.findall(text.casefold())


def numbers(text: str) -> list[float]:
    """The numbers in a text; a comma before three digits groups thousands, any other comma separates numbers."""
    return [float(number) for number in re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?", ungrouped(text))]


def normalised(text: str) -> str:
    return " ".join(words(text))


def only(indices: list[int]) -> int | None:
    return indices[0] if len(indices) == 1 else None
