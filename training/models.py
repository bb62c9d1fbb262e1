"""One row for each `retrain`: from which judgements, with which settings, to which head, and why it was kept."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from inference.models import HeadVersion
from studies.models import Study


class TrainingRun(models.Model):
    class Verdict(models.TextChoices):
        PROMOTE = "promote", "Promoted: better on held-out problems"
        HOLD = "hold", "Held: not better on held-out problems"
        FORCED = "forced", "Promoted by force"

    study = models.ForeignKey(Study, models.PROTECT, related_name="training_runs")
    started_at = models.DateTimeField(default=timezone.now, editable=False)
    finished_at = models.DateTimeField(null=True, editable=False)
    snapshot_sha256 = models.CharField(max_length=64, help_text="Hash of the snapshot file, which is also its name.")
    judgement_ids = models.JSONField(help_text="Exactly the judgements that were used, by id.")
    settings = models.JSONField(default=dict)
    metrics = models.JSONField(default=dict)
    compared_with = models.ForeignKey(HeadVersion, models.PROTECT, related_name="compared_in")
    head_version = models.OneToOneField(HeadVersion, models.PROTECT, null=True, related_name="training_run")
    verdict = models.CharField(max_length=10, choices=Verdict.choices)
    reason = models.TextField(help_text="The verdict in words; for a forced promotion, who wanted it and why.")

    class Meta:
        ordering = ("-started_at",)

    def __str__(self) -> str:
        return f"run {self.pk} on {self.study}: {self.verdict}"
