"""What a rater predicts before the explanations are shown, in studies that simulate."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from studies import judging, simulation
from studies.flow import Place
from studies.forms import PredictionForm
from studies.models import Assignment, Rater, Study
from studies.views.rater import door
from studies.views.rater.comparing import prediction_page
from studies.views.rater.judging import NOT_THERE, get_or_post, refused


@get_or_post
@door.raters(Place.COMPARE)
def predict(request: HttpRequest, study: Study, rater: Rater, public_id: UUID) -> HttpResponse:
    """Stores the first prediction; sent again, it changes nothing."""
    if request.method != "POST":
        return redirect("studies:compare", study.token)
    with transaction.atomic():
        current = judging.locked(rater, public_id)
        question = simulation.asked(study, current) if isinstance(current, Assignment) else None
        if not isinstance(current, Assignment) or question is None:
            return refused(request, study, rater, NOT_THERE)
        form = PredictionForm(request.POST, options=len(question.options))
        if not form.is_valid():
            return prediction_page(request, study, rater, current, question, form)
        judging.predict(current, judging.When.BEFORE, question, form.cleaned_data["option"])
    return redirect("studies:compare", study.token)
