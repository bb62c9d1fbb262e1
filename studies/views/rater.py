"""A rater's way: consent, compare (or wait), end. The server owns the position; every page can be opened again."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from studies import access, assignment, judging, progress
from studies.forms import JudgementForm, UndoForm
from studies.models import Assignment, Rater, Study

# The list on the page is numbered, as the explanations number the steps, so the model's own numbers are left out.
LABEL = re.compile(r"\s*step\s*\d+\s*[:.)]\s*(?=\S)", re.IGNORECASE)

REFUSALS = {
    judging.AlreadyJudged: (
        "This answer is already saved",
        "The form was sent twice, or from an older page. What you answered first counts; nothing was counted twice.",
    ),
    judging.PlaceGone: (
        "This comparison was given to someone else",
        "It was open for so long that another person has answered it. Nothing is wrong: there are others to do.",
    ),
}
NOT_THE_LAST = (
    "That answer is no longer your last one",
    "It was taken back before, or you have answered since. Nothing was changed.",
)


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
def compare(request: HttpRequest, token: str) -> HttpResponse:
    study, rater = access.visitor(request, token)
    if rater is None:
        return redirect("studies:consent", token)
    current = assignment.next_for(rater)
    if current is not None:
        return comparison_page(request, study, rater, current)
    where, preparation = progress.for_rater(rater), progress.preparation(study)
    if is_waiting(study, where, preparation):
        context = {"study": study, "progress": where, "preparation": preparation}
        return render(request, "rater/preparing.html", context)
    return redirect("studies:end", token)


@require_http_methods(["GET", "HEAD", "POST"])
def judge(request: HttpRequest, token: str, public_id: UUID) -> HttpResponse:
    study, rater = access.visitor(request, token)
    if rater is None:
        return redirect("studies:consent", token)
    if request.method != "POST":  # the address of a refused form, opened again
        return redirect("studies:compare", token)
    current = access.assignment_for(rater, public_id)
    form = JudgementForm(request.POST)
    if not form.is_valid():
        return comparison_page(request, study, rater, current, form)
    try:
        judging.record(
            current,
            form.judged(current.first_on_left),
            reason=form.cleaned_data["reason"],
            seconds=form.cleaned_data["seconds"],
            revision=form.cleaned_data["revision"],
        )
    except (judging.AlreadyJudged, judging.PlaceGone) as refusal:
        return refused(request, study, REFUSALS[type(refusal)])
    return redirect("studies:compare", token)


@require_http_methods(["GET", "HEAD", "POST"])
def undo(request: HttpRequest, token: str) -> HttpResponse:
    study, rater = access.visitor(request, token)
    if rater is None:
        return redirect("studies:consent", token)
    if request.method != "POST":
        return redirect("studies:compare", token)
    form = UndoForm(request.POST)
    try:
        judging.undo(rater, form.cleaned_data["judgement"] if form.is_valid() else 0)
    except judging.AlreadyJudged:
        return refused(request, study, NOT_THE_LAST)
    return redirect("studies:compare", token)


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


def refused(request: HttpRequest, study: Study, why: tuple[str, str]) -> HttpResponse:
    context = {"study": study, "heading": why[0], "explanation": why[1]}
    return render(request, "rater/refused.html", context, status=409)


def is_waiting(study: Study, where: progress.RaterProgress, preparation: progress.Preparation) -> bool:
    """Whether explanations are still being made that this rater may get."""
    return study.running and preparation.comparisons > 0 and where.done < where.limit


def comparison_page(
    request: HttpRequest, study: Study, rater: Rater, current: Assignment, form: JudgementForm | None = None
) -> HttpResponse:
    """The comparison, blind: left and right, nothing that tells an arm. With `form`, what was wrong in it."""
    where = progress.for_rater(rater)
    context = comparison_context(current) | {
        "study": study,
        "progress": where,
        "number": where.done + 1,
        "form": form or JudgementForm(),
        "revision": judging.next_revision(current),
    }
    return render(request, "rater/compare.html", context, status=400 if form else 200)


def comparison_context(current: Assignment) -> dict[str, Any]:
    comparison = current.comparison
    texts = (comparison.first.text, comparison.second.text)
    left, right = texts if current.first_on_left else reversed(texts)
    trace, problem = comparison.first.trace, comparison.problem
    options = [{"text": text, "answered": index == trace.answer_index} for index, text in enumerate(problem.options)]
    return {
        "assignment": current,
        "problem": problem,
        "options": options,
        "answered_with_option": trace.answer_index is not None,
        "trace": trace,
        "steps": [words_of(step["text"]) for step in trace.record.get("steps", [])],
        "left": left,
        "right": right,
    }


def words_of(step: str) -> str:
    label = LABEL.match(step)
    return step[label.end() :] if label else step
