"""Problem files become problem sets. What is in a file, says `inference.core.problem_files`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from django.db import transaction

from inference.core.problem_files import ParsedProblem
from inference.models import Problem, ProblemSet

STARTER = Path(__file__).parent / "starter" / "starter.jsonl"


@transaction.atomic
def store(slug: str, name: str, source: str, problems: Sequence[ParsedProblem]) -> ProblemSet:
    """The problem set `slug` that holds exactly these problems, in this order.

    An earlier version with the same problems is returned as it is. Otherwise they become the next version, all
    or none. Raises django's ValidationError where slug, name or source do not fit, ValueError without problems.
    """
    if not problems:
        raise ValueError("A problem set needs at least one problem.")
    versions = list(ProblemSet.objects.select_for_update().filter(slug=slug).order_by("-version"))
    for version in versions:
        if stored(version) == list(problems):
            return version
    number = versions[0].version + 1 if versions else 1
    problem_set = ProblemSet(slug=slug, version=number, name=name, source=source)
    problem_set.full_clean()
    problem_set.save()
    Problem.objects.bulk_create(
        [
            Problem(
                problem_set=problem_set,
                key=problem.key,
                position=position,
                kind=problem.kind,
                question=problem.question,
                asks=problem.asks,
                options=list(problem.options),
                gold=problem.gold,
                gold_text=problem.gold_text,
            )
            for position, problem in enumerate(problems)
        ],
        batch_size=500,
    )
    return problem_set


def stored(problem_set: ProblemSet) -> list[ParsedProblem]:
    rows = problem_set.problems.order_by("position")
    return [
        ParsedProblem(row.key, row.kind, row.question, tuple(row.options), row.gold, row.asks, row.gold_text)
        for row in rows
    ]
