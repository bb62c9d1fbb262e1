"""What raters prefer, as rows for other tools: TRL's two preference formats, Arena's battles, and a plain table.

Only what raters stand by now is here, never what was taken back or replaced. Raters are pseudonyms; their reasons,
in which people name themselves and others, stay in the study's own export.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import F
from django.utils.crypto import salted_hmac

from studies.models import Judgement, Study

Row = dict[str, Any]
DROP, SPLIT, SOFT = "drop", "split", "soft"
TIES = {
    DROP: "left out",
    SPLIT: "written twice, once each way round, with weight 0.5",
    SOFT: "written once with tie set, in the order first, second, which then means nothing",
}
CHUNK = 500
COMPARED = "assignment__comparison__"
OWN = ("pk", "choice", "strength", "criteria", "judged_at")
RELATED = {
    "study": f"{COMPARED}study__slug",
    "problem_set": f"{COMPARED}problem__problem_set__slug",
    "key": f"{COMPARED}problem__key",
    "kind": f"{COMPARED}problem__kind",
    "question": f"{COMPARED}problem__question",
    "answer": f"{COMPARED}first__trace__answer_text",
    "first_arm": f"{COMPARED}first_arm__name",
    "second_arm": f"{COMPARED}second_arm__name",
    "first_id": f"{COMPARED}first_id",
    "second_id": f"{COMPARED}second_id",
    "first_text": f"{COMPARED}first__text",
    "second_text": f"{COMPARED}second__text",
    "first_on_left": "assignment__first_on_left",
    "rater": "assignment__rater__public_id",
    "selection": f"{COMPARED}selection",
}
AS_THEY_ARE = ("study", "kind", "question", "answer", "choice", "strength", "criteria", "selection", "judged_at")


@dataclass(frozen=True)
class Shown:
    """One of the two explanations of a judgement."""

    arm: str
    id: int
    text: str
    on_left: bool


@dataclass(frozen=True)
class Preference:
    """One judgement with all that it is about. `choice` is first, second, tie or both_bad."""

    judgement: int
    study: str
    problem: str
    kind: str
    question: str
    answer: str
    first: Shown
    second: Shown
    choice: str
    strength: int | None
    criteria: dict[str, str]
    rater: str
    selection: str
    judged_at: datetime

    @property
    def decided(self) -> bool:
        return self.choice in ("first", "second")

    @property
    def prompt(self) -> str:
        return f"{self.question}\nAnswer: {self.answer}\nExplanation:"


def preferences(studies: list[Study]) -> Iterator[Preference]:
    """The current judgements of `studies` in the order they were given in, a few hundred in memory at a time."""
    rows = judged(studies).order_by("pk").values(*OWN, **{name: F(path) for name, path in RELATED.items()})
    for row in rows.iterator(chunk_size=CHUNK):
        yield preference(row)


def judged(studies: list[Study]) -> Any:
    return Judgement.objects.comparing().filter(assignment__comparison__study__in=studies)


def preference(row: Row) -> Preference:
    return Preference(
        judgement=row["pk"],
        problem=f"{row['problem_set']}/{row['key']}",
        first=Shown(row["first_arm"], row["first_id"], row["first_text"], row["first_on_left"]),
        second=Shown(row["second_arm"], row["second_id"], row["second_text"], not row["first_on_left"]),
        rater=pseudonym(row["rater"]),
        **{name: row[name] for name in AS_THEY_ARE},
    )


def pseudonym(rater: UUID) -> str:
    """The same rater has the same name in every export of this installation; only its SECRET_KEY leads back."""
    return salted_hmac("studies.preferences", str(rater), algorithm="sha256").hexdigest()[:16]


def common(given: Preference) -> Row:
    """What every row of JSON lines carries. Each key has one type: `datasets` guesses it from the first rows."""
    return {
        "problem": given.problem,
        "question": given.question,
        "answer": given.answer,
        "rater": given.rater,
        "strength": given.strength or 0,
        "criteria": json.dumps(given.criteria, sort_keys=True),
        "selection": given.selection,
        "study": given.study,
        "kind": given.kind,
        "judgement": given.judgement,
        "judged_at": given.judged_at.isoformat(),
    }


def trl_rows(given: Preference, ties: str, conversational: bool = False) -> list[Row]:
    """TRL's preference format: `prompt`, `chosen`, `rejected`. "Both bad" is a tie here."""
    first, second = given.first, given.second
    if given.decided:
        first_won = given.choice == "first"
        return [trl_row(given, *((first, second) if first_won else (second, first)), 1.0, conversational)]
    if ties == DROP:
        return []
    if ties == SOFT:
        return [trl_row(given, first, second, 1.0, conversational)]
    ways = ((first, second), (second, first))
    return [trl_row(given, chosen, rejected, 0.5, conversational) for chosen, rejected in ways]


def trl_row(given: Preference, chosen: Shown, rejected: Shown, weight: float, conversational: bool) -> Row:
    return {
        "prompt": said("user", given.prompt, conversational),
        "chosen": said("assistant", f" {chosen.text.strip()}", conversational),
        "rejected": said("assistant", f" {rejected.text.strip()}", conversational),
        "tie": not given.decided,
        "both_bad": given.choice == "both_bad",
        "weight": weight,
        "chosen_id": chosen.id,
        "rejected_id": rejected.id,
        "chosen_arm": chosen.arm,
        "rejected_arm": rejected.arm,
        "chosen_on_left": chosen.on_left,
        **common(given),
    }


def said(role: str, text: str, conversational: bool = True) -> Any:
    return [{"role": role, "content": text.strip()}] if conversational else text


def unpaired_rows(given: Preference, ties: str, conversational: bool = False) -> list[Row]:
    """TRL's unpaired format: `prompt`, `completion`, `label`. "Both bad" is two bad ones, whatever `ties` says."""
    if given.choice == "both_bad":
        labels = [(given.first, False, 1.0), (given.second, False, 1.0)]
    elif given.decided:
        labels = [(given.first, given.choice == "first", 1.0), (given.second, given.choice == "second", 1.0)]
    elif ties == DROP:
        labels = []
    else:
        labels = [(shown, label, 0.5) for label in (True, False) for shown in (given.first, given.second)]
    return [unpaired_row(given, *label, conversational) for label in labels]


def unpaired_row(given: Preference, shown: Shown, label: bool, weight: float, conversational: bool) -> Row:
    return {
        "prompt": said("user", given.prompt, conversational),
        "completion": said("assistant", f" {shown.text.strip()}", conversational),
        "label": label,
        "tie": given.choice == "tie",
        "both_bad": given.choice == "both_bad",
        "weight": weight,
        "id": shown.id,
        "arm": shown.arm,
        "on_left": shown.on_left,
        **common(given),
    }


def arena_row(given: Preference) -> Row:
    """A battle as the Chatbot Arena publishes them: a was on the left, `winner` says what the rater chose."""
    a, b = (given.first, given.second) if given.first.on_left else (given.second, given.first)
    words = {"tie": "tie", "both_bad": "tie (bothbad)"}
    won = "model_a" if (given.choice == "first") == given.first.on_left else "model_b"
    return {
        "question_id": given.problem,
        "model_a": a.arm,
        "model_b": b.arm,
        "winner": words.get(given.choice, won),
        "judge": given.rater,
        "turn": 1,
        "anony": True,
        "tstamp": given.judged_at.timestamp(),
        "conversation_a": [*said("user", given.prompt), *said("assistant", a.text)],
        "conversation_b": [*said("user", given.prompt), *said("assistant", b.text)],
        "id_a": a.id,
        "id_b": b.id,
        **common(given),
    }


def table_row(given: Preference) -> Row:
    """One judgement in one row, nothing left out and nothing rearranged: for CSV and Parquet."""
    shown = {"first": given.first, "second": given.second}
    sides = {f"{name}_{what}": getattr(one, what) for what in ("arm", "id", "text") for name, one in shown.items()}
    return {
        **sides,
        "first_on_left": given.first.on_left,
        "choice": given.choice,
        **common(given),
        "strength": given.strength,
        "judged_at": given.judged_at,
    }
