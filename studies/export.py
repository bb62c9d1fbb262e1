"""Judgements as tidy rows: one line each, every revision, current ones marked."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

from django.db.models import BooleanField, Exists, ExpressionWrapper, OuterRef, Q

from studies.models import Judgement, Study

COLUMNS = (
    "judgement",
    "revision",
    "current",
    "study",
    "problem",
    "kind",
    "model_answer",
    "first_arm",
    "second_arm",
    "first_explanation",
    "second_explanation",
    "first_head",
    "second_head",
    "rater",
    "left_arm",
    "choice",
    "preferred_arm",
    "strength",
    "criteria",
    "reason",
    "seconds",
    "judged_at",
)


SHOWN = "assignment__comparison"
LARGE = (
    f"{SHOWN}__first__trace__record",
    f"{SHOWN}__first__trace__prompt",
    f"{SHOWN}__first__evidence",
    f"{SHOWN}__second__evidence",
)
"""What an export line has no use for, and what would make it slow."""


def csv_lines(study: Study) -> Iterator[str]:
    """The export as CSV lines, header first. Every answer is there, also replaced and undone ones."""
    yield line(COLUMNS)
    for judgement in judgements(study).iterator(chunk_size=2000):
        yield line(tidy(judgement).values())


def judgements(study: Study) -> Any:
    later = Judgement.objects.filter(assignment=OuterRef("assignment"), revision__gt=OuterRef("revision"))
    rows = (
        Judgement.objects.filter(assignment__comparison__study=study)
        .select_related(
            "assignment__comparison__study",
            "assignment__comparison__problem",
            "assignment__comparison__first_arm",
            "assignment__comparison__second_arm",
            "assignment__comparison__first__trace",
            "assignment__comparison__first__head_version",
            "assignment__comparison__second__head_version",
        )
        .defer(*LARGE)
    )
    stands = ~Exists(later) & ~Q(choice=Judgement.Choice.UNDONE)
    return rows.annotate(is_current=ExpressionWrapper(stands, BooleanField())).order_by("pk")


def tidy(judgement: Any) -> dict[str, Any]:
    shown = judgement.assignment
    comparison = shown.comparison
    arms = {"first": comparison.first_arm.name, "second": comparison.second_arm.name}
    values = (
        judgement.pk,
        judgement.revision,
        judgement.is_current,
        comparison.study.slug,
        comparison.problem.key,
        comparison.problem.kind,
        comparison.first.trace.answer_text,
        arms["first"],
        arms["second"],
        comparison.first_id,
        comparison.second_id,
        head_number(comparison.first),
        head_number(comparison.second),
        shown.rater_id,
        arms["first" if shown.first_on_left else "second"],
        judgement.choice,
        arms.get(judgement.choice, ""),
        judgement.strength,
        json.dumps(judgement.criteria, sort_keys=True) if judgement.criteria else "",
        judgement.reason,
        judgement.seconds,
        judgement.judged_at.isoformat(),
    )
    return dict(zip(COLUMNS, values, strict=True))


def head_number(explanation: Any) -> int | str:
    return explanation.head_version.number if explanation.head_version else ""


def line(values: Any) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerow([harmless(value) for value in values])
    return buffer.getvalue()


def harmless(value: Any) -> Any:
    """Text that a spreadsheet would run as a formula gets a leading apostrophe."""
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r" and value else value
