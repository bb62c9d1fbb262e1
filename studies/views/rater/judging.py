"""What a rater sends from the comparison page: an answer, or taking the last one back."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from studies import access, judging
from studies.forms import JudgementForm, UndoForm
from studies.models import Study
from studies.views.rater.comparing import comparison_page

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


def refused(request: HttpRequest, study: Study, why: tuple[str, str]) -> HttpResponse:
    context = {"study": study, "heading": why[0], "explanation": why[1]}
    return render(request, "rater/refused.html", context, status=409)
