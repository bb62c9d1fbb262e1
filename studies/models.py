"""Studies, the people who rate in them, and what they answered.

A comparison is *open* while both its explanations are ready and it still wants judgements: a query, not a flag.
`Comparison.taken` is no cached count but the claim itself: the conditional UPDATE on it is what makes handing out
atomic, and the database refuses a value beyond `wanted`. Only `assignment.py` writes it.
"""

from __future__ import annotations

import secrets
import uuid

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from inference.models import Explainer, Explanation, Problem, ProblemSet
from inference.querysets import ExplanationQuerySet
from studies.querysets import AssignmentQuerySet, ComparisonQuerySet, JudgementQuerySet, RaterQuerySet

AT_LEAST_ONE = MinValueValidator(1)
QUESTION = "Which explanation helps you more to understand why the model gave this answer?"
CONSENT = (
    "You will read short explanations of answers that a computer model gave, and say which of two you find more "
    "helpful. There are no right or wrong answers. Your answers are stored without your name, address or account, "
    "and are used for research and to improve the model. You may stop at any time by closing the page."
)


def new_token() -> str:
    return secrets.token_urlsafe(16)


class Study(models.Model):
    """A protocol with its problem set and its arms. Frozen once launched."""

    slug = models.SlugField(max_length=64, unique=True)
    title = models.CharField(max_length=200)
    problem_set = models.ForeignKey(ProblemSet, models.PROTECT, related_name="studies")
    problem_limit = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[AT_LEAST_ONE],
        help_text="Use only so many problems, spread over the kinds. Empty: all.",
    )
    question = models.CharField(max_length=300, default=QUESTION)
    consent_text = models.TextField(default=CONSENT)
    chain_shown = models.BooleanField(
        default=True,
        help_text="Show the chain above the explanations. Switch it off where an arm is the chain itself.",
    )
    judgements_wanted = models.PositiveSmallIntegerField(
        default=5, validators=[AT_LEAST_ONE], help_text="Judgements wanted per comparison."
    )
    rater_limit = models.PositiveSmallIntegerField(
        default=12, validators=[AT_LEAST_ONE], help_text="Comparisons that one rater is given at most."
    )
    seed = models.PositiveIntegerField(default=0, help_text="Fixes the order of comparisons and of sides.")
    token = models.CharField(max_length=43, unique=True, default=new_token, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    launched_at = models.DateTimeField(null=True, blank=True, editable=False)
    closed_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        verbose_name_plural = "studies"
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return f"{self.title} ({self.slug})"

    @property
    def running(self) -> bool:
        return self.launched_at is not None and self.closed_at is None

    def explanations(self) -> ExplanationQuerySet:
        """The explanations that this study's comparisons show."""
        mine = Comparison.objects.filter(study=self)
        return Explanation.objects.filter(Q(pk__in=mine.values("first")) | Q(pk__in=mine.values("second")))


class Arm(models.Model):
    """An explainer in a study, under the name that the results use. Raters never see it."""

    study = models.ForeignKey(Study, models.CASCADE, related_name="arms")
    name = models.SlugField(max_length=64)
    explainer = models.ForeignKey(Explainer, models.PROTECT, related_name="arms")

    class Meta:
        ordering = ("pk",)
        constraints = [
            models.UniqueConstraint(fields=("study", "name"), name="one_arm_per_name"),
            models.UniqueConstraint(fields=("study", "explainer"), name="one_arm_per_explainer"),
        ]

    def __str__(self) -> str:
        return self.name


class Comparison(models.Model):
    """Two explanations of one trace, to be judged by `wanted` raters. `first` and `second` are arms, not sides."""

    class Selection(models.TextChoices):
        RANDOM = "random", "By the design, or at random"
        ACTIVE = "active", "Because it promised to tell much"

    study = models.ForeignKey(Study, models.CASCADE, related_name="comparisons")
    problem = models.ForeignKey(Problem, models.PROTECT, related_name="comparisons")
    first_arm = models.ForeignKey(Arm, models.CASCADE, related_name="+")
    second_arm = models.ForeignKey(Arm, models.CASCADE, related_name="+")
    first = models.ForeignKey(Explanation, models.PROTECT, related_name="+")
    second = models.ForeignKey(Explanation, models.PROTECT, related_name="+")
    position = models.PositiveIntegerField(help_text="Place in the study's seeded order, from 0.")
    selection = models.CharField(
        max_length=10,
        choices=Selection.choices,
        default=Selection.RANDOM,
        help_text="How the pair came into the study. Only random ones tell how good a scorer is on such pairs.",
    )
    wanted = models.PositiveSmallIntegerField()
    taken = models.PositiveSmallIntegerField(default=0, editable=False)

    objects = ComparisonQuerySet.as_manager()

    class Meta:
        ordering = ("study", "position")
        constraints = [
            models.UniqueConstraint(fields=("study", "position"), name="one_comparison_per_position"),
            models.UniqueConstraint(
                fields=("study", "problem", "first_arm", "second_arm"), name="one_comparison_per_arm_pair"
            ),
            models.CheckConstraint(condition=Q(taken__lte=F("wanted")), name="never_over_filled"),
        ]
        indexes = [
            models.Index(fields=("study", "position"), condition=Q(taken__lt=F("wanted")), name="comparison_wanting")
        ]

    def __str__(self) -> str:
        return f"{self.first_arm} / {self.second_arm} on {self.problem_id}"


class Rater(models.Model):
    """A person who consented, known by a signed cookie only. `start` is where in the order this rater begins."""

    public_id = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    study = models.ForeignKey(Study, models.CASCADE, related_name="raters")
    start = models.PositiveIntegerField(editable=False)
    consented_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = RaterQuerySet.as_manager()

    class Meta:
        ordering = ("pk",)

    def __str__(self) -> str:
        return f"rater {self.pk}"


class Assignment(models.Model):
    """One comparison handed to one rater, with the side order that this rater saw."""

    public_id = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    comparison = models.ForeignKey(Comparison, models.CASCADE, related_name="assignments")
    rater = models.ForeignKey(Rater, models.CASCADE, related_name="assignments")
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
            models.UniqueConstraint(fields=("comparison", "rater"), name="one_assignment_per_rater"),
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
    choice = models.CharField(max_length=12, choices=Choice.choices)
    strength = models.PositiveSmallIntegerField(
        null=True,
        validators=[AT_LEAST_ONE, MaxValueValidator(3)],
        help_text="How much better: 1 slightly, 2 clearly, 3 much. Empty without a preferred arm or where not asked.",
    )
    criteria = models.JSONField(
        default=dict, help_text="The same choice by criterion: {criterion: first, second, tie, both_bad}."
    )
    reason = models.TextField(blank=True, max_length=2000)
    seconds = models.FloatField(null=True, help_text="From the page being shown to the answer, in seconds.")
    judged_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = JudgementQuerySet.as_manager()

    class Meta:
        ordering = ("pk",)
        constraints = [
            models.UniqueConstraint(fields=("assignment", "revision"), name="one_judgement_per_revision"),
        ]

    def __str__(self) -> str:
        return f"{self.choice} (assignment {self.assignment_id}, revision {self.revision})"
