"""What is to be judged: studies with their protocol, arms, comparisons and invitations.

`Comparison.taken` is no cached count but the claim itself: the conditional UPDATE on it is what makes handing out
atomic, and the database refuses a value beyond `wanted`. Only `assignment.py` writes it.
"""

from __future__ import annotations

import hashlib
import secrets

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from inference.models import Explainer, Explanation, Problem, ProblemSet
from inference.querysets import ExplanationQuerySet
from studies.criteria import CRITERIA, known_criteria
from studies.querysets import ComparisonQuerySet

AT_LEAST_ONE = MinValueValidator(1)
QUESTION = "Which explanation helps you more to understand why the model gave this answer?"
CONSENT = (
    "You will read short explanations of answers that a computer model gave, and say which of two you find more "
    "helpful. There are no right or wrong answers. Your answers are stored without your name, address or account, "
    "and are used for research and to improve the model. You may stop at any time by closing the page."
)
INSTRUCTIONS = (
    "Read the problem, what the model wrote, and then both explanations of it. Choose the one that answers the "
    "question at the top better for you. If they are equally good, say so; if both are of no use, say that. You can "
    "take back or change an answer. Take your time: what you think is what counts."
)


def new_token() -> str:
    return secrets.token_urlsafe(16)


class Study(models.Model):
    """A protocol with its problem set and its arms. Frozen once launched."""

    class Language(models.TextChoices):
        ENGLISH = "en", "English"
        GERMAN = "de", "Deutsch"

    class Levels(models.IntegerChoices):
        THREE = 3, "3: A, equal, B"
        FIVE = 5, "5: much, better, equal, better, much"
        SEVEN = 7, "7: much, better, slightly, equal, slightly, better, much"

    class Simulation(models.TextChoices):
        NONE = "none", "None"
        FORWARD = "forward", "Forward: predict the answer before and after reading"
        COUNTERFACTUAL = "counterfactual", "Counterfactual: predict the answer after another step"

    class Withdrawal(models.TextChoices):
        ERASE = "erase", "Erase the answers"
        ANONYMISE = "anonymise", "Keep the answers, cut from everything that identifies the rater"

    class Panel(models.TextChoices):
        NONE = "none", "None"
        PROLIFIC = "prolific", "Prolific"
        OTHER = "other", "Another, through the return address"

    slug = models.SlugField(max_length=64, unique=True)
    title = models.CharField(max_length=200)
    problem_set = models.ForeignKey(ProblemSet, models.PROTECT, related_name="studies")
    problem_limit = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[AT_LEAST_ONE],
        help_text="Use only so many problems, spread over the kinds. Empty: all.",
    )
    language = models.CharField(
        max_length=5, choices=Language.choices, default=Language.ENGLISH, help_text="Of the buttons and notes."
    )
    question = models.CharField(max_length=300, default=QUESTION)
    consent_text = models.TextField(default=CONSENT)
    instructions = models.TextField(blank=True, default=INSTRUCTIONS, help_text="Read once, after consent.")
    levels = models.PositiveSmallIntegerField(
        default=Levels.FIVE, choices=Levels.choices, help_text="Steps of the overall choice, the tie included."
    )
    criteria = models.JSONField(
        default=list,
        blank=True,
        validators=[known_criteria],
        help_text=f"Asked besides the overall choice, as a list: {', '.join(CRITERIA)}.",
    )
    reason_tags = models.JSONField(
        default=list, blank=True, help_text='Reasons that a rater can tick, as a list: ["clearer", "shorter"].'
    )
    answer_shown = models.BooleanField(default=True, help_text="Show the model's answer with the problem.")
    chain_shown = models.BooleanField(
        default=True,
        help_text="Show the chain above the explanations. Switch it off where an arm is the chain itself.",
    )
    simulation = models.CharField(
        max_length=14,
        choices=Simulation.choices,
        default=Simulation.NONE,
        help_text="Have raters predict the model's answer as well (Hase & Bansal 2020). Hides the answer.",
    )
    judgements_wanted = models.PositiveSmallIntegerField(
        default=5, validators=[AT_LEAST_ONE], help_text="Judgements wanted per comparison."
    )
    rater_limit = models.PositiveSmallIntegerField(
        default=12, validators=[AT_LEAST_ONE], help_text="Comparisons that one rater is given at most."
    )
    seed = models.PositiveIntegerField(default=0, help_text="Fixes the order of comparisons and of sides.")
    repeats = models.PositiveSmallIntegerField(
        default=0, help_text="Comparisons that a rater is shown a second time, sides swapped, without being told."
    )
    fast_seconds = models.PositiveSmallIntegerField(
        default=3, help_text="An answer given in less active time than this counts as fast, in seconds."
    )
    reject_failed_checks = models.BooleanField(
        default=False, help_text="End a rater's study after two failed gold comparisons. Otherwise only shown to you."
    )
    pastes_noted = models.BooleanField(
        default=False, help_text="Note whether a reason was pasted. Say so in the consent text."
    )
    withdrawal = models.CharField(
        max_length=10,
        choices=Withdrawal.choices,
        default=Withdrawal.ERASE,
        help_text="What becomes of the answers of a rater who withdraws.",
    )
    review_until = models.DateTimeField(
        null=True, blank=True, help_text="Raters can change their answers until then. Empty: until the study closes."
    )
    pay = models.CharField(max_length=100, blank=True, help_text="What raters are told they get, such as “£3.00”.")
    break_after = models.PositiveSmallIntegerField(
        default=25, help_text="Suggest a break after so many answers. 0: never."
    )
    invited_only = models.BooleanField(default=False, help_text="Only raters with a personal invitation take part.")
    panel = models.CharField(max_length=10, choices=Panel.choices, default=Panel.NONE)
    return_url = models.CharField(
        max_length=500,
        blank=True,
        help_text="Where raters are sent at the end. {code}, {status} and {participant} are filled in. Empty for "
        "Prolific: its own address.",
    )
    code_complete = models.CharField(max_length=40, blank=True)
    code_screened_out = models.CharField(max_length=40, blank=True)
    code_refused = models.CharField(max_length=40, blank=True)
    code_failed_checks = models.CharField(max_length=40, blank=True)
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

    @property
    def strengths(self) -> int:
        """How many strengths a preference has: 1, 2 or 3."""
        return self.levels // 2

    @property
    def consent_sha256(self) -> str:
        """The version of the consent text."""
        return hashlib.sha256(self.consent_text.encode()).hexdigest()

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


class Invite(models.Model):
    """A personal link to a study. Opening it uses nothing up; consent does, and binds it to the one rater."""

    study = models.ForeignKey(Study, models.CASCADE, related_name="invites")
    label = models.CharField(max_length=100, blank=True, help_text="For your own list. Raters never see it.")
    expires_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ("pk",)

    def __str__(self) -> str:
        return self.label or f"invitation {self.pk}"
