"""`/healthz`: for load balancers and monitors. No sign-in, so nothing that a stranger must not know."""

from __future__ import annotations

from datetime import datetime

from django.db import Error
from django.db.models import Count, Min
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from inference.models import Explanation


@never_cache
@require_safe
def healthz(request: HttpRequest, at: datetime | None = None) -> JsonResponse:
    """200 while the database answers, else 503. Old waiting work is reported, not judged: it may just be a lot."""
    try:
        waiting = Explanation.objects.pending().aggregate(count=Count("pk"), oldest=Min("asked_at"))
    except Error:
        return JsonResponse({"database": "unreachable"}, status=503)
    seconds = (((at or timezone.now()) - waiting["oldest"]).total_seconds()) if waiting["oldest"] else 0.0
    return JsonResponse({"database": "ok", "waiting": waiting["count"], "oldest_waiting_seconds": round(seconds, 1)})
