"""What the comparison page asks: the overall choice on the study's scale, and whatever else its protocol wants.

Buttons carry the side, never the arm: `a2` is "A much better" in a study with two strengths.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.forms import Form
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from studies.criteria import CRITERIA
from studies.models import Study

Words = str | Promise

# By the number of strengths that a preference has: the words of each, weakest first.
STRENGTHS: dict[int, tuple[Words, ...]] = {
    1: (gettext_lazy("better"),),
    2: (gettext_lazy("better"), gettext_lazy("much better")),
    3: (gettext_lazy("slightly better"), gettext_lazy("better"), gettext_lazy("much better")),
}
TIE = gettext_lazy("equally good")
OTHERS: dict[str, tuple[Words, str]] = {
    "both_bad": (gettext_lazy("Both bad"), "x"),
    "cannot_judge": (gettext_lazy("Cannot judge"), "c"),
}


@dataclass(frozen=True)
class Button:
    """One answer; `letter` is empty for the tie, `key` is the single key that presses it at first."""

    value: str
    letter: str
    words: Words
    key: str
    chosen: bool


@dataclass(frozen=True)
class Option:
    value: str
    label: Words
    chosen: bool


@dataclass(frozen=True)
class Criterion:
    key: str
    name: Words
    definition: Words
    choices: list[Option]


@dataclass(frozen=True)
class Problem:
    """What is wrong with an answer, and the part of the page that it is about; empty for the page as a whole."""

    target: str
    name: Words
    message: str


class Given:
    """What a form holds so far: sent and refused, or an earlier answer to be changed, or nothing."""

    def __init__(self, form: Form | None) -> None:
        self.form = form

    def one(self, name: str) -> str:
        if self.form is None:
            return ""
        value = self.form.data.get(name) if self.form.is_bound else self.form.initial.get(name)
        if isinstance(value, list | dict):
            return json.dumps(value) if value else ""
        return "" if value is None else str(value)

    def many(self, name: str) -> list[str]:
        if self.form is None:
            return []
        if not self.form.is_bound:
            return list(self.form.initial.get(name) or [])
        data: Any = self.form.data
        return list(data.getlist(name)) if hasattr(data, "getlist") else list(data.get(name) or [])


def scale(study: Study, chosen: str = "") -> list[Button]:
    """The answers in the order A much better … equally good … B much better, with the digits as keys."""
    words = STRENGTHS[study.strengths]
    ends = [("" if len(words) == 1 else str(strength), word) for strength, word in enumerate(words, start=1)]
    answers = [
        *((f"a{strength}", "A", word) for strength, word in reversed(ends)),
        ("tie", "", TIE),
        *((f"b{strength}", "B", word) for strength, word in ends),
    ]
    return [
        Button(value, letter, word, str(place), value == chosen)
        for place, (value, letter, word) in enumerate(answers, start=1)
    ]


def others(chosen: str = "") -> list[Button]:
    return [Button(value, "", words, key, value == chosen) for value, (words, key) in OTHERS.items()]


def criteria(study: Study, given: Given) -> list[Criterion]:
    """The criteria that the study asks, in its order, with the definitions that raters read in full."""
    return [
        Criterion(key, *CRITERIA[key], choices=marked(sides(), [given.one(f"criterion_{key}")]))
        for key in study.criteria
    ]


def sides() -> list[tuple[str, Words]]:
    return [("a", _("A")), ("tie", _("equal")), ("b", _("B")), ("both_bad", _("both bad"))]


def tags(study: Study, given: Given) -> list[Option]:
    return marked(((tag, tag) for tag in study.reason_tags), given.many("tags"))


def predictions(options: Iterable[str], given: Given) -> list[Option]:
    """The problem's options, to say which of them the model gave as its answer."""
    return marked(((str(index), str(text)) for index, text in enumerate(options)), [given.one("prediction")])


def marked(options: Iterable[tuple[str, Words]], chosen: list[str]) -> list[Option]:
    return [Option(value, label, value in chosen) for value, label in options]


def problems(form: Form | None, study: Study) -> list[Problem]:
    """What is wrong, field by field, each with the part of the page to go to."""
    if form is None or not form.is_bound:
        return []
    names: dict[str, Words] = {
        "choice": _("Your answer"),
        "reason": _("Your reason"),
        "tags": _("Reasons"),
        "prediction": _("Your prediction"),
        "spans": _("Marked passages"),
    }
    names |= {f"criterion_{key}": CRITERIA[key][0] for key in study.criteria}
    targets = {"choice": "choices", "spans": "title-A"}
    return [
        Problem(targets.get(field, field) if field in names else "", names.get(field, ""), str(message))
        for field, messages in form.errors.items()
        for message in messages
    ]
