"""Judgements as tidy rows: one line each, every revision, current ones marked."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

from django.db.models import BooleanField, Exists, ExpressionWrapper, OuterRef, Q, Subquery

from studies.models import Judgement, Prediction, Study

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
    "tags",
    "spans",
    "reason",
    "number",
    "repeat",
    "prediction_before",
    "prediction_after",
    "prediction_truth",
    "seconds",
    "active_seconds",
    "first_seconds",
    "pasted",
    "viewport",
    "page_version",
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
    return rows.annotate(
        is_current=ExpressionWrapper(stands, BooleanField()),
        predicted_before=predicted("before", "option"),
        predicted_after=predicted("after", "option"),
        truth=predicted("before", "truth"),
    ).order_by("pk")


def predicted(when: str, column: str) -> Subquery:
    """Predictions belong to the comparison as this rater saw it: each revision shows the same."""
    return Subquery(
        Prediction.objects.filter(assignment=OuterRef("assignment"), when=when).values(column)[:1],
    )


def as_json(value: Any) -> str:
    """Empty for nothing, so that a column that a study does not use stays empty."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False) if value else ""


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
        as_json(judgement.criteria),
        as_json(judgement.tags),
        as_json(judgement.spans),
        judgement.reason,
        shown.number,
        shown.repeat_of_id is not None,
        judgement.predicted_before,
        judgement.predicted_after,
        judgement.truth,
        judgement.seconds,
        judgement.active_seconds,
        judgement.first_seconds,
        judgement.pasted,
        judgement.viewport,
        judgement.page_version,
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
