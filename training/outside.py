"""Scores that were made elsewhere, such as by a whole reward model, through the same gate as a head.

They are judged and never put into use: a worker scores by a head, on features that it has at hand anyway.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inference import worker
from inference.core.features import Text
from studies.models import Study
from training import attempts
from training.attempts import RefusedError
from training.core import gate
from training.core.data import Pairs, split
from training.core.fit import Tell, silent
from training.core.gate import Contender, GateReport
from training.models import Attempt
from training.retraining import Data, Wanted, gather, head_in_use


def judge_scores(path: Path, studies: Sequence[Study], by: str, tell: Tell = silent, seed: int = 0) -> GateReport:
    """Judge the scores in `path`, {"id", "score"} a line by explanation, against the head in use.

    Logged as an attempt, since these held-out problems have then been used once more. Raises RefusedError for a file
    that is not as it should be, a held-out explanation without a score, or while a retraining runs.
    """
    with attempts.attempt(Attempt.Trigger.COMMAND, by) as held:
        told = attempts.telling(held, tell)
        known = read_scores(path)
        data = gather(Wanted(by=by, studies=tuple(studies)))
        pairs = data.material.pairs(data.model, worker.feature_cache(data.model), told)
        held_out = split(pairs, data.material.held_out)[1]
        scores = scores_of(known, data.material.texts, held_out, path)
        told("judging on held-out problems", 0.95)
        report = judged(data, held_out, Contender(path.name, lambda pairs: pairs.difference(scores)), held, seed)
        attempts.end(held, Attempt.Outcome.DRY, f"Scores in {path.name} would be: {report.verdict}. {report.reason}")
    return report


def judged(data: Data, held_out: Pairs, new: Contender, held: Attempt, seed: int) -> GateReport:
    current = head_in_use(data)
    used_before = attempts.used_before(held, data.held_out_sha256)
    in_use = gate.by_head(current, f"{current.name} (in use)")
    slices = data.material.held_out_slices()
    try:
        return gate.judge(new, in_use, held_out, slices=slices, used_before=used_before, seed=seed)
    except ValueError as error:
        raise RefusedError(str(error)) from error


def read_scores(path: Path) -> dict[str, float]:
    """Scores by id. Raises RefusedError, with the line, for anything else than {"id", "score"}."""
    found: dict[str, float] = {}
    try:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            name, score = parsed(line, f"{path}, line {number}")
            if name in found:
                raise RefusedError(f"{path}, line {number}: id {name!r} has a score already; give each text one.")
            found[name] = score
    except (OSError, UnicodeDecodeError) as error:
        raise RefusedError(f"{path} cannot be read: {error}") from error
    return found


def parsed(line: str, where: str) -> tuple[str, float]:
    try:
        row: Any = json.loads(line)
        name, score = str(row["id"]), float(row["score"])
    except (ValueError, KeyError, TypeError) as error:
        raise RefusedError(f'{where}: {line[:80]!r} is not {{"id": explanation, "score": number}}.') from error
    if not math.isfinite(score):
        raise RefusedError(f"{where}: the score is {score}; it has to be a finite number.")
    return name, score


def scores_of(known: dict[str, float], texts: Sequence[Text], held_out: Pairs, path: Path) -> Tensor:
    """Scores [M] of the texts, 0 for those on training problems that have none. Raises RefusedError for others."""
    needed = set(torch.cat([held_out.first, held_out.second]).tolist())
    missing = [texts[at].id for at in sorted(needed) if texts[at].id not in known]
    if missing:
        raise RefusedError(
            f"{path} has no score for {len(missing)} of {len(needed)} explanations of held-out problems, such as "
            f"{', '.join(missing[:3])}. Score all of a study's explanations, under their own numbers."
        )
    return torch.tensor([known.get(text.id, 0.0) for text in texts])
