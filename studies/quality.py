"""What a rater's answers say about the care they were given with. Signals for the researcher, never a verdict.

Nothing here changes anything. Only a protocol that says so ends a rater's study, after two failed gold comparisons.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from statistics import median

from django.db.models import Count, Q
from django.db.models.functions import Coalesce

from studies.models import CheckAnswer, CheckItem, Judgement, Rater, Study

MANY_FAST = 0.25  # share of fast answers
FEW_REPEATED = 0.5  # share of hidden repeats answered as before, of at least TWO
TWO = 2
UNLIKELY = 0.01  # chance of such a run on one side


@dataclass(frozen=True)
class Repeats:
    """Hidden repeats that were answered, sides swapped, and those of them that got the same choice again."""

    same: int = 0
    answered: int = 0


@dataclass(frozen=True)
class Signals:
    """One rater. Shares are from 0 to 1, None where there is nothing to take a share of; seconds are active ones.

    `run` is the longest run of answers for the same side, left or right, and `run_chance` the probability of one at
    least as long if sides were drawn by a coin. Sides are counterbalanced, so careful raters come close to that.
    """

    rater: Rater
    answers: int
    gold_passed: int
    gold_failed: int
    repeats: Repeats
    fast: float | None
    seconds: float | None
    run: int
    run_chance: float | None
    pastes: int
    released: int
    concerns: list[str] = field(default_factory=list)

    @property
    def concern(self) -> int:
        return len(self.concerns)

    @property
    def gold_given(self) -> int:
        return self.gold_passed + self.gold_failed

    @property
    def fast_percent(self) -> int | None:
        return None if self.fast is None else round(100 * self.fast)


@dataclass(frozen=True)
class Answer:
    """What the signals need of one current judgement. `side` is left, right, or empty without a preferred arm."""

    choice: str
    side: str
    seconds: float | None
    pasted: bool
    repeats_choice: str | None  # of the judgement that this one repeats; None when it repeats none


def of_study(study: Study) -> list[Signals]:
    """The signals of every rater who did not withdraw, most concerning first. Four queries, whatever their number."""
    raters = study.raters.filter(withdrawn_at__isnull=True).annotate(
        released=Count("assignments", filter=Q(assignments__released_at__isnull=False))
    )
    answers, gold = answers_of(study), gold_of(study)
    found = [of_rater(rater, answers.get(rater.pk, []), gold.get(rater.pk, (0, 0)), study) for rater in raters]
    return sorted(found, key=lambda signals: (-signals.concern, signals.rater.pk))


def of_rater(rater: Rater, answers: list[Answer], gold: tuple[int, int], study: Study) -> Signals:
    timed = [answer.seconds for answer in answers if answer.seconds is not None]
    run, decided = longest_run(answer.side for answer in answers), sum(bool(answer.side) for answer in answers)
    repeated = [answer for answer in answers if answer.repeats_choice is not None]
    same = sum(answer.choice == answer.repeats_choice for answer in repeated)
    signals = Signals(
        rater=rater,
        answers=len(answers),
        gold_passed=gold[0],
        gold_failed=gold[1],
        repeats=Repeats(same, len(repeated)),
        fast=sum(seconds < study.fast_seconds for seconds in timed) / len(timed) if timed else None,
        seconds=median(timed) if timed else None,
        run=run,
        run_chance=chance_of_run(run, decided) if decided else None,
        pastes=sum(answer.pasted for answer in answers),
        released=rater.released,  # type: ignore[attr-defined]  # by of_study
    )
    signals.concerns.extend(concerns(signals))
    return signals


def concerns(signals: Signals) -> Iterator[str]:
    """What a researcher would want to look at, in plain words."""
    if signals.gold_failed:
        yield f"{signals.gold_failed} failed gold"
    repeats = signals.repeats
    if repeats.answered >= TWO and repeats.same / repeats.answered < FEW_REPEATED:
        yield "repeats differ"
    if signals.fast is not None and signals.fast > MANY_FAST:
        yield "often fast"
    if signals.run_chance is not None and signals.run_chance < UNLIKELY:
        yield "one side"
    if signals.pastes:
        yield "pasted"


def answers_of(study: Study) -> dict[int, list[Answer]]:
    """Current answers by rater, in the order in which the comparisons were handed out."""
    rows = Judgement.objects.current().filter(assignment__comparison__study=study)
    shown = rows.annotate(time=Coalesce("active_seconds", "seconds")).values_list(
        "assignment", "assignment__rater", "choice", "assignment__first_on_left", "time", "pasted",
        "assignment__repeat_of",
    )  # fmt: skip
    found = list(shown.order_by("assignment__rater", "assignment__number", "assignment"))
    choices = {assignment: choice for assignment, _, choice, *_ in found}
    return {
        rater: [
            Answer(choice, side_of(choice, left), seconds, bool(pasted), choices.get(source) if source else None)
            for _, _, choice, left, seconds, pasted, source in group
        ]
        for rater, group in groupby(found, key=lambda row: row[1])
    }


def side_of(choice: str, first_on_left: bool) -> str:
    if choice not in ("first", "second"):
        return ""
    return "left" if (choice == "first") == first_on_left else "right"


def gold_of(study: Study) -> dict[int, tuple[int, int]]:
    """(passed, failed) gold comparisons by rater."""
    answered = CheckAnswer.objects.filter(
        item__study=study, item__purpose=CheckItem.Purpose.GOLD, answered_at__isnull=False
    )
    better = Count("pk", filter=Q(choice="better"))
    counts = answered.order_by().values_list("rater").annotate(better=better, all=Count("pk"))
    return {rater: (passed, given - passed) for rater, passed, given in counts}


def longest_run(sides: Iterable[str]) -> int:
    """The longest run of answers for the same side. An answer without a side ends a run."""
    return max((len(list(group)) for side, group in groupby(sides) if side), default=0)


def chance_of_run(length: int, tosses: int) -> float:
    """The probability that `tosses` of a fair coin hold `length` or more equal ones in a row, either side.

    Sequences without such a run are twice the compositions of `tosses` into parts below `length` (Feller, An
    Introduction to Probability Theory I, XIII.7, by counting). Exact.
    """
    if length <= 1:
        return 1.0
    without = [1]
    for total in range(1, tosses + 1):
        without.append(sum(without[max(0, total - length + 1) : total]))
    return 1 - 2 * without[tosses] / 2**tosses if tosses else 0.0


COLUMNS = (
    "rater", "participant", "consented_at", "finished_at", "rejected_at", "answers", "gold_passed", "gold_failed",
    "repeats_answered", "repeats_same", "fast_share", "median_seconds", "longest_run", "run_chance", "pastes",
    "timed_out", "concerns",
)  # fmt: skip


def columns_of(signals: Signals) -> dict[str, object]:
    """One line of the download, by COLUMNS."""
    rater = signals.rater
    values = (
        rater.pk, rater.participant, moment(rater.consented_at), moment(rater.finished_at), moment(rater.rejected_at),
        signals.answers, signals.gold_passed, signals.gold_failed, signals.repeats.answered, signals.repeats.same,
        signals.fast, signals.seconds, signals.run, signals.run_chance, signals.pastes, signals.released,
        "; ".join(signals.concerns),
    )  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def moment(at: datetime | None) -> str:
    return at.isoformat(timespec="seconds") if at else ""
