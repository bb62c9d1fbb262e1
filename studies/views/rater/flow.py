"""The pages around the comparisons: consent and the end."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from studies import access, assignment, progress
from studies.views.rater.comparing import is_waiting


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def consent(request: HttpRequest, token: str) -> HttpResponse:
    """GET makes nothing, so a preview of the link costs nothing. POST is the consent."""
    study, rater = access.visitor(request, token)
    if request.method != "POST" or not study.running:
        limit = min(study.rater_limit, study.comparisons.count())
        return render(request, "rater/consent.html", {"study": study, "rater": rater, "limit": limit})
    response = redirect("studies:compare", token)
    if rater is None:
        access.remember(response, assignment.enrol(study))
    return response


@never_cache
@require_safe
def end(request: HttpRequest, token: str) -> HttpResponse:
    study, rater = access.visitor(request, token)
    if rater is None:
        return redirect("studies:consent", token)
    where = progress.for_rater(rater)
    waiting = is_waiting(study, where, progress.preparation(study))
    more = waiting or assignment.something_for(rater)
    return render(request, "rater/end.html", {"study": study, "progress": where, "more": more})
