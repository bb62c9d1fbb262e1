"""The people who rate, what they are handed, and what they answer."""

from __future__ import annotations

import secrets
import uuid

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from studies.models.study import Comparison, Invite, Study
from studies.querysets import AssignmentQuerySet, JudgementQuerySet, RaterQuerySet


def new_seed() -> int:
    return secrets.randbelow(2**31)


class Rater(models.Model):
    """A person who consented, known by a signed cookie or a personal link. Where they are follows from these times.

    The `seed` decides the order of this rater's comparisons, of the hidden repeats and of the gold comparisons.
    """

    public_id = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    study = models.ForeignKey(Study, models.CASCADE, related_name="raters")
    invite = models.OneToOneField(Invite, models.SET_NULL, null=True, editable=False, related_name="rater")
    seed = models.PositiveIntegerField(default=new_seed, editable=False)
    consented_at = models.DateTimeField(default=timezone.now, editable=False)
    consent_sha256 = models.CharField(max_length=64, blank=True, editable=False)  # version of the text agreed to
    instructed_at = models.DateTimeField(null=True, editable=False)
    finished_at = models.DateTimeField(null=True, editable=False)
    withdrawn_at = models.DateTimeField(null=True, editable=False)
    rejected_at = models.DateTimeField(null=True, editable=False, help_text="After two failed gold comparisons.")
    participant = models.CharField(max_length=100, blank=True, editable=False, help_text="The panel's own id.")
    panel_session = models.CharField(max_length=100, blank=True, editable=False)

    objects = RaterQuerySet.as_manager()

    class Meta:
        ordering = ("pk",)
        constraints = [
            models.UniqueConstraint(
                fields=("study", "participant"), condition=~Q(participant=""), name="one_rater_per_participant"
            )
        ]

    def __str__(self) -> str:
        return f"rater {self.pk}"


class Assignment(models.Model):
    """One comparison handed to one rater, with the side order that this rater saw.

    A repeat is the same comparison once more, sides swapped. It takes no place (`Comparison.taken`), and its
    judgement measures the rater, so results and training leave it out.
    """

    public_id = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    comparison = models.ForeignKey(Comparison, models.CASCADE, related_name="assignments")
    rater = models.ForeignKey(Rater, models.CASCADE, related_name="assignments")
    repeat_of = models.OneToOneField("self", models.CASCADE, null=True, editable=False, related_name="repeat")
    number = models.PositiveIntegerField(default=0, editable=False, help_text="Place in this rater's order, from 1.")
    first_on_left = models.BooleanField()
    assigned_at = models.DateTimeField(default=timezone.now, editable=False)
    released_at = models.DateTimeField(
        null=True,
        editable=False,
        help_text="Set when the rater did not answer in time and the place was given back.",
    )

    objects = AssignmentQuerySet.as_manager()

    class Meta:
        ordering = ("pk",)
        constraints = [
            models.UniqueConstraint(
                fields=("comparison", "rater"), condition=Q(repeat_of__isnull=True), name="one_assignment_per_rater"
            ),
            models.UniqueConstraint(fields=("rater", "number"), name="one_assignment_per_number"),
        ]

    def __str__(self) -> str:
        return f"comparison {self.comparison_id} for rater {self.rater_id}"


class Judgement(models.Model):
    """A rater's answer. Append-only: a changed or undone answer is a new row with the next revision."""

    class Choice(models.TextChoices):
        FIRST = "first", "First arm"
        SECOND = "second", "Second arm"
        TIE = "tie", "Equally good"
        BOTH_BAD = "both_bad", "Both bad"
        CANNOT_JUDGE = "cannot_judge", "Cannot judge"
        UNDONE = "undone", "Taken back"

    assignment = models.ForeignKey(Assignment, models.CASCADE, related_name="judgements")
    revision = models.PositiveSmallIntegerField()
    client_key = models.UUIDField(null=True, editable=False, help_text="Of the form: sent twice, it is stored once.")
    choice = models.CharField(max_length=12, choices=Choice.choices)
    strength = models.PositiveSmallIntegerField(
        null=True,
        validators=[MinValueValidator(1), MaxValueValidator(3)],
        help_text="How much better: 1 slightly, 2 clearly, 3 much. Empty without a preferred arm or where not asked.",
    )
    criteria = models.JSONField(
        default=dict, help_text="The same choice by criterion: {criterion: first, second, tie, both_bad}."
    )
    reason = models.TextField(blank=True, max_length=2000)
    tags = models.JSONField(default=list, help_text="Of the study's reasons, those that were ticked.")
    spans = models.JSONField(
        default=list, help_text="Marked passages: [{arm: first or second, start, end, comment}], in characters."
    )
    seconds = models.FloatField(null=True, help_text="From the page being shown to the answer, in seconds.")
    active_seconds = models.FloatField(null=True, help_text="Of these, with the page in front and in use.")
    first_seconds = models.FloatField(null=True, help_text="Until the rater first did anything on the page.")
    pasted = models.BooleanField(null=True, help_text="Whether the reason was pasted; empty where not noted.")
    page_version = models.CharField(max_length=40, blank=True, help_text="Hash of the page's template and script.")
    viewport = models.CharField(max_length=40, blank=True, help_text="Width x height @ pixel ratio.")
    judged_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = JudgementQuerySet.as_manager()

    class Meta:
        ordering = ("pk",)
        constraints = [
            models.UniqueConstraint(fields=("assignment", "revision"), name="one_judgement_per_revision"),
            models.UniqueConstraint(fields=("assignment", "client_key"), name="one_judgement_per_client_key"),
        ]

    def __str__(self) -> str:
        return f"{self.choice} (assignment {self.assignment_id}, revision {self.revision})"


class Prediction(models.Model):
    """What a rater thinks that the model answered, for studies that ask it (forward or counterfactual simulation).

    `step` is the step that is thought to be replaced, counterfactually; empty in a forward simulation.
    """

    class When(models.TextChoices):
        BEFORE = "before", "Before reading the explanations"
        AFTER = "after", "After reading them"

    assignment = models.ForeignKey(Assignment, models.CASCADE, related_name="predictions")
    when = models.CharField(max_length=6, choices=When.choices)
    step = models.PositiveSmallIntegerField(null=True)
    option = models.PositiveSmallIntegerField(help_text="Index of the predicted option, from 0.")
    truth = models.PositiveSmallIntegerField(null=True, help_text="What the model did answer, at that time.")
    predicted_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ("pk",)
        constraints = [
            models.UniqueConstraint(fields=("assignment", "when"), name="one_prediction_before_and_after"),
        ]

    def __str__(self) -> str:
        return f"option {self.option} {self.when} (assignment {self.assignment_id})"
