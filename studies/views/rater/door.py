"""What every page of a rater has in common: who is there, in which language, and whether it is this page's turn."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import translation
from django.views.decorators.cache import never_cache

from studies import access
from studies.flow import Place, where

View = Callable[..., HttpResponse]


def visitors(view: View) -> View:
    """For `view(request, study, rater or None, ...)`: the link's study in its language, and never from a cache."""

    @never_cache
    @wraps(view)
    def page(request: HttpRequest, token: str, **ids: Any) -> HttpResponse:
        study, rater = access.visitor(request, token)
        with translation.override(study.language):
            response = view(request, study, rater, **ids)
        response.headers.setdefault("Content-Language", study.language)
        return response

    return page


def raters(*places: Place) -> Callable[[View], View]:
    """For `view(request, study, rater, ...)` of somebody whose turn is one of `places`; others are led to theirs.

    A script that sent an answer gets the address as JSON instead, since it would follow a redirect unseen.
    """

    def at_their_turn(view: View) -> View:
        @visitors
        @wraps(view)
        def page(request: HttpRequest, study: Any, rater: Any, **ids: Any) -> HttpResponse:
            place = where(study, rater)
            if rater is not None and place in places:
                return view(request, study, rater, **ids)
            if wants_json(request):
                address = reverse(f"studies:{place}", args=[study.token])
                return JsonResponse({"saved": False, "errors": {}, "next": address}, status=409)
            return redirect(f"studies:{place}", study.token)

        return page

    return at_their_turn


def wants_json(request: HttpRequest) -> bool:
    return request.get_preferred_type(["text/html", "application/json"]) == "application/json"
