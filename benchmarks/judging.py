"""SQL queries and time of one comparison, handed out and judged through the real pages, at two sizes of a study.

    python benchmarks/judging.py [--sizes 100 100000] [--json FILE]

Runs on a throw-away SQLite database, or on the one that DATABASE_URL names.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 20
BATCH = 2000
GOAL = 15  # queries, the same at every size
TRANSACTION = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE")  # not counted: they touch no rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 100_000])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        set_up(folder)
        found = [measure(size) for size in arguments.sizes]
    report(found)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")
    counts = {row["queries_most"] for row in found}
    sys.exit(len(counts) > 1 or max(counts) > GOAL)


def set_up(folder: str) -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    os.environ |= {"DJANGO_SETTINGS_MODULE": "sage_web.settings", "VAR_DIR": folder, "DEBUG": "0", "REDIS_URL": ""}
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command
    from django.test.utils import setup_test_environment

    settings.STORAGES["staticfiles"]["BACKEND"] = "django.contrib.staticfiles.storage.StaticFilesStorage"
    setup_test_environment()
    call_command("migrate", verbosity=0)


def measure(size: int) -> dict[str, float]:
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    study = big_study(size)
    client = Client()
    client.post(f"/r/{study.token}/")
    study.raters.update(start=0)  # else a rater who begins near the end sees the order wrap round: one query more
    counts, seconds = [], []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        with CaptureQueriesContext(connection) as queries:
            page = client.get(f"/r/{study.token}/compare/")
            assignment = page.context["assignment"]
            answer = {"choice": "a", "revision": page.context["revision"], "reason": ""}
            answered = client.post(f"/r/{study.token}/judge/{assignment.public_id}/", answer)
        seconds.append(time.perf_counter() - started)
        counts.append(sum(not query["sql"].startswith(TRANSACTION) for query in queries))
        assert answered.status_code == 302, answered.content
    return {
        "comparisons": size,
        "queries_most": max(counts),
        "queries_least": min(counts),
        "milliseconds_median": round(1000 * statistics.median(seconds), 1),
    }


def big_study(size: int):  # type: ignore[no-untyped-def]  # the models can only be imported after setup
    from django.utils import timezone

    from inference.models import Explainer, Explanation, Problem, ProblemSet, Trace
    from studies.models import Arm, Comparison, Study

    now = timezone.now()
    some = ProblemSet.objects.create(slug=f"bench-{size}", name="Benchmark")
    study = Study.objects.create(
        slug=f"bench-{size}", title="Benchmark", problem_set=some, launched_at=now, rater_limit=ROUNDS + 1
    )
    arms = [make_arm(Arm, Explainer, study, method) for method in ("chain", "self_explain")]
    for start in range(0, size, BATCH):
        places = range(start, min(start + BATCH, size))
        problems = Problem.objects.bulk_create(
            Problem(problem_set=some, key=str(i), position=i, kind="maths", question="1 + 1?", options=["2", "3"])
            for i in places
        )
        traces = Trace.objects.bulk_create(
            Trace(problem=p, model="m", max_new_tokens=9, made_at=now, chain="1 + 1 = 2.", answer_text="2")
            for p in problems
        )
        texts = Explanation.objects.bulk_create(
            Explanation(trace=t, explainer=arm.explainer, made_at=now, text="Because.")
            for t in traces
            for arm in arms
        )
        Comparison.objects.bulk_create(
            Comparison(
                study=study,
                problem=problem,
                first_arm=arms[0],
                second_arm=arms[1],
                first=texts[2 * i],
                second=texts[2 * i + 1],
                position=start + i,
                wanted=5,
            )
            for i, problem in enumerate(problems)
        )
    return study


def make_arm(arm, explainer, study, method: str):  # type: ignore[no-untyped-def]
    made, _ = explainer.objects.get_or_create(name=method.replace("_", "-"), defaults={"method": method})
    return arm.objects.create(study=study, name=made.name, explainer=made)


def report(found: list[dict[str, float]]) -> None:
    print(f"{'comparisons':>12} {'SQL queries':>12} {'median ms':>10}")
    for row in found:
        print(f"{row['comparisons']:>12,} {row['queries_most']:>12} {row['milliseconds_median']:>10}")
    print(f"for showing one comparison and taking its answer; goal: at most {GOAL} queries, the same at every size")


if __name__ == "__main__":
    main()
