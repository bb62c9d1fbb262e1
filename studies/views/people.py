"""The people of a study, for its researchers: the signals of each rater, and personal links."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from studies import access, invites, quality
from studies.export import line
from studies.quality import Signals


def share(part: int, whole: int) -> float:
    return part / whole if whole else 2.0


# What the table can be sorted by: its heading, and what comes first.
ORDERS: dict[str, tuple[str, Callable[[Signals], Any]]] = {
    "concern": ("Look at", lambda one: -one.concern),
    "answers": ("Answers", lambda one: -one.answers),
    "gold": ("Gold failed", lambda one: -one.gold_failed),
    "repeats": ("Repeats the same", lambda one: share(one.repeats.same, one.repeats.answered)),
    "fast": ("Fast", lambda one: -(one.fast or 0)),
    "seconds": ("Median seconds", lambda one: one.seconds if one.seconds is not None else float("inf")),
    "run": ("Longest run on one side", lambda one: one.run_chance if one.run_chance is not None else 2),
    "pastes": ("Pasted", lambda one: -one.pastes),
    "released": ("Timed out", lambda one: -one.released),
}


@never_cache
@require_safe
@login_required
def raters(request: HttpRequest, slug: str) -> HttpResponse:
    """A table of signals. An unknown order is the usual one: it is only a matter of looks."""
    study = access.study_for(request.user, slug)
    chosen = request.GET.get("sort", "")
    chosen = chosen if chosen in ORDERS else "concern"
    context = {
        "study": study,
        "signals": sorted(quality.of_study(study), key=ORDERS[chosen][1]),
        "orders": [(name, heading) for name, (heading, _) in ORDERS.items()],
        "chosen": chosen,
        "withdrawn": study.raters.filter(withdrawn_at__isnull=False).count(),
    }
    return render(request, "researcher/raters.html", context)


@require_safe
@login_required
def raters_csv(request: HttpRequest, slug: str) -> StreamingHttpResponse:
    study = access.study_for(request.user, slug)
    rows = (quality.columns_of(signals).values() for signals in quality.of_study(study))
    return download(f"{study.slug}-raters.csv", quality.COLUMNS, rows)


@require_safe
@login_required
def invites_csv(request: HttpRequest, slug: str) -> StreamingHttpResponse:
    study = access.study_for(request.user, slug)
    return download(f"{study.slug}-links.csv", invites.COLUMNS, invites.rows(study, request.build_absolute_uri))


def download(name: str, columns: tuple[str, ...], rows: Any) -> StreamingHttpResponse:
    return StreamingHttpResponse(
        map(line, (columns, *rows)),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )
