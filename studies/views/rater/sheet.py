"""What lies before a rater, blind: a problem, what the model wrote, and two explanations as left and right.

Everything that a model or a person wrote is text. The only markup put into it is links from "step 3" to that step.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any
from uuid import UUID

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from studies.models import Assignment, CheckAnswer, Comparison, Study

# The list on the page is numbered, as the explanations number the steps, so the model's own numbers are left out.
LABEL = re.compile(r"\s*step\s*\d+\s*[:.)]\s*(?=\S)", re.IGNORECASE)
MENTION = re.compile(
    r"\b(?:steps?|schritt(?:en?|s)?)\s+\d{1,3}\b(?:(?:\s*,\s*|\s*,?\s+(?:and|or|to|und|oder|bis)\s+)\d{1,3}\b)*",
    re.IGNORECASE,
)
WORD = re.compile(r"\S+\s*|\s+")
QUOTED = 160  # characters of an alternative


@dataclass(frozen=True)
class Paragraph:
    """`start` is where it begins in the explanation, in characters, so that marked passages can be located."""

    start: int
    html: SafeString


@dataclass(frozen=True)
class Alternative:
    """What the model also wrote at a step, in `count` of `tries` new tries, and the answers that these ended in."""

    text: str
    count: int
    tries: int
    answers: str


@dataclass(frozen=True)
class Step:
    """`decisive`: a confirmed decision point in the evidence of either explanation; nothing tells of which."""

    number: int
    text: str
    decisive: bool
    alternatives: tuple[Alternative, ...]


@dataclass(frozen=True)
class Run:
    """Words in a row; `only` in this one of the two texts."""

    text: str
    only: bool


@dataclass(frozen=True)
class Side:
    letter: str
    text: str
    paragraphs: list[Paragraph]
    difference: list[Run]


@dataclass(frozen=True)
class Option:
    index: int
    text: str
    answered: bool


@dataclass(frozen=True)
class Sheet:
    """`answer` is empty where the protocol hides it. `chain` stands in for steps where there are none."""

    public_id: UUID
    question: str
    options: list[Option]
    answer: str
    steps: list[Step]
    chain: str
    sides: tuple[Side, Side]

    @property
    def answered_with_option(self) -> bool:
        return any(option.answered for option in self.options)


def sheet_of(current: Assignment | CheckAnswer, study: Study) -> Sheet:
    """The sheet of a comparison or of a check item, which look the same as far as a check item goes."""
    return of_check(current, study) if isinstance(current, CheckAnswer) else of_comparison(current, study)


def of_comparison(current: Assignment, study: Study) -> Sheet:
    comparison = current.comparison
    trace = comparison.first.trace
    shown = study.answer_shown and study.simulation == Study.Simulation.NONE
    # What is to be predicted must not stand there: the chain ends in the answer, alternatives end in theirs.
    chain_shown = study.chain_shown and study.simulation != Study.Simulation.FORWARD
    told = study.simulation == Study.Simulation.NONE
    steps = steps_of(comparison, told) if chain_shown else []
    texts = (comparison.first.text, comparison.second.text)
    left, right = texts if current.first_on_left else (texts[1], texts[0])
    return Sheet(
        public_id=current.public_id,
        question=comparison.problem.question,
        options=[
            Option(index, str(text), shown and index == trace.answer_index)
            for index, text in enumerate(comparison.problem.options)
        ],
        answer=trace.answer_text if shown else "",
        steps=steps,
        chain=trace.chain if chain_shown and not steps else "",
        sides=sides_of(left, right, len(steps)),
    )


def of_check(current: CheckAnswer, study: Study) -> Sheet:
    item = current.item
    texts = (item.better, item.worse)
    left, right = texts if current.better_on_left else (texts[1], texts[0])
    return Sheet(
        public_id=current.public_id,
        question=item.question,
        options=[],
        answer=item.answer if study.answer_shown else "",
        steps=[],
        chain="",
        sides=sides_of(left, right, 0),
    )


def sides_of(left: str, right: str, steps: int) -> tuple[Side, Side]:
    mine, other = difference(left, right)
    return (
        Side("A", left, paragraphs(left, steps), mine),
        Side("B", right, paragraphs(right, steps), other),
    )


def steps_of(comparison: Comparison, told: bool) -> list[Step]:
    """The trace's steps, marked where a causal test of either explanation's evidence confirmed a decision point.

    Where the alternatives led is left out unless it may be `told`, and so is an answer that was put behind the chain.
    """
    record = comparison.first.trace.record
    end = written_end(record)
    records = (comparison.first.evidence, comparison.second.evidence)
    tests: dict[int, Any] = {}
    for test in (test for record in records for test in record.get("tests", []) if test.get("confirmed")):
        tests.setdefault(test["step"], test)
    return [
        Step(
            number=index + 1,
            text=words_of(step["text"] if end is None else step["text"][: end - step["char_start"]]),
            decisive=index in tests,
            alternatives=tuple(alternatives_of(tests[index], told)) if index in tests else (),
        )
        for index, step in enumerate(record.get("steps", []))
        if end is None or step["char_start"] < end
    ]


def written_end(record: dict[str, Any]) -> int | None:
    """Where an answer begins that was put behind the chain, in characters, maybe within a step; None: nowhere."""
    own = record.get("forced_from")
    return None if own is None else sum(len(token["text"]) for token in record["tokens"][:own])


def alternatives_of(test: dict[str, Any], told: bool) -> Iterable[Alternative]:
    for other in test.get("alternatives", []):
        text = shortened(words_of(other["example"]))
        ends = sorted(other["answers"].items(), key=lambda end: -end[1])
        answers = ", ".join(f"“{answer}” ({count} ×)" for answer, count in ends if answer and told)
        if text:
            yield Alternative(text, other["count"], test["rollouts"], answers)


def words_of(step: str) -> str:
    label = LABEL.match(step)
    return (step[label.end() :] if label else step).strip()


def shortened(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= QUOTED else flat[:QUOTED].rsplit(" ", 1)[0] + " …"


def paragraphs(text: str, steps: int) -> list[Paragraph]:
    """The text cut at blank lines, with links to those of the `steps` steps that it mentions."""
    found, start = [], 0
    for piece in re.split(r"(\n\s*\n)", text):
        if piece.strip():
            found.append(Paragraph(start, with_links(piece, steps)))
        start += len(piece)
    return found


def with_links(text: str, steps: int) -> SafeString:
    pieces, at = [], 0
    for mention in MENTION.finditer(text) if steps else ():
        for name in re.finditer(r"(?:^[^\W\d]+\s+)?(\d+)", mention[0]):
            number, start = int(name[1]), mention.start() + name.start()
            if 1 <= number <= steps:
                pieces += [plain(text[at:start]), f'<a class="to-step" href="#step-{number}">{plain(name[0])}</a>']
                at = start + len(name[0])
    return mark_safe("".join([*pieces, plain(text[at:])]))  # noqa: S308  # every piece was escaped


def plain(text: str) -> str:
    """Escaped, with carriage returns that HTML would otherwise drop: passages are counted in characters."""
    return str(escape(text)).replace("\r", "&#13;")


def difference(left: str, right: str) -> tuple[list[Run], list[Run]]:
    """Both texts in runs of words that stand in both and runs that stand in only one of them."""
    words, others = WORD.findall(left), WORD.findall(right)
    matcher = SequenceMatcher(None, [word.strip() for word in words], [word.strip() for word in others])
    mine: list[Run] = []
    theirs: list[Run] = []
    for kind, start, end, other_start, other_end in matcher.get_opcodes():
        mine += runs("".join(words[start:end]), kind != "equal")
        theirs += runs("".join(others[other_start:other_end]), kind != "equal")
    return mine, theirs


def runs(text: str, only: bool) -> list[Run]:
    """The words as one run, and the space around them, which belongs to neither text alone."""
    bare = text.strip()
    before, after = text[: text.find(bare)], text[text.find(bare) + len(bare) :]
    parts = (Run(before, False), Run(bare, only), Run(after, False)) if bare else (Run(text, False),)
    return [run for run in parts if run.text]
