"""SQL queries and time of one answer and the next comparison, through the real pages, by the size of the study."""

from __future__ import annotations

import re
import statistics
import time
from typing import Any

from parts import studies

TRANSACTION = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE", "ROLLBACK")  # not counted: they touch no rows
RATERS, ANSWERS = 6, 40
LEFT = 1000  # comparisons that a nearly full study still wants
ANSWER = {"choice": "a1", "seconds": "9", "active_seconds": "8"}


def measure(sizes: list[int]) -> list[dict[str, Any]]:
    """One row per size, and one for the largest when it is nearly full."""
    rows = []
    for size in sizes:
        study = studies.make_study(size, wanted=RATERS + 1, rater_limit=min(ANSWERS + 1, size))
        rows.append({"comparisons": size, "state": "new"} | played(study, min(ANSWERS, size - 1)))
        if size == max(sizes) and size > 10 * LEFT:
            studies.nearly_fill(study, LEFT)
            rows.append({"comparisons": size, "state": "nearly full"} | played(study, ANSWERS))
    return rows


def played(study: Any, answers: int) -> dict[str, Any]:
    counts, whole, assigning = [], [], []
    for _ in range(RATERS):
        for queries, seconds, assigned in rated(study, answers):
            counts.append(queries)
            whole.append(1000 * seconds)
            assigning.append(1000 * assigned)
    return {
        "queries_most": max(counts),
        "queries_least": min(counts),
        "page_ms_median": round(statistics.median(whole), 2),
        "page_ms_p95": round(p95(whole), 2),
        "assign_ms_median": round(statistics.median(assigning), 2),
        "assign_ms_p95": round(p95(assigning), 2),
        "samples": len(whole),
    }


def rated(study: Any, answers: int) -> Any:
    """For each answer of one rater: queries, seconds for sending it and getting the next page, and of these the
    seconds that handing out took.
    """
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    from studies import assignment

    client, spent = Client(), []
    hand_out = assignment.next_for

    def timed(*arguments: Any, **named: Any) -> Any:
        started = time.perf_counter()
        given = hand_out(*arguments, **named)
        spent.append(time.perf_counter() - started)
        return given

    assignment.next_for = timed
    try:
        client.post(f"/r/{study.token}/")
        client.post(f"/r/{study.token}/instructions/")
        page = client.get(f"/r/{study.token}/compare/")
        for _ in range(answers):
            action, fields = form_of(page.content.decode())
            started = time.perf_counter()
            with CaptureQueriesContext(connection) as queries:
                page = client.post(action, fields | ANSWER, follow=True)
            seconds = time.perf_counter() - started
            assert page.status_code == 200, page.content
            yield sum(not query["sql"].startswith(TRANSACTION) for query in queries), seconds, spent[-1]
    finally:
        assignment.next_for = hand_out


def form_of(html: str) -> tuple[str, dict[str, str]]:
    """The address and the hidden fields of a page's answer form."""
    found = re.search(r'<form id="answer".*?action="([^"]+)".*?</form>', html, re.DOTALL)
    assert found, "there is no answer form on the page"
    return found[1], dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', found[0]))


def p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1] if len(values) > 1 else values[0]
