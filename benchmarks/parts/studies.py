"""Studies of any size for benchmarks: one comparison made by the ORM, the others copied inside the database."""

from __future__ import annotations

from typing import Any

CHAIN = "Step 1: Add one and one.\nStep 2: One and one make two.\nStep 3: So the answer is 2."
TEXTS = ("The answer hangs on step 2. When it was written anew, 4 of 6 runs ended with another answer.", CHAIN)


def make_study(size: int, wanted: int = 5, **fields: Any) -> Any:
    """A launched study of `size` comparisons, everything ready; `size` from 1 to some millions."""
    from django.utils import timezone

    from inference.models import Explainer, Explanation, Problem, ProblemSet, Trace
    from studies.models import Arm, Comparison, Study

    now, slug = timezone.now(), fields.pop("slug", f"bench-{size}")
    some = ProblemSet.objects.create(slug=slug, name="Benchmark")
    study = Study.objects.create(
        slug=slug, title="Benchmark", problem_set=some, launched_at=now, chain_shown=False, **fields
    )
    explainers = [
        Explainer.objects.get_or_create(name=name.replace("_", "-"), defaults={"method": name})[0]
        for name in ("inverse", "chain")
    ]
    arms = [Arm.objects.create(study=study, name=one.name, explainer=one) for one in explainers]
    problem = Problem.objects.create(
        problem_set=some, key="0", position=0, kind="maths", question="What is 1 + 1?", options=["2", "3"]
    )
    steps = [{"index": index, "text": text} for index, text in enumerate(CHAIN.split("\n"))]
    trace = Trace.objects.create(
        problem=problem, model="m", max_new_tokens=9, made_at=now, chain=CHAIN, answer_index=0, answer_text="2",
        record={"steps": steps},
    )  # fmt: skip
    first, second = (
        Explanation.objects.create(trace=trace, explainer=one, made_at=now, text=text)
        for one, text in zip(explainers, TEXTS, strict=True)
    )
    shown = {"first_arm": arms[0], "second_arm": arms[1], "first": first, "second": second}
    comparison = Comparison.objects.create(study=study, problem=problem, position=0, wanted=wanted, **shown)
    multiply(problem, trace, first, second, comparison, size - 1)
    return study


def multiply(problem: Any, trace: Any, first: Any, second: Any, comparison: Any, copies: int) -> None:
    """As many more comparisons, each with a problem, a trace and two explanations of its own."""
    p, t, c = (f"{row.pk} + n.i" for row in (problem, trace, comparison))
    a, b = f"{first.pk} + 2 * n.i", f"{second.pk} + 2 * n.i"
    copy(problem, {"id": p, "key": "CAST(n.i AS VARCHAR(20))", "position": "n.i"}, copies)
    copy(trace, {"id": t, "problem_id": p}, copies)
    copy(first, {"id": a, "trace_id": t}, copies)
    copy(second, {"id": b, "trace_id": t}, copies)
    copy(comparison, {"id": c, "problem_id": p, "first_id": a, "second_id": b, "position": "n.i"}, copies)
    tidy_up([problem, trace, first, comparison])


def copy(row: Any, changed: dict[str, str], copies: int) -> None:
    """`copies` of a row; `changed` are SQL expressions for columns, in which n.i runs from 1."""
    from django.db import connection

    series = {
        "postgresql": f"SELECT i FROM generate_series(1, {copies}) AS i",
        "sqlite": f"WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < {copies}) "
        "SELECT i FROM s",
    }[connection.vendor]
    if copies < 1:
        return
    columns = [field.column for field in row._meta.concrete_fields]
    values = ", ".join(changed.get(column, f't."{column}"') for column in columns)
    names, table = ", ".join(f'"{column}"' for column in columns), row._meta.db_table
    with connection.constraint_checks_disabled(), connection.cursor() as cursor:
        cursor.execute(
            f'INSERT INTO "{table}" ({names}) SELECT {values} FROM "{table}" t, ({series}) n WHERE t.id = %s',
            [row.pk],
        )


def tidy_up(rows: list[Any]) -> None:
    """Sequences go on after the copies, and the planner knows how many there are."""
    from django.core.management.color import no_style
    from django.db import connection

    with connection.cursor() as cursor:
        for sql in connection.ops.sequence_reset_sql(no_style(), [type(row) for row in rows]):
            cursor.execute(sql)
        cursor.execute("VACUUM ANALYZE" if connection.vendor == "postgresql" else "ANALYZE")
        if connection.vendor == "postgresql":
            cursor.execute("CHECKPOINT")  # else the fill is written to the disk while answers are timed


def nearly_fill(study: Any, left: int) -> None:
    """All places taken but those of `left` comparisons, evenly spread."""
    from django.db.models import F
    from django.db.models.functions import Mod

    every = max(study.comparisons.count() // left, 1)
    rest = study.comparisons.annotate(rest=Mod("position", every)).exclude(rest=0)
    rest.update(taken=F("wanted"))
    tidy_up([])
