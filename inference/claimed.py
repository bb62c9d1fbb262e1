"""What is done with a claimed trace, whoever writes its chain: seeds tried, the chain kept, failures told."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TypeVar

from django.utils import timezone

from inference import models, queue
from inference.core.records import Problem, ReasoningError, ReasonSettings, Trace

log = logging.getLogger(__name__)

SEEDS_TRIED = 3  # chains sampled for one asking before its explanations fail

Made = TypeVar("Made")


def keep(row: models.Trace, trace: Trace, made_by: dict[str, Any]) -> None:
    row.made_at, row.prompt, row.chain = timezone.now(), trace.prompt, trace.chain
    row.answer_index, row.answer_text, row.record = trace.answer.index, trace.answer.text, trace.to_json()
    row.provenance = {**made_by, "settings": asdict(trace.settings)}
    queue.store_trace(row)


def until_answered(
    row: models.Trace,
    attempt: Callable[[Problem, ReasonSettings], Made],
    made_by: Callable[[], dict[str, Any]] = dict,
) -> tuple[Made, list[int]]:
    """What `attempt` makes with the first of SEEDS_TRIED seeds that gives a readable chain; the seeds that failed.

    Goes on where an earlier asking stopped. `made_by` is kept beside the seeds that failed. Raises ReasoningError,
    from the last seed, when no chain was readable.
    """
    failed: list[int] = row.provenance.get("failed_seeds", [])
    first = failed[-1] + 1 if failed else row.seed
    problem = Problem(row.problem.question, tuple(row.problem.options), row.problem.asks)
    for seed in range(first, first + SEEDS_TRIED):
        chosen = ReasonSettings(max_new_tokens=row.max_new_tokens, seed=seed)
        try:
            return attempt(problem, chosen), failed
        except ReasoningError as error:
            failed = [*failed, seed]
            row.provenance = {**made_by(), "failed_seeds": failed}
            queue.store_trace(row)
            if seed == first + SEEDS_TRIED - 1:
                raise ReasoningError(f"{error} (seeds {first} to {seed} tried)") from error
    raise AssertionError("unreachable: the last seed returns or raises")


def fail(row: models.Trace, explanation: models.Explanation, reason: str) -> None:
    log.warning("explanation %s failed: %s", explanation.pk, reason)
    explanation.failed_at, explanation.error = timezone.now(), reason
    queue.store_explanation(row, explanation)
