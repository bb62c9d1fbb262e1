"""A rater's own earlier answers: the list, and one of them to be changed."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_safe

from studies import judging, simulation
from studies.flow import Place
from studies.forms import JudgementForm, earlier
from studies.models import Assignment, Judgement, Rater, Study
from studies.querysets import JudgementQuerySet
from studies.views.rater import asked, door
from studies.views.rater.comparing import comparison_page
from studies.views.rater.judging import NOT_THERE, REFUSALS, form_for, get_or_post, not_valid, refused, store


@require_safe
@door.raters(Place.COMPARE)
def review(request: HttpRequest, study: Study, rater: Rater) -> HttpResponse:
    """The answers that stand, in the order in which they were given out. Hidden repeats stay hidden."""
    answers = [
        {"judgement": row, "question": row.assignment.comparison.problem.question, "words": words_of(study, row)}
        for row in standing(rater).select_related("assignment__comparison__problem").order_by("assignment__number")
    ]
    context = {"study": study, "rater": rater, "answers": answers, "changeable": judging.reviewable(study)}
    return render(request, "rater/review.html", context)


def standing(rater: Rater) -> JudgementQuerySet:
    return Judgement.objects.current().filter(assignment__rater=rater, assignment__repeat_of__isnull=True)


def words_of(study: Study, judgement: Judgement) -> str:
    """The answer in the words of the button that was pressed."""
    value = earlier(judgement, None)["choice"]
    button = next(one for one in [*asked.scale(study), *asked.others()] if one.value == value)
    return f"{button.letter} {button.words}".strip()


@get_or_post
@door.raters(Place.COMPARE)
def revise(request: HttpRequest, study: Study, rater: Rater, public_id: UUID) -> HttpResponse:
    """An earlier answer on its page again, to be changed until the study's deadline. The old one is kept."""
    stands = standing(rater).filter(assignment__public_id=public_id).select_related("assignment").first()
    if stands is None:
        return refused(request, study, rater, NOT_THERE)
    if not judging.reviewable(study):
        return refused(request, study, rater, REFUSALS[judging.TooLate])
    try:
        with transaction.atomic():
            current = judging.locked(rater, public_id)
            assert isinstance(current, Assignment)  # noqa: S101  # `stands` belongs to it
            if request.method != "POST":
                return as_answered(request, study, rater, current, stands)
            form = form_for(study, current, request)
            if not form.is_valid():
                return not_valid(request, study, rater, current, form)
            store(study, current, form, changing=True)
    except (judging.AlreadyJudged, judging.PlaceGone) as refusal:
        return refused(request, study, rater, REFUSALS[type(refusal)])
    return redirect("studies:review", study.token)


def as_answered(
    request: HttpRequest, study: Study, rater: Rater, current: Assignment, stands: Judgement
) -> HttpResponse:
    """The comparison page with everything as it was answered."""
    question = simulation.asked(study, current)
    after = current.predictions.filter(when=judging.When.AFTER).values_list("option", flat=True).first()
    options = len(question.options) if question else 0
    form = JudgementForm(initial=earlier(stands, after), study=study, options=options)
    action = reverse("studies:revise", args=[study.token, current.public_id])
    return comparison_page(request, study, rater, current, form, action)
