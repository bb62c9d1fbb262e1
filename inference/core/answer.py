"""Read the answer that the chain states: an option, a number or a text, as the problem asks.

A small model states the right value far more often than the right letter, so the letter comes late. Where nothing is
stated, or not one thing, nothing is read.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from inference.core.numerals import NUMERAL, canonical, changed, stated_numbers, ungrouped
from inference.core.records import Answer, Problem
from inference.core.steps import spoken

ANNOUNCED = r"(?:final\s+)?answer\s*(?:is\s*:?|:)"
CUE = re.compile(rf"\b{ANNOUNCED}\s*(?P<value>(?:(?!\b{ANNOUNCED})[^\n])*)", re.IGNORECASE)
LETTER = re.compile(r"^\W*(?:option\s+|choice\s+)?([A-Za-z])(?:\W*$|\s*[).:])", re.IGNORECASE)
WORD = re.compile(r"[^\W_]+")
PART = re.compile(rf"{NUMERAL.pattern}|\d+|[^\W\d_]+", re.IGNORECASE)
NAMED = re.compile(r"(?<![\w°])(?:[A-Z](?!\w)|[a-z](?=[):]))")  # a letter that may be an option's
SENTENCE = re.compile(r"[.!?]\s+(?=[A-Z])")
DENIAL = re.compile(
    r"\b(?:no|not|never|none|nothing|cannot|without|n?either|nor|except|other than|(?:any\w+|all) but)\b|n['’]t\b",
    re.IGNORECASE,
)
OR = re.compile(r"\bor\b", re.IGNORECASE)
SIGN = re.compile(r"(^|=)\s*[-−]\s+(?=[\d.])")  # a minus with a space behind it
EQUALS = re.compile(r"(?<![<>!])=>?|≈")
CALCULATION = re.compile(r"\d\s*[-*×÷·x]\s*\d")
OVERLAP = 0.5
AROUND = " \t*_`\"'“”‘’«».,;:"  # what may stand around a stated text and is no part of it


@dataclass(frozen=True)
class Stated:
    """What stands after the last "Answer:". `start` is its character offset in the chain, `cue` that of "Answer:"."""

    text: str
    start: int
    cue: int


def find_stated(chain: str) -> Stated | None:
    """The last non-empty "Answer: ..." (or "the answer is ...") of the chain, outside think blocks."""
    found = [cue for cue in CUE.finditer(spoken(chain)) if cue["value"].strip()]
    if not found:
        return None
    return Stated(found[-1]["value"].strip(), found[-1].start("value"), found[-1].start())


def read_answer(chain: str, problem: Problem) -> Answer | None:
    """What the chain states last, read as the problem asks for it; None where it states nothing that fits."""
    stated = find_stated(chain)
    return read_stated(stated, problem) if stated else None


def read_stated(stated: Stated, problem: Problem) -> Answer | None:
    if problem.asks == "number":
        return read_number(stated.text)
    if problem.asks == "free":
        return read_text(stated.text)
    return match_option(stated.text, problem.options)


def read_number(value: str) -> Answer | None:
    number = one_number(value)
    return None if number is None else Answer(None, number, "stated number")


def one_number(value: str) -> str | None:
    """The one number that the value states, without its unit; of a calculation, what stands after the last "=".

    Nothing is read where something beside the number changes it: a denial, an "or", a word or a sign.
    """
    result = EQUALS.split(SIGN.sub(r"\1-", value))[-1]
    found = stated_numbers(result) or []
    if len({canonical(number) for number in found}) != 1 or CALCULATION.search(result):
        return None
    return None if DENIAL.search(value) or OR.search(value) else found[0]


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
        ("stated value", by_text),
        ("stated value", by_value),
        ("number", by_number),
        ("letter", by_letter),
        ("word overlap", by_overlap),
    )
    said = SIGN.sub(r"\1-", value)
    for name, rule in rules:
        index = rule(said, options)
        if index is not None:
            return Answer(index, options[index], name)
    return None


def by_text(value: str, options: Sequence[str]) -> int | None:
    """The same text, case, white space and marks around it aside, with or without a letter before it."""
    same = {unspaced(value), unspaced(LETTER.sub("", value))}
    return only([index for index, option in enumerate(options) if unspaced(option) in same])


def by_value(value: str, options: Sequence[str]) -> int | None:
    """The same words and numbers, case and punctuation aside, with or without a letter before them."""
    said = value.rstrip(f"{AROUND}!")  # behind the whole statement it is no factorial
    same = [meant(said), meant(LETTER.sub("", said))]
    return only([index for index, option in enumerate(options) if words(option) and meant(option) in same])


def by_number(value: str, options: Sequence[str]) -> int | None:
    """The one option with the number that the value states."""
    stated = one_number(LETTER.sub("", value))
    if stated is None:
        return None
    found = [one_number(option) for option in options]
    return only([at for at, number in enumerate(found) if number and canonical(number) == canonical(stated)])


def by_letter(value: str, options: Sequence[str]) -> int | None:
    """The option whose letter begins the value, where its first sentence names no other."""
    letter = LETTER.match(value)
    if letter is None:
        return None
    named = {ord(one.upper()) - ord("A") for one in (letter[1], *NAMED.findall(SENTENCE.split(value)[0]))}
    return only([index for index in named if index < len(options)])


def by_overlap(value: str, options: Sequence[str]) -> int | None:
    """The one option most of whose words (at least half) the value has.

    An option with other numbers than the value, with numbers that only one of the two changes, or denied where the
    value is not, is never read from it.
    """
    scores = [overlap(value, option) if compatible(value, option) else 0.0 for option in options]
    best = max(scores, default=0.0)
    return only([index for index, score in enumerate(scores) if score == best]) if best >= OVERLAP else None


def compatible(value: str, option: str) -> bool:
    same = [set(numbers(option)) == set(numbers(value)), changed(option) == changed(value)]
    return (all(same) or not numbers(option)) and bool(DENIAL.search(value)) == bool(DENIAL.search(option))


def overlap(value: str, option: str) -> float:
    """Share of the option's words that the value has, 0 to 1."""
    wanted = Counter(words(option))
    return (wanted & Counter(words(value))).total() / max(1, wanted.total())


def words(text: str) -> list[str]:
    return WORD.findall(text.casefold())


def numbers(text: str) -> list[float]:
    """The numbers in a text; a comma before three digits groups thousands, any other comma separates numbers."""
    return [float(number) for number in re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?", ungrouped(text))]


def unspaced(text: str) -> str:
    return "".join(text.casefold().split()).strip(AROUND)


def meant(text: str) -> tuple[list[str], list[float], set[str]]:
    """Words and numbers of a text, and what changes the numbers."""
    return words(text), numbers(text), changed(text)


def only(indices: list[int]) -> int | None:
    return indices[0] if len(indices) == 1 else None
