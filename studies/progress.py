"""How far a study and a rater have come. Only reads."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import ceil
from statistics import median

from django.core.cache import cache
from django.db.models import Sum
from django.db.models.functions import Coalesce

from inference.models import Trace
from studies.models import Comparison, Judgement, Rater, Study
from studies.prepared import Prepared

COUNTS = Prepared(lambda pk: Rater.objects.with_counts().filter(pk=pk), int)
ENOUGH = 5  # answers below which a share or a median says too little
LATEST = 200  # answers that the usual pace is taken from


@dataclass(frozen=True)
class RaterProgress:
    """Hidden repeats and gold comparisons count like the others here, as they look like them."""

    done: int
    limit: int  # that this rater is given at most
    minutes_left: int | None  # about; None as long as nobody's pace is known
    break_due: bool
    last_judgement: int | None  # the answer that can be taken back

    @property
    def left(self) -> int:
        return max(self.limit - self.done, 0)


@dataclass(frozen=True)
class Agreement:
    """Of `comparable` answers that at least two others gave a clear majority for, `same` were the majority's."""

    same: int
    comparable: int

    @property
    def percent(self) -> int:
        return round(100 * self.same / self.comparable)


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
    counts = COUNTS.get(rater.pk)
    study = rater.study
    done = counts.done + counts.repeats_done + counts.checks_done
    limit = min(study.rater_limit, counts.places) + study.repeats + counts.gold
    times = [float(seconds) for seconds in (counts.times or "").split()]
    pace = median(times) if times else usual_pace(study)
    return RaterProgress(
        done=done,
        limit=limit,
        minutes_left=ceil((limit - done) * pace / 60) if pace and done < limit else None,
        break_due=bool(study.break_after and done and done % study.break_after == 0 and done < limit),
        last_judgement=counts.last_judgement,
    )


def usual_pace(study: Study) -> float | None:
    """Median seconds of the study's latest answers, for somebody who has given none; None before ENOUGH. Kept for a
    minute, so that it costs no page a query of its own.
    """
    key = f"usual-pace-of-study-{study.pk}"
    known: float | None = cache.get(key)
    if known is None:
        known = median_pace(study) or 0.0
        cache.set(key, known, timeout=60)
    return known or None


def median_pace(study: Study) -> float | None:
    timed = Judgement.objects.filter(assignment__comparison__study=study).annotate(
        pace=Coalesce("active_seconds", "seconds")
    )
    latest = timed.filter(pace__isnull=False).order_by("-pk").values_list("pace", flat=True)[:LATEST]
    return median(latest) if len(latest) >= ENOUGH else None


def agreement(rater: Rater) -> Agreement | None:
    """How often the rater chose as most others did; None below ENOUGH answers that can be compared."""
    given = Judgement.objects.comparing().values_list("assignment__comparison", "choice")
    mine = dict(given.filter(assignment__rater=rater))
    others: dict[int, Counter[str]] = {}
    for comparison, choice in given.filter(assignment__comparison__in=mine).exclude(assignment__rater=rater):
        others.setdefault(comparison, Counter())[choice] += 1
    majorities = {key: choice for key, counts in others.items() if (choice := majority(counts))}
    if len(majorities) < ENOUGH:
        return None
    return Agreement(sum(mine[key] == choice for key, choice in majorities.items()), len(majorities))


def majority(counts: Counter[str]) -> str:
    """The choice of more than half of at least two people; empty where there is none."""
    choice, number = counts.most_common(1)[0]
    return choice if counts.total() > 1 and number > counts.total() / 2 else ""


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
