"""What a rater sends from the comparison page: an answer, or taking the last one back."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods

from studies import judging, simulation
from studies.flow import Place
from studies.forms import JudgementForm, UndoForm
from studies.models import Assignment, CheckAnswer, CheckItem, Rater, Study
from studies.views.rater import door
from studies.views.rater.comparing import comparison_page

Why = tuple[Promise, Promise, int]  # heading, explanation, status

REFUSALS: dict[type[Exception], Why] = {
    judging.AlreadyJudged: (
        _("This answer is already saved"),
        _("The form was sent twice, or from an older page. Your first answer counts; nothing was counted twice."),
        409,
    ),
    judging.PlaceGone: (
        _("This comparison was given to someone else"),
        _("It was open for so long that another person has answered it. Nothing is wrong: there are others to do."),
        409,
    ),
    judging.TooLate: (
        _("Answers can no longer be changed"),
        _("The time for changes is over. What you answered before is saved as it was."),
        409,
    ),
}
NOT_THE_LAST: Why = (
    _("That answer is no longer your last one"),
    _("It was taken back before, or you have answered since. Nothing was changed."),
    409,
)
NOT_THERE: Why = (
    _("There is no such comparison for you"),
    _("It may have been withdrawn from the study since you opened it. Everything else that you answered is saved."),
    404,
)
get_or_post = require_http_methods(["GET", "HEAD", "POST"])


@get_or_post
@door.raters(Place.COMPARE)
def judge(request: HttpRequest, study: Study, rater: Rater, public_id: UUID) -> HttpResponse:
    if request.method != "POST":
        return feedback(request, study, rater, public_id)
    try:
        with transaction.atomic():
            current = judging.locked(rater, public_id)
            if current is None:
                return refused(request, study, rater, NOT_THERE)
            form = form_for(study, current, request)
            if not form.is_valid():
                return not_valid(request, study, rater, current, form)
            store(study, current, form)
    except tuple(REFUSALS) as refusal:
        return refused(request, study, rater, REFUSALS[type(refusal)])
    return saved(request, study, current)


def form_for(study: Study, current: Assignment | CheckAnswer, request: HttpRequest) -> JudgementForm:
    """What the rater sent, read against the texts that lay before them."""
    if isinstance(current, CheckAnswer):
        texts, question = (current.item.better, current.item.worse), None
        first = current.better_on_left
    else:
        texts, question = texts_of(current), simulation.asked(study, current)
        first = current.first_on_left
    lengths = (len(texts[0]), len(texts[1])) if first else (len(texts[1]), len(texts[0]))
    return JudgementForm(request.POST, study=study, lengths=lengths, options=len(question.options) if question else 0)


def texts_of(current: Assignment) -> tuple[str, str]:
    return current.comparison.first.text, current.comparison.second.text


def store(study: Study, current: Assignment | CheckAnswer, form: JudgementForm, changing: bool = False) -> None:
    given = form.cleaned_data
    if isinstance(current, CheckAnswer):
        judging.record_check(current, form.checked(current.better_on_left), given["active_seconds"])
        return
    question = simulation.asked(study, current)
    option = given.get("prediction")
    judging.answer(
        current,
        revision=given["revision"],
        client_key=given["client_key"],
        predicted=(question, option) if question and option is not None else None,
        changing=changing,
        **form.judged(current.first_on_left),
    )


def saved(request: HttpRequest, study: Study, current: Assignment | CheckAnswer) -> HttpResponse:
    address = reverse("studies:compare", args=[study.token])
    if isinstance(current, CheckAnswer) and current.item.purpose == CheckItem.Purpose.PRACTICE:
        address = reverse("studies:judge", args=[study.token, current.public_id])
    return JsonResponse({"saved": True, "next": address}) if door.wants_json(request) else redirect(address)


def not_valid(
    request: HttpRequest, study: Study, rater: Rater, current: Assignment | CheckAnswer, form: JudgementForm
) -> HttpResponse:
    if door.wants_json(request):
        return JsonResponse({"saved": False, "errors": form.errors}, status=400)
    return comparison_page(request, study, rater, current, form)


def feedback(request: HttpRequest, study: Study, rater: Rater, public_id: UUID) -> HttpResponse:
    """Why the better one of a practice item is better, once it is answered. Else on to the comparison."""
    practised = CheckAnswer.objects.filter(
        rater=rater, public_id=public_id, item__purpose=CheckItem.Purpose.PRACTICE, answered_at__isnull=False
    )
    given = practised.select_related("item").first()
    if given is None:
        return redirect("studies:compare", study.token)
    better = "A" if given.better_on_left else "B"
    return render(request, "rater/feedback.html", {"study": study, "rater": rater, "given": given, "better": better})


@get_or_post
@door.raters(Place.COMPARE)
def undo(request: HttpRequest, study: Study, rater: Rater) -> HttpResponse:
    if request.method != "POST":
        return redirect("studies:compare", study.token)
    form = UndoForm(request.POST)
    try:
        judging.undo(rater, form.cleaned_data["judgement"] if form.is_valid() else 0)
    except judging.AlreadyJudged:
        return refused(request, study, rater, NOT_THE_LAST)
    except judging.TooLate:
        return refused(request, study, rater, REFUSALS[judging.TooLate])
    return redirect("studies:compare", study.token)


def refused(request: HttpRequest, study: Study, rater: Rater, why: Why) -> HttpResponse:
    heading, explanation, status = why
    if door.wants_json(request):
        return JsonResponse({"saved": False, "errors": {"__all__": [f"{heading}. {explanation}"]}}, status=status)
    context = {"study": study, "rater": rater, "heading": heading, "explanation": explanation}
    return render(request, "rater/refused.html", context, status=status)
