from __future__ import annotations

from typing import Any

from django.contrib import admin

from inference.admin import Unchangeable
from training.models import TrainingRun


@admin.register(TrainingRun)
class TrainingRunAdmin(Unchangeable):
    """Every `retrain` with what it measured. Runs are started by `manage.py retrain`."""

    list_display = ("__str__", "verdict", "head_version", "compared_with", "answers", "started_at")
    list_filter = ("verdict", "studies")
    list_select_related = ("head_version", "compared_with")
    exclude = ("judgement_ids",)
    readonly_fields = ("started_at", "finished_at", "answers")

    @admin.display(description="answers used")
    def answers(self, run: Any) -> int:
        return len(run.judgement_ids)
