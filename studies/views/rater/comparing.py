"""The comparison page, blind, or the news that explanations are still being made."""

from __future__ import annotations

import re
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from studies import access, assignment, judging, progress
from studies.forms import JudgementForm
from studies.models import Assignment, Rater, Study

# The list on the page is numbered, as the explanations number the steps, so the model's own numbers are left out.
LABEL = re.compile(r"\s*step\s*\d+\s*[:.)]\s*(?=\S)", re.IGNORECASE)


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
