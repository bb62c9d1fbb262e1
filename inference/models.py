"""What the model was asked, what it answered, and how that was explained.

State is rows and timestamps. A trace has no status: it *has work* while one of its explanations is neither made
nor failed, and it *is being worked on* while its lease runs. Every such word is a query in `querysets.py`.
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import BaseValidator, MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from inference.core.recipe import check_writer
from inference.querysets import (
    ExplanationQuerySet,
    HeadVersionQuerySet,
    TraceQuerySet,
    UnchangeableError,
    UnchangingQuerySet,
)


def between(least: int, most: int) -> list[BaseValidator]:
    return [MinValueValidator(least), MaxValueValidator(most)]


class ProblemSet(models.Model):
    """A named, versioned collection of problems. A set never changes once imported: a change is a new version."""

    slug = models.SlugField(max_length=64)
    version = models.PositiveIntegerField(default=1)
    name = models.CharField(max_length=200)
    source = models.CharField(max_length=300, blank=True, help_text="Where the problems come from, with licence.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ("slug", "-version")
        constraints = [models.UniqueConstraint(fields=("slug", "version"), name="one_problem_set_per_version")]

    def __str__(self) -> str:
        return f"{self.name} v{self.version}"


class Problem(models.Model):
    """A question, its options if it is a choice, and the gold answer where there is one."""

    class Kind(models.TextChoices):
        LOGIC = "logic", "Logic"
        MATHS = "maths", "Maths"
        COMMONSENSE = "commonsense", "Commonsense"
        ETHICS = "ethics", "Ethical dilemma"

    class Asks(models.TextChoices):
        CHOICE = "choice", "One of the options"
        NUMBER = "number", "A number"
        FREE = "free", "A short text"

    problem_set = models.ForeignKey(ProblemSet, models.PROTECT, related_name="problems")
    key = models.CharField(max_length=100, help_text="The problem's own id within its set.")
    position = models.PositiveIntegerField()
    kind = models.CharField(max_length=20, choices=Kind.choices)
    question = models.TextField()
    asks = models.CharField(max_length=10, choices=Asks.choices, default=Asks.CHOICE)
    options = models.JSONField(help_text="The texts of the options, in order; an empty list unless it is a choice.")
    gold = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="Index of the right option, from 0; empty where no answer is right."
    )
    gold_text = models.CharField(
        max_length=500, blank=True, help_text="The right number or text where there are no options."
    )

    class Meta:
        ordering = ("problem_set", "position")
        constraints = [
            models.UniqueConstraint(fields=("problem_set", "key"), name="one_problem_per_key"),
            models.UniqueConstraint(fields=("problem_set", "position"), name="one_problem_per_position"),
            models.CheckConstraint(
                condition=Q(asks="choice", gold_text="") | (~Q(asks="choice") & Q(gold__isnull=True)),
                name="gold_is_an_option_or_a_text",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.key}: {self.question[:60]}"


class Unchanging(models.Model):
    """Rows that are written once. A change is a new row."""

    class Meta:
        abstract = True

    def save(self, *args: Any, **options: Any) -> None:
        if not self._state.adding:
            raise UnchangeableError(f"{self} is never changed; write a new row instead.")
        super().save(*args, **options)

    def delete(self, *args: Any, **options: Any) -> tuple[int, dict[str, int]]:
        raise UnchangeableError(f"{self} is never deleted.")


class HeadVersion(Unchanging):
    """One trained state of the metacognitive head. Its row and its files never change; an alias says which is in use.

    Number 0 is untrained: it has no file, scores nothing, and is in use for every model that has no trained one.
    """

    number = models.PositiveIntegerField(unique=True)
    sha256 = models.CharField(
        max_length=64, blank=True, help_text="Hash of the weights and their configuration, and the folder's name."
    )
    base_model = models.CharField(
        max_length=300, blank=True, help_text="The model that it was fitted on, and the only one it works with."
    )
    base_revision = models.CharField(max_length=100, blank=True)
    config = models.JSONField(default=dict, help_text="Layer, width and feature spec that it was fitted on.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = HeadVersionQuerySet.as_manager()

    class Meta:
        ordering = ("-number",)
        constraints = [
            models.CheckConstraint(condition=Q(number=0) | ~Q(sha256=""), name="a_trained_head_has_a_file"),
        ]

    def __str__(self) -> str:
        return f"head v{self.number}" + ("" if self.trained else " (untrained)")

    @property
    def trained(self) -> bool:
        return self.number > 0


class HeadAlias(models.Model):
    """A name that moves from head to head, one of each for a base model. Only `heads.py` moves them."""

    class Name(models.TextChoices):
        CURRENT = "current", "In use"
        PREVIOUS = "previous", "In use before, and again after a rollback"
        CANDIDATE = "candidate", "The newest that was held"

    name = models.CharField(max_length=10, choices=Name.choices)
    base_model = models.CharField(max_length=300)
    base_revision = models.CharField(max_length=100, blank=True)
    head = models.ForeignKey(HeadVersion, models.PROTECT, related_name="aliases")

    class Meta:
        verbose_name_plural = "head aliases"
        constraints = [
            models.UniqueConstraint(fields=("base_model", "base_revision", "name"), name="one_head_per_alias")
        ]

    def __str__(self) -> str:
        return f"{self.name} of {self.base_model}"


class Promotion(Unchanging):
    """One change of the head in use: from which to which, by whom and why. Append-only."""

    class Kind(models.TextChoices):
        PROMOTE = "promote", "Promoted"
        FORCE = "force", "Promoted by force"
        ROLLBACK = "rollback", "Rolled back"

    kind = models.CharField(max_length=10, choices=Kind.choices)
    base_model = models.CharField(max_length=300)
    base_revision = models.CharField(max_length=100, blank=True)
    from_head = models.ForeignKey(HeadVersion, models.PROTECT, related_name="promotions_from")
    to_head = models.ForeignKey(HeadVersion, models.PROTECT, related_name="promotions_to")
    by = models.CharField(max_length=150, help_text="Who did it: an account, or a user of a machine.")
    reason = models.TextField()
    at = models.DateTimeField(default=timezone.now, editable=False)

    objects = UnchangingQuerySet.as_manager()

    class Meta:
        ordering = ("-pk",)
        constraints = [models.CheckConstraint(condition=~Q(reason=""), name="a_promotion_has_a_reason")]

    def __str__(self) -> str:
        return f"{self.from_head} → {self.to_head}"


class Explainer(models.Model):
    """A named, versioned recipe for explanations. Rows are never edited once used: a change is a new version."""

    class Method(models.TextChoices):
        INVERSE = "inverse", "Inverse reasoning"
        CHAIN = "chain", "The raw chain of thought"
        SELF_EXPLAIN = "self_explain", "Asked afterwards to explain itself"
        ATTENTION = "attention", "Where the model looked, untested"
        API = "api", "Chain and self-explanation from a server"

    class Says(models.TextChoices):
        EXPLANATION = "explanation", "What the model says afterwards"
        CHAIN = "chain", "The raw chain of thought"

    class Writer(models.TextChoices):
        TEMPLATES = "templates", "Templates"
        MODEL = "model", "The model; templates where nothing of it is supported"
        BOTH = "both", "Both"

    name = models.SlugField(max_length=64)
    version = models.PositiveIntegerField(default=1)
    method = models.CharField(max_length=20, choices=Method.choices)
    model = models.CharField(
        max_length=300,
        blank=True,
        help_text="Hub name or folder of the model. Empty: the SAGE_MODEL setting. For method api the model's name "
        "at the server that the worker's SAGE_API_URL names.",
    )
    revision = models.CharField(max_length=100, blank=True)
    says = models.CharField(
        max_length=20,
        choices=Says.choices,
        default=Says.EXPLANATION,
        help_text="Which text of a run is the explanation. Only for method api; a run makes both.",
    )
    head_version = models.ForeignKey(
        HeadVersion,
        models.PROTECT,
        null=True,
        blank=True,
        help_text="Empty: the head in use at the moment an explanation is asked for. Only for method inverse.",
    )
    seed = models.PositiveIntegerField(default=0)
    max_new_tokens = models.PositiveIntegerField(
        default=160, validators=between(16, 2048), help_text="Longest chain, in tokens, 16 to 2048."
    )
    writer = models.CharField(
        max_length=10,
        choices=Writer.choices,
        default=Writer.TEMPLATES,
        help_text="Who writes from the evidence record. What the record does not support is dropped either way.",
    )
    candidates = models.PositiveSmallIntegerField(
        default=3,
        validators=between(1, 8),
        help_text="How many texts each writer makes for the head to choose from, 1 to 8; the templates have 3.",
    )
    tested_steps = models.PositiveSmallIntegerField(
        default=5, validators=between(0, 20), help_text="How many steps are tested causally, 0 to 20."
    )
    rollouts = models.PositiveSmallIntegerField(
        default=6, validators=between(1, 200), help_text="How many resamples test one step, 1 to 200."
    )
    budget = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=between(1, 100_000_000),
        help_text="Tokens that all rollouts of a problem may have; empty: as many as they need.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ("name", "-version")
        constraints = [
            models.UniqueConstraint(fields=("name", "version"), name="one_explainer_per_version"),
            models.CheckConstraint(
                condition=(Q(method="api") & ~Q(model="")) | (~Q(method="api") & ~Q(model__startswith="api:")),
                name="a_model_is_local_or_named_at_a_server",
                violation_error_message="Method api needs the model's name at the server; for the other methods the "
                "name of a model cannot begin with “api:”.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} v{self.version}"

    def clean(self) -> None:
        try:
            check_writer(self.writer, self.candidates)
        except ValueError as error:
            raise ValidationError({"candidates": str(error)}) from error

    @property
    def uses_head(self) -> bool:
        return self.method == self.Method.INVERSE

    @property
    def shows_chain(self) -> bool:
        """Whether its explanation is the chain itself."""
        return self.method == self.Method.CHAIN or (self.method == self.Method.API and self.says == self.Says.CHAIN)


class Trace(models.Model):
    """One forward run of a model on a problem, and the unit of work of the queue (see `queue.py`).

    Lease columns: `worker` is the fencing token of the process that holds the trace until `lease_until`.
    """

    problem = models.ForeignKey(Problem, models.PROTECT, related_name="traces")
    model = models.CharField(max_length=304, help_text="As loaded here; “api:” and a name where a server has it.")
    revision = models.CharField(max_length=100, blank=True)
    seed = models.PositiveIntegerField(default=0)
    max_new_tokens = models.PositiveIntegerField()

    attempts = models.PositiveSmallIntegerField(default=0, editable=False)
    worker = models.CharField(max_length=64, blank=True, editable=False)
    lease_until = models.DateTimeField(null=True, editable=False)
    stage = models.CharField(max_length=100, blank=True, editable=False)

    made_at = models.DateTimeField(null=True, editable=False)
    prompt = models.TextField(blank=True)
    chain = models.TextField(blank=True)
    answer_index = models.PositiveSmallIntegerField(null=True, blank=True)
    answer_text = models.TextField(blank=True)
    record = models.JSONField(
        default=dict, help_text="inference.core.Trace as JSON: tokens, log-probabilities, entropies, steps."
    )
    provenance = models.JSONField(default=dict)

    objects = TraceQuerySet.as_manager()

    class Meta:
        ordering = ("pk",)
        constraints = [
            models.UniqueConstraint(
                fields=("problem", "model", "revision", "seed", "max_new_tokens"), name="one_trace_per_run"
            )
        ]

    def __str__(self) -> str:
        return f"trace {self.pk} of {self.problem_id}"


class Explanation(models.Model):
    """Text made by one explainer for one trace. Pending until `made_at` or `failed_at` is set, never both."""

    trace = models.ForeignKey(Trace, models.PROTECT, related_name="explanations")
    explainer = models.ForeignKey(Explainer, models.PROTECT, related_name="explanations")
    head_version = models.ForeignKey(
        HeadVersion,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="explanations",
        help_text="The head that ranked the steps and chose the text; fixed when the explanation is asked for.",
    )
    asked_at = models.DateTimeField(default=timezone.now, editable=False)
    made_at = models.DateTimeField(null=True, editable=False)
    failed_at = models.DateTimeField(null=True, editable=False)
    error = models.TextField(blank=True, editable=False)

    text = models.TextField(blank=True)
    evidence = models.JSONField(
        default=dict, help_text="The evidence record; empty for methods that measure nothing."
    )
    candidates = models.JSONField(
        default=list, help_text="[{text, style, score, rejected}] that the head chose from."
    )
    provenance = models.JSONField(default=dict)

    objects = ExplanationQuerySet.as_manager()

    class Meta:
        ordering = ("pk",)
        constraints = [
            models.UniqueConstraint(
                fields=("trace", "explainer", "head_version"),
                condition=Q(head_version__isnull=False),
                name="one_explanation_per_head",
            ),
            models.UniqueConstraint(
                fields=("trace", "explainer"),
                condition=Q(head_version__isnull=True),
                name="one_explanation_without_head",
            ),
            models.CheckConstraint(
                condition=Q(made_at__isnull=True) | Q(failed_at__isnull=True), name="made_or_failed_not_both"
            ),
            models.CheckConstraint(
                condition=Q(made_at__isnull=True) | ~Q(text=""), name="a_made_explanation_has_text"
            ),
        ]
        indexes = [
            models.Index(
                fields=("trace",),
                condition=Q(made_at__isnull=True, failed_at__isnull=True),
                name="explanation_pending",
            )
        ]

    def __str__(self) -> str:
        return f"{self.explainer} on trace {self.trace_id}"
