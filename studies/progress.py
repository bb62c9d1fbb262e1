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
    can_undo: bool
    preparing: int  # comparisons of the study whose explanations are still being made
    stage: str  # what a worker is doing for the study now; empty when nothing


@dataclass(frozen=True)
class Failure:
    explanation_id: int
    problem: str
    arm: str
    error: str


@dataclass(frozen=True)
class StudyProgress:
    comparisons: int
    ready: int
    preparing: int
    failed: int
    judgements: int
    wanted: int
    raters: int
    stages: list[str]
    failures: list[Failure]


def for_rater(rater: Rater) -> RaterProgress:
    study = rater.study
    done = Judgement.objects.current().filter(assignment__rater=rater).count()
    preparing = Comparison.objects.filter(study=study).preparing().count()
    return RaterProgress(
        done=done,
        limit=min(study.rater_limit, study.comparisons.count()),
        can_undo=done > 0,
        preparing=preparing,
        stage=next(iter(stages(study)), "") if preparing else "",
    )


def for_study(study: Study) -> StudyProgress:
    comparisons = Comparison.objects.filter(study=study)
    return StudyProgress(
        comparisons=comparisons.count(),
        ready=comparisons.ready().count(),
        preparing=comparisons.preparing().count(),
        failed=comparisons.failed().count(),
        judgements=Judgement.objects.current().filter(assignment__comparison__study=study).count(),
        wanted=comparisons.aggregate(sum=Sum("wanted"))["sum"] or 0,
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
    failed = study.explanations().failed().select_related("trace__problem")
    return [Failure(row.pk, row.trace.problem.key, arms[row.explainer_id], row.error) for row in failed]
