"""Find the quotations of a text and number them: what they hold neither ends a sentence nor claims anything."""

from __future__ import annotations

import re
from collections.abc import Iterator

from inference.core.explain import quote, shortened
from inference.core.records import EvidenceRecord
from inference.core.steps import content

OPEN, CLOSE = "\ue000", "\ue001"  # private use: they stand around the number of a quotation
PRIVATE = str.maketrans("", "", OPEN + CLOSE)
ANY = f"{OPEN}\\d+{CLOSE}"
Q = f"{OPEN}(\\d+){CLOSE}"

PAIRS = {"“": "”", "„": "“", "«": "»", '"': '"', "‘": "’", "'": "'"}
APOSTROPHES = "‘'"  # they quote only what the record holds: elsewhere they are apostrophes
OPENING = re.compile(f"[{''.join(PAIRS)}]")
NAMED = r"(?:answered|answer (?:is|was)|ended (?:up )?(?:in|with|at)|led to|resulted in)(?: with)? "
"""After these an answer of the record may stand without quotation marks."""


def mask(record: EvidenceRecord, text: str) -> tuple[str, list[str]]:
    """The text with its quotations numbered, and these, in any marks; a quotation may have marks inside that the
    record has. Answers of the record count as quotations after words such as "answered".
    """
    known = sorted(known_texts(record), key=len, reverse=True)
    text, at = text.translate(PRIVATE), 0
    quotations: list[str] = []
    parts: list[str] = []
    for start, inside, end in spans(text, known):
        ends = stop(text, inside, end)
        parts += [text[at:start], f"{OPEN}{len(quotations)}{CLOSE}", ends]
        quotations.append(inside.rstrip(" .") if ends else inside)
        at = end
    return bare_answers(record, "".join([*parts, text[at:]]), quotations), quotations


def spans(text: str, known: list[str]) -> Iterator[tuple[int, str, int]]:
    """Start, inside and end of each quotation, marks included in start and end."""
    at = 0
    while mark := OPENING.search(text, at):
        start, closing = mark.start(), PAIRS[mark[0]]
        inside = next((one for one in known if begins(text, start + 1, one, closing)), None)
        if inside is None:
            end = -1 if mark[0] in APOSTROPHES else text.find(closing, start + 1)
            if end < 0:
                at = start + 1
                continue
            inside = text[start + 1 : end]
        else:
            end = text.index(closing, start + 1 + len(inside))
            inside = text[start + 1 : end]
        yield start, inside, end + 1
        at = end + 1


def begins(text: str, start: int, known: str, closing: str) -> bool:
    """Whether the known text stands at `start` and the quotation ends behind it, or behind a comma or full stop."""
    end = start + len(known)
    return text.startswith(known, start) and text[end : end + 2].lstrip(".,")[:1] == closing


def stop(text: str, inside: str, end: int) -> str:
    """A full stop that stands inside the marks and ends the sentence around them."""
    ends = inside.rstrip()[-1:] in {".", "!", "?"} and re.match(r"\s+[A-Z]|\s*$", text[end:])
    return "." if ends else ""


def bare_answers(record: EvidenceRecord, text: str, quotations: list[str]) -> str:
    answers = sorted(filter(None, known_answers(record)), key=len, reverse=True)
    if not answers:
        return text
    ways = "|".join(re.escape(answer.translate(PRIVATE)) for answer in answers)

    def number(found: re.Match[str]) -> str:
        quotations.append(found[2])
        return f"{found[1]}{OPEN}{len(quotations) - 1}{CLOSE}"

    return re.sub(rf"\b((?i:{NAMED}))({ways})(?![\w/%²³]|[.,:]\d|\s*[-+*/=^<>]\s*\d)", number, text)


def known_answers(record: EvidenceRecord) -> set[str]:
    """The trace's answer, and those of all resamples; "" where one of them could not be read."""
    told = [answers for test in record.tests for answers in (test.kept_answers, test.different_answers)]
    nested = [other.answers for test in record.tests for other in test.alternatives]
    return {record.answer, *(answer for answers in (*told, *nested) for answer in answers)}


def known_texts(record: EvidenceRecord) -> Iterator[str]:
    """All texts of the record as they may stand between quotation marks."""
    examples = [other.example for test in record.tests for other in test.alternatives]
    for text in {*record.steps, *known_answers(record), *examples} - {""}:
        for whole in (text, content(text)):
            for made in (whole, shortened(whole)):
                yield quote(made)[1:-1].translate(PRIVATE)


def forms(text: str) -> set[str]:
    """The ways in which a text of the record may be quoted: whole or without its label, or cut short."""
    return {clean(made) for whole in (text, content(text)) for made in (whole, shortened(whole))}


def clean(text: str) -> str:
    return " ".join(text.translate(PRIVATE).split()).rstrip(" .,")
