"""What a study's protocol must be before it can run: parts that contradict each other, or lack something."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

from django.core.exceptions import ValidationError
from django.utils import timezone

from studies import panels
from studies.models import CheckItem, Study

MOST_TAGS, LONGEST_TAG = 20, 100

Fault = tuple[str, str]
"""The field that a fault is best put right in, and what is wrong."""


def faults(study: Study, at: datetime | None = None) -> list[Fault]:
    """Everything that keeps this study, as it is filled in, from running. Looks at its fields alone."""
    rules: tuple[Callable[[Study], Iterator[Fault]], ...] = (of_panel, of_return, of_order, of_tags)
    found = [fault for rule in rules for fault in rule(study)]
    if study.review_until and study.review_until <= (at or timezone.now()):
        found.append(("review_until", "This moment has passed. Choose a later one, or leave it empty."))
    return found


def of_panel(study: Study) -> Iterator[Fault]:
    codes = (study.code_complete, study.code_screened_out, study.code_refused, study.code_failed_checks)
    if study.panel == Study.Panel.NONE and (study.return_url or any(codes)):
        yield "panel", "A return address or a completion code is filled in: choose the panel that they are for."
    if study.panel != Study.Panel.NONE and study.invited_only:
        yield "invited_only", "A panel sends people by the common link, which this closes. Choose one of the two."
    if study.panel == Study.Panel.OTHER and not study.return_url:
        yield "return_url", "Say where this panel's raters are sent at the end."


def of_return(study: Study) -> Iterator[Fault]:
    if study.return_url:
        try:
            panels.valid_return_url(study.return_url)
        except ValidationError as error:
            yield "return_url", error.messages[0]
    asked = study.panel == Study.Panel.PROLIFIC if not study.return_url else "{code}" in study.return_url
    if study.panel != Study.Panel.NONE and asked:
        if not study.code_complete:
            yield "code_complete", "Raters are sent back with this code, so it is needed."
        if study.reject_failed_checks and not study.code_failed_checks:
            yield "code_failed_checks", "Failed checks end a rater's study here, so their code is needed."


def of_order(study: Study) -> Iterator[Fault]:
    if study.repeats >= study.rater_limit:
        yield (
            "repeats",
            f"{study.repeats} repeats of at most {study.rater_limit} comparisons: choose fewer repeats, so that "
            "others lie between.",
        )


def of_tags(study: Study) -> Iterator[Fault]:
    tags = study.reason_tags
    if not isinstance(tags, list) or not all(isinstance(tag, str) and tag.strip() for tag in tags):
        yield "reason_tags", 'Give a list of words in quotes, such as ["clearer", "shorter"].'
    elif len(tags) > MOST_TAGS or any(len(tag) > LONGEST_TAG for tag in tags):
        yield "reason_tags", f"At most {MOST_TAGS} reasons of at most {LONGEST_TAG} characters each."
    elif len(set(tags)) < len(tags):
        yield "reason_tags", "A reason is in the list twice."


def item_faults(study: Study, gold: int) -> Iterator[Fault]:
    """What is wrong with the number of `gold` comparisons, which are rows of their own."""
    if study.reject_failed_checks and gold < 2:
        yield (
            "reject_failed_checks",
            f"Two failed gold comparisons are to end a rater's study; the study has {gold}. "
            "Add gold comparisons, or switch this off.",
        )
    if gold > study.rater_limit:
        yield "rater_limit", f"{gold} gold comparisons among at most {study.rater_limit} others are too many."


def gold_items(study: Study) -> int:
    return study.check_items.filter(purpose=CheckItem.Purpose.GOLD).count()
