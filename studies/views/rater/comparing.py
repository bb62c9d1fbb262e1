"""The comparison page, blind, or the news that explanations are still being made."""

from __future__ import annotations

import hashlib
import uuid
from functools import cache
from typing import Any

from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template import Engine
from django.templatetags.static import static
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from studies import assignment, judging, progress, simulation
from studies.flow import Place, is_waiting
from studies.forms import PredictionForm
from studies.models import Assignment, CheckAnswer, CheckItem, Rater, Study
from studies.simulation import Question
from studies.views.rater import asked, door
from studies.views.rater.sheet import Sheet, sheet_of

PAGE_PARTS = (
    "compare",
    "parts/notes",
    "parts/context",
    "parts/pair",
    "parts/details",
    "parts/choices",
    "parts/after",
)
PAGE_FILES = ("site.css", "compare.css", "answers.js", "attention.js", "marks.js", "compare.js")


@require_safe
@door.raters(Place.COMPARE)
def compare(request: HttpRequest, study: Study, rater: Rater) -> HttpResponse:
    current = assignment.next_for(rater)
    question = simulation.prediction_due(current, study) if isinstance(current, Assignment) else None
    if isinstance(current, Assignment) and question:
        return prediction_page(request, study, rater, current, question)
    if current is not None:
        return comparison_page(request, study, rater, current)
    where, preparation = progress.for_rater(rater), progress.preparation(study)
    if is_waiting(study, where, preparation):
        context = {"study": study, "rater": rater, "progress": where, "preparation": preparation}
        return render(request, "rater/preparing.html", context)
    return redirect("studies:end", study.token)


def comparison_page(
    request: HttpRequest,
    study: Study,
    rater: Rater,
    current: Assignment | CheckAnswer,
    form: Form | None = None,
    action: str = "",
) -> HttpResponse:
    """The comparison: left and right, nothing that tells an arm.

    A bound `form` was refused: what is wrong is said, with status 400, and everything typed is kept. An unbound one
    holds in `initial` an earlier answer that is being changed, for which `action` is the address to send it to.
    """
    sheet = sheet_of(current, study)
    context = (
        places(study, rater, current, revising=bool(action))
        | answer_context(study, sheet, current, form)
        | {"action": action or reverse("studies:judge", args=[study.token, current.public_id]), "revising": action}
    )
    refused = form is not None and form.is_bound
    return render(request, "rater/compare.html", context, status=400 if refused else 200)


def places(study: Study, rater: Rater, current: Assignment | CheckAnswer, revising: bool) -> dict[str, Any]:
    """Where the rater is."""
    where = progress.for_rater(rater)
    number = min(where.done + 1, where.limit)
    practice = isinstance(current, CheckAnswer) and current.item.purpose == CheckItem.Purpose.PRACTICE
    place = _("Comparison %(number)s of %(limit)s") % {"number": number, "limit": where.limit}
    return {
        "study": study,
        "rater": rater,
        "progress": where,
        "number": number,
        "practice": practice,
        "place": _("Practice") if practice else _("Your earlier answer") if revising else place,
    }


def answer_context(
    study: Study, sheet: Sheet, current: Assignment | CheckAnswer, form: Form | None
) -> dict[str, Any]:
    """What lies there and what is asked about it, with what `form` holds so far."""
    given = asked.Given(form)
    revision = judging.next_revision(current) if isinstance(current, Assignment) else 1
    question = simulation.asked(study, current) if isinstance(current, Assignment) else None
    return {
        "sheet": sheet,
        "form": form,
        "problems": asked.problems(form, study),
        "revision": revision,
        "client_key": uuid.uuid4(),
        "page_version": page_version(),
        "draft": f"{sheet.public_id}-{revision}",
        "scale": asked.scale(study, given.one("choice")),
        "others": asked.others(given.one("choice")),
        "criteria": asked.criteria(study, given),
        "tags": asked.tags(study, given),
        "question": question,
        "question_step": question.step + 1 if question and question.step is not None else None,
        "predictions": asked.predictions(question.options, given) if question else [],
        "reason": given.one("reason"),
        "spans": given.one("spans"),
    }


def prediction_page(
    request: HttpRequest,
    study: Study,
    rater: Rater,
    current: Assignment,
    question: Question,
    form: PredictionForm | None = None,
) -> HttpResponse:
    """The problem and its options alone; counterfactually, also the step and what stood in its place."""
    context = {
        "study": study,
        "rater": rater,
        "progress": progress.for_rater(rater),
        "current": current,
        "problem": current.comparison.problem,
        "asked": question,
        "step_number": None if question.step is None else question.step + 1,
        "options": list(enumerate(question.options)),
        "form": form,
    }
    return render(request, "rater/predict.html", context, status=400 if form else 200)


@cache
def page_version() -> str:
    """Names what raters saw: a hash over the page's templates, styles and scripts, stored with each answer."""
    sources = [Engine.get_default().get_template(f"rater/{part}.html").source for part in PAGE_PARTS]
    names = [static(f"studies/{name}") for name in PAGE_FILES]  # the names carry the hashes of the contents
    return hashlib.sha256("\0".join(sources + names).encode()).hexdigest()[:12]
