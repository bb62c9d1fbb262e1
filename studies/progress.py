"""How far a study and a rater have come. Only reads."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Sum

from inference.models import Trace
from studies.models import Comparison, Judgement, Rater, Study


@dataclass(frozen=True)
class RaterProgress:
    done: int
    limit: int  # comparisons that this rater is given at most
    last_judgement: int | None  # the answer that can be taken back


@dataclass(frozen=True)
class Preparation:
    """What is still being made for a study; `stage` is what a worker is doing for it now, empty when nothing."""

    comparisons: int
    stage: str


@dataclass(frozen=True)
class Failure:
    problem: str
    arm: str
    error: str


@dataclass(frozen=True)
class StudyProgress:
    comparisons: int
    ready: int
    preparing: int
    judgements: int
    wanted: int
    raters: int
    stages: list[str]
    failures: list[Failure]


def for_rater(rater: Rater) -> RaterProgress:
    counts = Rater.objects.with_counts().values("done", "places", "last_judgement").get(pk=rater.pk)  # type: ignore[misc]
    limit = min(rater.study.rater_limit, counts["places"])
    return RaterProgress(done=counts["done"], limit=limit, last_judgement=counts["last_judgement"])


def preparation(study: Study) -> Preparation:
    preparing = Comparison.objects.filter(study=study).preparing().count()
    return Preparation(preparing, next(iter(stages(study)), "") if preparing else "")


def for_study(study: Study) -> StudyProgress:
    comparisons = Comparison.objects.filter(study=study)
    return StudyProgress(
        comparisons=comparisons.count(),
        ready=comparisons.ready().count(),
        preparing=comparisons.preparing().count(),
        judgements=Judgement.objects.current().filter(assignment__comparison__study=study).count(),
        wanted=comparisons.exclude(pk__in=comparisons.failed()).aggregate(sum=Sum("wanted"))["sum"] or 0,
        raters=study.raters.count(),
        stages=stages(study),
        failures=failures(study),
    )


def stages(study: Study) -> list[str]:
    """What the workers that hold this study's traces are doing now."""
    working = Trace.objects.exclude(worker="").filter(explanations__in=study.explanations().pending())
    return list(working.distinct().values_list("stage", flat=True))


def failures(study: Study) -> list[Failure]:
    """The explanations of this study that could not be made, with the reason."""
    arms = dict(study.arms.values_list("explainer_id", "name"))
    failed = study.explanations().failed().select_related("trace__problem").defer("trace__record", "trace__prompt")
    return [Failure(row.trace.problem.key, arms[row.explainer_id], row.error) for row in failed]
