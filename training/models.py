"""What `retrain` leaves behind: a run for each head, and an attempt for each time it was started, in the run log."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from inference.models import HeadVersion
from studies.models import Study


class TrainingRun(models.Model):
    """From which judgements, with which settings, to which head, and why that was promoted or not."""

    class Verdict(models.TextChoices):
        PROMOTE = "promote", "Promoted: better on held-out problems"
        HOLD = "hold", "Held: not better on held-out problems"
        REJECT = "reject", "Rejected: worse, or a guard does not hold"
        FORCED = "forced", "Promoted by force"

    studies = models.ManyToManyField(Study, related_name="training_runs", blank=True)
    files = models.JSONField(default=list, help_text="Files that were learned from: [{format, name, sha256, pairs}].")
    started_at = models.DateTimeField(default=timezone.now, editable=False)
    finished_at = models.DateTimeField(null=True, editable=False)
    snapshot_sha256 = models.CharField(max_length=64, help_text="Hash of the snapshot, which is in its file's name.")
    judgement_ids = models.JSONField(help_text="Exactly the judgements that were used, by id.")
    settings = models.JSONField(default=dict)
    metrics = models.JSONField(default=dict)
    compared_with = models.ForeignKey(HeadVersion, models.PROTECT, related_name="compared_in")
    head_version = models.ForeignKey(HeadVersion, models.PROTECT, null=True, related_name="training_runs")
    verdict = models.CharField(max_length=10, choices=Verdict.choices)
    reason = models.TextField(help_text="The verdict in words; for a forced promotion, who wanted it and why.")

    class Meta:
        ordering = ("-started_at",)

    def __str__(self) -> str:
        return f"run {self.pk}: {self.verdict}"

    @property
    def promoted(self) -> bool:
        return self.verdict in {self.Verdict.PROMOTE, self.Verdict.FORCED}


class Attempt(models.Model):
    """One start of `retrain`, whatever came of it. The one that is running is also the lock: there can only be one.

    `running` is true while it runs and empty afterwards, so that the database itself refuses a second one. The lease
    is renewed as the work goes on; `attempts.py` ends one whose process is gone.
    """

    class Trigger(models.TextChoices):
        COMMAND = "command", "manage.py retrain"
        JUDGEMENTS = "judgements", "Enough new judgements"
        NIGHTLY = "nightly", "Nightly"

    class Outcome(models.TextChoices):
        PROMOTED = "promoted", "Head promoted"
        HELD = "held", "Head held"
        REJECTED = "rejected", "Head rejected"
        DRY = "dry", "Dry run: nothing registered"
        REFUSED = "refused", "Refused"
        INTERRUPTED = "interrupted", "Interrupted"
        FAILED = "failed", "Failed"
        LOST = "lost", "Ended without a word"

    trigger = models.CharField(max_length=10, choices=Trigger.choices)
    by = models.CharField(max_length=150, help_text="Who started it: a user of a machine, or the trigger policy.")
    host = models.CharField(max_length=255)
    pid = models.PositiveIntegerField()
    running = models.BooleanField(null=True, default=True, unique=True, editable=False)
    lease_until = models.DateTimeField(editable=False)
    started_at = models.DateTimeField(default=timezone.now, editable=False)
    finished_at = models.DateTimeField(null=True, editable=False)
    newest_judgement = models.PositiveBigIntegerField(default=0, help_text="Id of the newest judgement then.")
    held_out_sha256 = models.CharField(
        max_length=64, blank=True, help_text="Which held-out problems a head was judged on; empty if none was."
    )
    outcome = models.CharField(max_length=12, choices=Outcome.choices, blank=True)
    message = models.TextField(blank=True)
    run = models.OneToOneField(TrainingRun, models.PROTECT, null=True, related_name="attempt")

    class Meta:
        ordering = ("-pk",)
        verbose_name = "retraining attempt"
        constraints = [
            models.CheckConstraint(
                condition=Q(running=True, outcome="") | (Q(running__isnull=True) & ~Q(outcome="")),
                name="running_or_with_an_outcome",
            )
        ]

    def __str__(self) -> str:
        return f"attempt {self.pk}: {self.get_outcome_display() or 'running'}"

    @property
    def process(self) -> str:
        return f"{self.by} (process {self.pid} on {self.host}) since {self.started_at:%Y-%m-%d %H:%M:%S} UTC"


class Policy(models.Model):
    """When retraining starts by itself: one row for the whole project. Never after each single judgement."""

    class When(models.TextChoices):
        MANUAL = "manual", "Only by manage.py retrain"
        JUDGEMENTS = "judgements", "After so many new judgements"
        NIGHTLY = "nightly", "Every night, if there are new judgements"

    LEAST_JUDGEMENTS = 20

    when = models.CharField(max_length=10, choices=When.choices, default=When.MANUAL)
    judgements = models.PositiveIntegerField(
        "new judgements",
        default=200,
        validators=[MinValueValidator(LEAST_JUDGEMENTS)],
        help_text=f"How many new judgements start it, at least {LEAST_JUDGEMENTS}.",
    )
    hour = models.PositiveSmallIntegerField(
        default=3, validators=[MaxValueValidator(23)], help_text="The hour (UTC) at which it starts, 0 to 23."
    )
    studies = models.ManyToManyField(
        Study,
        blank=True,
        help_text="Whose judgements to learn from. None: all launched studies of the default model.",
    )
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name = "trigger policy"
        verbose_name_plural = "trigger policy"
        constraints = [
            models.CheckConstraint(condition=Q(pk=1), name="one_policy"),
            models.CheckConstraint(condition=Q(judgements__gte=20), name="never_on_every_judgement"),
        ]

    def __str__(self) -> str:
        if self.when == self.When.JUDGEMENTS:
            return f"After {self.judgements} new judgements"
        return f"Every night at {self.hour}:00 UTC" if self.when == self.When.NIGHTLY else "Only by hand"

    def save(self, *args: Any, **options: Any) -> None:
        self.pk = 1
        super().save(*args, **options)

    @classmethod
    def current(cls) -> Policy:
        return cls.objects.get_or_create(pk=1)[0]

    def last_turn(self, at: Any) -> Any:
        """The last time before `at` at which the night's hour struck."""
        struck = at.replace(hour=self.hour, minute=0, second=0, microsecond=0)
        return struck if struck <= at else struck - timedelta(days=1)
