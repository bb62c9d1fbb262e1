"""The words that rows of a study answer to: open, preparing, unanswered, current."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models import Case, Exists, F, Func, IntegerField, OuterRef, Q, Subquery, TextField, When
from django.db.models.expressions import CombinedExpression
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

    def not_given_to(self, rater: Rater | int) -> ComparisonQuerySet:
        from studies.models import Assignment

        return self.filter(~Exists(Assignment.objects.filter(comparison=OuterRef("pk"), rater=rater)))

    def with_texts(self) -> ComparisonQuerySet:
        """Everything that the compare page shows, in one query."""
        return self.select_related("problem", "first__trace", "second")

    def with_leads(self, rater: Rater | int) -> ComparisonQuerySet:
        """Adds by how many the first arm stood on the left more often than on the right: `mine_lead` for this rater
        and pair of arms, `all_lead` for this comparison. Repeats, whose sides are not drawn, are left out.
        """
        from studies.models import Assignment

        drawn = Assignment.objects.filter(repeat_of__isnull=True)
        pair = {f"comparison__{arm}": OuterRef(arm) for arm in ("first_arm", "second_arm")}
        return self.annotate(
            mine_lead=lead(drawn.filter(rater=rater, **pair)), all_lead=lead(drawn.filter(comparison=OuterRef("pk")))
        )


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
        """Adds how far a rater is: `done` (answers that stand), `repeats_done` and `checks_done` (hidden repeats and
        gold comparisons answered), `gold` (in the study), `last_judgement` (that can be taken back), `places`
        (comparisons of the study), `times` (active seconds of the answers, as numbers between spaces).
        """
        from studies.models import CheckAnswer, CheckItem, Judgement

        mine = Judgement.objects.current().filter(assignment__rater=OuterRef("pk"))
        checks = CheckAnswer.objects.filter(rater=OuterRef("pk"), item__purpose="gold", answered_at__isnull=False)
        return self.annotate(
            done=counted(mine.filter(assignment__repeat_of__isnull=True)),
            repeats_done=counted(mine.filter(assignment__repeat_of__isnull=False)),
            checks_done=counted(checks),
            gold=counted(CheckItem.objects.filter(study=OuterRef("study"), purpose="gold")),
            last_judgement=Subquery(mine.order_by("-pk").values("pk")[:1]),
            places=places(),
            times=Subquery(
                mine.order_by().annotate(listed=Listed(Coalesce("active_seconds", "seconds"))).values("listed")
            ),
        )

    def with_hand(self) -> RaterQuerySet:
        """Adds what decides on the next thing to hand out: `held` and `check_held` (given and not yet answered),
        `practice` (the next item), `given` and `repeated` (comparisons held, repeats), `gold` and `gold_given`,
        `number` (last of the rater's order), `places` (comparisons of the study) and `closed_at`.
        """
        from studies.models import Assignment, CheckAnswer, CheckItem, Study

        mine = Assignment.objects.filter(rater=OuterRef("pk"), released_at__isnull=True)
        checks = CheckAnswer.objects.filter(rater=OuterRef("pk"))
        items = CheckItem.objects.filter(study=OuterRef("study"))
        answered = CheckAnswer.objects.filter(item=OuterRef("pk"), rater=OuterRef(OuterRef("pk")))
        practice = items.filter(~Exists(answered), purpose="practice").order_by("position", "pk")
        return self.annotate(
            held=Subquery(mine.unanswered().order_by("pk").values("pk")[:1]),
            check_held=Subquery(checks.filter(answered_at__isnull=True).order_by("pk").values("pk")[:1]),
            practice=Subquery(practice.values("pk")[:1]),
            given=counted(mine.filter(repeat_of__isnull=True)),
            repeated=counted(mine.filter(repeat_of__isnull=False)),
            gold=counted(items.filter(purpose="gold")),
            gold_given=counted(checks.filter(item__purpose="gold")),
            number=Coalesce(
                Subquery(
                    Assignment.objects.filter(rater=OuterRef("pk")).order_by("-number").values("number")[:1],
                ),
                0,
            ),
            places=places(),
            closed_at=Subquery(Study.objects.filter(pk=OuterRef("study")).values("closed_at")),
        )


def places() -> CombinedExpression:
    """Of a rater's study. Positions run from 0 without a gap, so the last one counts them, whatever their number."""
    from studies.models import Comparison

    last = Comparison.objects.filter(study=OuterRef("study")).order_by("-position").values("position")[:1]
    return Coalesce(Subquery(last), -1) + 1


def lead(placements: models.QuerySet[Any]) -> Coalesce:
    """Placements on the left minus placements on the right, as one column of an outer query."""
    step = Case(When(first_on_left=True, then=1), default=-1)
    total = Func(step, function="SUM", output_field=IntegerField())
    return Coalesce(Subquery(placements.order_by().annotate(lead=total).values("lead")), 0)


class Listed(Func):
    """All values of a column as one text, with spaces between; None without any."""

    output_field = TextField()
    template = "GROUP_CONCAT(%(expressions)s, ' ')"

    def as_postgresql(self, compiler: Any, connection: Any) -> Any:
        return self.as_sql(compiler, connection, template="STRING_AGG((%(expressions)s)::text, ' ')")


def counted(rows: models.QuerySet[Any]) -> Subquery:
    """The number of `rows` as one column of an outer query."""
    return Subquery(
        rows.order_by().annotate(counted=Func(template="COUNT(*)", output_field=IntegerField())).values("counted")
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
