"""The judgements of one training run: frozen as canonical JSON lines, named by their hash, split by problem."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from django.conf import settings

from studies.models import Judgement, Study

LEAST_JUDGEMENTS = 40
LEAST_HELD_OUT_PROBLEMS = 2
LEAST_TRAINING_PROBLEMS = 4
HELD_OUT_SHARE = 0.3
SALT = "held-out/2"


class TooLittleDataError(Exception):
    """There is not enough to train and to test on. Says how much is missing."""


@dataclass(frozen=True)
class Row:
    """One judgement as the training sees it. Raters are numbers that mean nothing outside the study."""

    judgement: int
    rater: int
    problem: str
    first: int  # explanation ids
    second: int
    choice: str


@dataclass(frozen=True)
class Snapshot:
    rows: tuple[Row, ...]

    def lines(self) -> str:
        return "".join(json.dumps(asdict(row), sort_keys=True) + "\n" for row in self.rows)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.lines().encode()).hexdigest()

    def save(self) -> Path:
        folder = Path(settings.VAR_DIR) / "snapshots"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.sha256}.jsonl"
        path.write_text(self.lines())
        return path


def take(study: Study) -> Snapshot:
    """The study's current judgements, by id. Raises TooLittleDataError."""
    judged = Judgement.objects.comparing().filter(assignment__comparison__study=study).order_by("pk")
    fields = (
        "pk",
        "assignment__rater_id",
        "assignment__comparison__problem__problem_set__slug",
        "assignment__comparison__problem__key",
        "assignment__comparison__first_id",
        "assignment__comparison__second_id",
        "choice",
    )
    rows = tuple(
        Row(pk, rater, f"{slug}/{key}", first, second, choice)
        for pk, rater, slug, key, first, second, choice in judged.values_list(*fields)
    )
    check(study, rows)
    return Snapshot(rows)


def check(study: Study, rows: tuple[Row, ...]) -> None:
    missing = LEAST_JUDGEMENTS - len(rows)
    if missing > 0:
        raise TooLittleDataError(
            f"{study} has {len(rows)} judgements, training needs {LEAST_JUDGEMENTS}: {missing} are missing."
        )
    problems = {row.problem for row in rows}
    testing = sum(held_out(problem) for problem in problems)
    training = len(problems) - testing
    if testing < LEAST_HELD_OUT_PROBLEMS or training < LEAST_TRAINING_PROBLEMS:
        raise TooLittleDataError(
            f"{study} has judgements on {training} training and {testing} held-out problems; training needs at least "
            f"{LEAST_TRAINING_PROBLEMS} and {LEAST_HELD_OUT_PROBLEMS}. Collect judgements on more problems."
        )


def held_out(problem: str) -> bool:
    """Whether a problem is for testing. Decided by a salted hash of its name alone, so it never changes sides."""
    digest = hashlib.sha256(f"{SALT}/{problem}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < HELD_OUT_SHARE
