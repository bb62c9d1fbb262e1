"""What researchers see: the list of studies, and one study's progress and results."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import PermissionDenied
from django.db.models import Count
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from studies import access, launch, panels, progress, rater_statistics, statistics
from studies import export as exports
from studies.models import Study
from studies.views import charts, readings


@never_cache
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    if not access.may_see_studies(request.user):
        return render(request, "home.html")
    studies = Study.objects.select_related("problem_set").annotate(rater_count=Count("raters"))
    return render(request, "researcher/studies.html", {"studies": studies})


@never_cache
@require_safe
@login_required
def results(request: HttpRequest, slug: str) -> HttpResponse:
    study = access.study_for(request.user, slug)
    shared = {"rater_link": rater_link(request, study), "links": study.invites.count()}
    return render(request, "researcher/study.html", live_context(study, request.user) | shared)


def rater_link(request: HttpRequest, study: Study) -> str:
    """The study's common link, with what the panel is to fill in."""
    address = request.build_absolute_uri(reverse("studies:consent", args=[study.token]))
    return address + panels.query_of(study)


@require_safe
@login_required
def export(request: HttpRequest, slug: str) -> StreamingHttpResponse:
    study = access.study_for(request.user, slug)
    disposition = {"Content-Disposition": f'attachment; filename="{study.slug}.csv"'}
    return StreamingHttpResponse(
        exports.csv_lines(study), content_type="text/csv; charset=utf-8", headers=disposition
    )


@require_POST
@login_required
def retry(request: HttpRequest, slug: str) -> HttpResponse:
    study = access.study_for(request.user, slug)
    if not may_change(request.user):
        raise PermissionDenied("Only researchers with the permission to change studies can retry.")
    asked = launch.retry_failed(study)
    messages.success(request, f"{asked} explanation{'' if asked == 1 else 's'} will be made again.")
    return redirect("studies:results", slug)


@require_POST
@login_required
def launch_now(request: HttpRequest, slug: str) -> HttpResponse:
    study = access.study_for(request.user, slug)
    if not may_change(request.user):
        raise PermissionDenied("Only researchers with the permission to change studies can launch them.")
    try:
        launch.launch(study)
    except launch.NotLaunchable as reason:
        messages.error(request, str(reason))
    else:
        messages.success(request, f"{study} is running; its explanations are being made.")
    return redirect("studies:results", slug)


def by_reason(failures: Iterable[progress.Failure]) -> list[dict[str, Any]]:
    """One entry per problem and reason: a chain that cannot be used fails all the arms in the same words."""
    arms: dict[tuple[str, str], list[str]] = {}
    for failure in failures:
        arms.setdefault((failure.problem, failure.error), []).append(failure.arm)
    return [{"problem": problem, "error": error, "arms": names} for (problem, error), names in arms.items()]


def may_change(user: User | AnonymousUser) -> bool:
    return user.has_perm("studies.change_study")


def live_context(study: Study, user: User | AnonymousUser) -> dict[str, Any]:
    """Everything on the results page that changes by itself; the socket sends the same."""
    found, where = statistics.results(study), progress.for_study(study)
    return {
        "study": study,
        "progress": where,
        "failures": by_reason(where.failures),
        "results": found,
        "chart": charts.interval_chart(found.pairs),
        "pair_readings": [readings.of_pair(pair) for pair in found.pairs],
        "agreement": readings.of_agreement(found),
        "may_change": may_change(user),
        "sides": readings.of_sides(found),
        "consistency": readings.of_consistency(rater_statistics.consistency(study)),
        "gain_readings": [readings.of_gain(gain) for gain in rater_statistics.gains(study)],
    }
