"""What part a step plays in a chain, by its words: a simple rule that anyone can redo, not a finding.

The parts follow the sentence categories of Thought Anchors (Bogdan et al. 2025), who had a large model label them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import accumulate

from inference.core.answer import find_stated, words
from inference.core.steps import content

BACKTRACK = re.compile(
    r"^\W*(?:wait|hmm|no,|actually)\b"
    r"|\b(?:mistake|mistaken|on second thought|let(?:['’]s| me) (?:try again|re\w+))\b",
    re.IGNORECASE,
)
CHECK = re.compile(r"\b(?:(?:double[- ])?check(?:s|ing|ed)?|verif(?:y|ies|ied|ying)|make sure)\b", re.IGNORECASE)
COMPUTATION = re.compile(r"\d[\d.,]*\s*%?\s*[-+*/×÷^−]\s*\(?\d|=\s*[-−]?[$€£]?\d")
PLAN = re.compile(
    r"^\W*(?:first|next|then)?,?\s*(?:let(?:['’]s| us| me)"
    r"|(?:we|i|you)(?: will| need| must| have to| should| can|['’]ll)\b"
    r"|to (?:find|solve|answer|determine|calculate|get|see)\b)",
    re.IGNORECASE,
)
CONCLUSION = re.compile(r"\b(?:therefore|thus|hence|it follows|this means|which means|so)\b", re.IGNORECASE)
RECALLED = 0.6  # share of a step's words that the question has too


def repeats(question: str, step: str) -> bool:
    own, asked = words(step), set(words(question))
    return bool(own) and sum(word in asked for word in own) / len(own) >= RECALLED


RULES: tuple[tuple[str, Callable[[str, str], bool]], ...] = (
    ("answer", lambda question, step: find_stated(step) is not None),
    ("backtrack", lambda question, step: BACKTRACK.search(step) is not None),
    ("check", lambda question, step: CHECK.search(step) is not None),
    ("computation", lambda question, step: COMPUTATION.search(step) is not None),
    ("plan", lambda question, step: PLAN.search(step) is not None),
    ("conclusion", lambda question, step: CONCLUSION.search(step) is not None),
    ("recall", repeats),
)
"""Tried in this order; the first that holds names the role. What none fits is a "statement"."""

ROLES = (*(name for name, _ in RULES), "statement")


def answering(steps: Sequence[str]) -> int | None:
    """The step that states the answer: the last of those that state one. None where none does."""
    stated = find_stated("\n".join(steps))
    if stated is None:
        return None
    ends = accumulate(len(step) + 1 for step in steps)
    return next(index for index, end in enumerate(ends) if stated.start < end)


def choices(steps: Sequence[str]) -> list[int]:
    """All steps but the one that states the answer. One that states an answer earlier on may be tested as well."""
    own = answering(steps)
    return [index for index in range(len(steps)) if index != own]


def role(question: str, step: str) -> str:
    """One of ROLES for the words of `step`, its label aside."""
    said = content(step)
    return next((name for name, holds in RULES if holds(question, said)), "statement")
