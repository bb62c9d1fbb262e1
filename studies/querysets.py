"""The words that rows of a study answer to: open, preparing, unanswered, current."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models import Exists, F, Func, IntegerField, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce

if TYPE_CHECKING:
    from studies.models import Assignment, Comparison, Judgement, Rater  # noqa: F401  # named in the bases below


class ComparisonQuerySet(models.QuerySet["Comparison"]):
    def ready(self) -> ComparisonQuerySet:
        """Both explanations are made."""
        return self.filter(first__made_at__isnull=False, second__made_at__isnull=False)

    def wanting(self) -> ComparisonQuerySet:
        return self.filter(taken__lt=F("wanted"))

    def open(self) -> ComparisonQuerySet:
        """Can be handed out now."""
        return self.ready().wanting()

    def failed(self) -> ComparisonQuerySet:
        """Will not become ready unless somebody retries."""
        return self.filter(Q(first__failed_at__isnull=False) | Q(second__failed_at__isnull=False))

    def preparing(self) -> ComparisonQuerySet:
        """An explanation is still to be made, and none has failed."""
        pending = Q(first__made_at__isnull=True) | Q(second__made_at__isnull=True)
        return self.filter(pending, first__failed_at__isnull=True, second__failed_at__isnull=True)

    def not_given_to(self, rater: Rater) -> ComparisonQuerySet:
        from studies.models import Assignment

        return self.filter(~Exists(Assignment.objects.filter(comparison=OuterRef("pk"), rater=rater)))

    def with_texts(self) -> ComparisonQuerySet:
        """Everything that the compare page shows, in one query."""
        return self.select_related("problem", "first__trace", "second")


class AssignmentQuerySet(models.QuerySet["Assignment"]):
    def unanswered(self) -> AssignmentQuerySet:
        """Without an answer that its rater stands by: never judged, or taken back."""
        from studies.models import Judgement

        return self.filter(~Exists(Judgement.objects.current().filter(assignment=OuterRef("pk"))))

    def with_texts(self) -> AssignmentQuerySet:
        """Everything that the compare page shows, in one query."""
        return self.select_related("comparison__problem", "comparison__first__trace", "comparison__second")


class RaterQuerySet(models.QuerySet["Rater"]):
    def with_counts(self) -> RaterQuerySet:
        """Adds what changes under a rater: `given` (comparisons held), `done` (answers that stand), `last_judgement`,
        `places` (comparisons of the study) and `closed_at`.
        """
        from studies.models import Assignment, Comparison, Judgement, Study

        given = Assignment.objects.filter(rater=OuterRef("pk"), released_at__isnull=True)
        done = Judgement.objects.current().filter(assignment__rater=OuterRef("pk"))
        # Positions run from 0 without a gap, so the last one counts them, whatever the size of the study.
        last = Comparison.objects.filter(study=OuterRef("study")).order_by("-position").values("position")[:1]
        return self.annotate(
            given=counted(given),
            done=counted(done),
            last_judgement=Subquery(done.order_by("-pk").values("pk")[:1]),
            places=Coalesce(Subquery(last), -1) + 1,
            closed_at=Subquery(Study.objects.filter(pk=OuterRef("study")).values("closed_at")),
        )


def counted(rows: models.QuerySet[Any]) -> Subquery:
    """The number of `rows` as one column of an outer query."""
    return Subquery(
        rows.order_by().annotate(number=Func(template="COUNT(*)", output_field=IntegerField())).values("number")
    )


class JudgementQuerySet(models.QuerySet["Judgement"]):
    def latest_revisions(self) -> JudgementQuerySet:
        later = self.model._default_manager.filter(
            assignment=OuterRef("assignment"), revision__gt=OuterRef("revision")
        )
        return self.filter(~Exists(later))

    def current(self) -> JudgementQuerySet:
        """What raters stand by now: the last revision of each answer, unless it was taken back."""
        return self.latest_revisions().exclude(choice="undone")

    def comparing(self) -> JudgementQuerySet:
        """The current ones that say something about the explanations: no "cannot judge", no hidden repeats."""
        return self.current().filter(assignment__repeat_of__isnull=True).exclude(choice="cannot_judge")
