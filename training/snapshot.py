"""The judgements of one training run: frozen as canonical JSON lines and named by their hash.

A snapshot holds choices and where they belong, not the texts: these are rows that never change, or files that are
named by their own hash. Raters are pseudonyms, which only this installation's SECRET_KEY leads back from.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.models import Explanation
from studies.models import Study
from studies.preferences import Preference, preferences


@dataclass(frozen=True)
class Snapshot:
    """`studied` are judgements from studies, by id; `filed` are lines of pairs from files, in their order there."""

    studied: tuple[Preference, ...]
    heads: dict[int, int | None]  # explanation id -> number of the head that made it
    filed: tuple[dict[str, Any], ...] = ()

    @property
    def judgement_ids(self) -> list[int]:
        return [row.judgement for row in self.studied]

    def lines(self) -> Iterable[str]:
        for row in self.studied:
            yield line(as_json(row, self.heads))
        for pair in self.filed:
            yield line(pair)

    @property
    def sha256(self) -> str:
        digest = hashlib.sha256()
        for text in self.lines():
            digest.update(text.encode())
        return digest.hexdigest()

    def save(self, folder: Path) -> Path:
        """Write the snapshot into `folder`, a head's own, under its hash: complete or not at all."""
        path = folder / f"snapshot-{self.sha256}.jsonl"
        partial = path.with_suffix(f".{os.getpid()}.partial")
        try:
            partial.write_text("".join(self.lines()))
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        return path


def line(row: dict[str, Any]) -> str:
    """One row as the only JSON text that it can be."""
    return json.dumps(row, sort_keys=True, ensure_ascii=False, separators=(",", ":")) + "\n"


def as_json(row: Preference, heads: dict[int, int | None]) -> dict[str, Any]:
    """One judgement. `first` and `second` are explanation ids, and their heads those that chose them."""
    return {
        "judgement": row.judgement,
        "study": row.study,
        "rater": row.rater,
        "problem": row.problem,
        "kind": row.kind,
        "first": row.first.id,
        "second": row.second.id,
        "first_arm": row.first.arm,
        "second_arm": row.second.arm,
        "first_head": heads[row.first.id],
        "second_head": heads[row.second.id],
        "first_on_left": row.first.on_left,
        "choice": row.choice,
        "strength": row.strength,
        "criteria": row.criteria,
        "selection": row.selection,
    }


def take(studies: Sequence[Study], filed: Sequence[dict[str, Any]] = ()) -> Snapshot:
    """What the raters of `studies` stand by now, by id, and the pairs of files."""
    studied = tuple(preferences(list(studies)))
    return Snapshot(studied, heads_of(studies), tuple(filed))


def heads_of(studies: Sequence[Study]) -> dict[int, int | None]:
    found: dict[int, int | None] = {}
    for study in studies:
        found |= dict(study.explanations().values_list("pk", "head_version__number"))
    return found


def models_of(studies: Sequence[Study]) -> set[tuple[str, str]]:
    """The models, with their revisions, whose explanations the studies compare."""
    explanations = [study.explanations().values("pk") for study in studies]
    found: set[tuple[str, str]] = set()
    for own in explanations:
        traces = Explanation.objects.filter(pk__in=own).values_list("trace__model", "trace__revision")
        found |= set(traces.order_by().distinct())
    return found


def digest_of(names: Iterable[str]) -> str:
    """One hash for a set of names, such as the held-out problems."""
    return hashlib.sha256("\n".join(sorted(set(names))).encode()).hexdigest()
