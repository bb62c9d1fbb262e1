"""What the judgements say, with how sure they are. Pure numpy on rows that `load` fetched.

Human preference score of an arm against a named opponent: (wins + ½ ties) / judgements, where "both bad" is a tie.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import evalica
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from studies.models import Judgement, Study

POINTS = {"first": 1.0, "second": 0.0, "tie": 0.5, "both_bad": 0.5}
RESAMPLES = 2000
LEAST_CLUSTERS = 5


@dataclass(frozen=True)
class Vote:
    """One current judgement. `choice` is about arms; `left` says whether the first arm stood on the left."""

    first: str
    second: str
    problem: int
    rater: int
    comparison: int
    choice: str
    left: bool


@dataclass(frozen=True)
class PairResult:
    """`score` is the human preference score of `first` against `second`, 0 to 1; `low` to `high` its 95 % interval.

    The interval is None with fewer than LEAST_CLUSTERS problems or raters: so few say next to nothing about others.
    """

    first: str
    second: str
    wins: int
    losses: int
    ties: int
    both_bad: int
    n: int
    problems: int
    raters: int
    score: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class StudyResults:
    """`agreement` is Krippendorff's nominal alpha over comparisons judged at least twice: 1 perfect, 0 chance."""

    pairs: tuple[PairResult, ...]
    agreement: float | None
    agreement_interval: tuple[float, float] | None
    decided: int  # judgements that chose one of the two
    left_share: float | None  # share of decided judgements that chose the left side; 0.5 shows no side bias
    judgements: int
    raters: int


def load(study: Study) -> list[Vote]:
    rows = Judgement.objects.comparing().filter(assignment__comparison__study=study)
    fields = (
        "assignment__comparison__first_arm__name",
        "assignment__comparison__second_arm__name",
        "assignment__comparison__problem_id",
        "assignment__rater_id",
        "assignment__comparison_id",
        "choice",
        "assignment__first_on_left",
    )
    return [Vote(*row) for row in rows.order_by("pk").values_list(*fields)]


def results(study: Study, seed: int = 0) -> StudyResults:
    """Everything that the result page shows. `seed` fixes the bootstrap."""
    votes = load(study)
    pairs = sorted({(vote.first, vote.second) for vote in votes})
    agreement, interval = krippendorff(votes, seed)
    return StudyResults(
        pairs=tuple(pair_result([v for v in votes if (v.first, v.second) == pair], seed) for pair in pairs),
        agreement=agreement,
        agreement_interval=interval,
        decided=sum(vote.choice in ("first", "second") for vote in votes),
        left_share=left_share(votes),
        judgements=len(votes),
        raters=len({vote.rater for vote in votes}),
    )


def pair_result(votes: Sequence[Vote], seed: int = 0) -> PairResult:
    """The result of one pair of arms from its votes (at least one)."""
    choices = [vote.choice for vote in votes]
    points = np.array([POINTS[choice] for choice in choices])
    interval = clustered_interval(points, [v.problem for v in votes], [v.rater for v in votes], seed)
    return PairResult(
        first=votes[0].first,
        second=votes[0].second,
        wins=choices.count("first"),
        losses=choices.count("second"),
        ties=choices.count("tie"),
        both_bad=choices.count("both_bad"),
        n=len(votes),
        problems=len({vote.problem for vote in votes}),
        raters=len({vote.rater for vote in votes}),
        score=float(points.mean()),
        low=interval[0] if interval else None,
        high=interval[1] if interval else None,
    )


def clustered_interval(
    points: NDArray[np.float64], problems: Sequence[int], raters: Sequence[int], seed: int = 0
) -> tuple[float, float] | None:
    """95 % percentile interval of the mean, resampling problems and raters at once.

    The pigeonhole bootstrap (Owen 2007): each draw weights a vote by how often its problem and its rater were drawn.
    It errs on the wide side. Where all points are the same there is nothing to resample, and Wilson's interval (1927)
    stands in, with the smaller number of clusters as its n.
    """
    problem_of, rater_of = indices(problems), indices(raters)
    clusters = min(problem_of.max(), rater_of.max()) + 1
    if clusters < LEAST_CLUSTERS:
        return None
    if points.min() == points.max():
        return wilson(float(points[0]), int(clusters))
    random = np.random.default_rng(seed)
    drawn_problems, drawn_raters = draws(problem_of, random), draws(rater_of, random)
    sums, sizes = (
        (drawn_problems @ cells(values, problem_of, rater_of) * drawn_raters).sum(axis=1)
        for values in (points, np.ones_like(points))
    )
    means = sums[sizes > 0] / sizes[sizes > 0]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def wilson(share: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's 95 % score interval of a share, 0 to 1, seen in n independent draws."""
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * (share * (1 - share) / n + z**2 / (4 * n**2)) ** 0.5
    return max(0.0, centre - half), min(1.0, centre + half)


def indices(labels: Sequence[int]) -> NDArray[np.intp]:
    """Labels replaced by 0, 1, 2, …"""
    return np.unique(np.asarray(labels), return_inverse=True)[1]


def cells(
    values: NDArray[np.float64], problem_of: NDArray[np.intp], rater_of: NDArray[np.intp]
) -> NDArray[np.float64]:
    """The sum of `values` in each cell, [problems, raters]."""
    table = np.zeros((problem_of.max() + 1, rater_of.max() + 1))
    np.add.at(table, (problem_of, rater_of), values)
    return table


def draws(cluster_of: NDArray[np.intp], random: np.random.Generator) -> NDArray[np.int64]:
    """How often each cluster is drawn, [RESAMPLES, clusters]."""
    clusters = int(cluster_of.max()) + 1
    return random.multinomial(clusters, np.full(clusters, 1 / clusters), size=RESAMPLES)


def krippendorff(votes: Sequence[Vote], seed: int = 0) -> tuple[float | None, tuple[float, float] | None]:
    """Nominal alpha with its 95 % bootstrap interval, or None where no comparison was judged twice.

    Also None when every vote is the same: chance agreement is then undefined.
    """
    shared = {unit for unit, count in pd.Series([v.comparison for v in votes]).value_counts().items() if count > 1}
    table = pd.DataFrame([(v.rater, v.comparison, v.choice) for v in votes if v.comparison in shared])
    if table.empty or table[2].nunique() < 2:
        return None, None
    wide = table.pivot_table(index=0, columns=1, values=2, aggfunc="last")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        found = evalica.alpha_bootstrap(wide, "nominal", n_resamples=RESAMPLES, random_state=seed)
    return float(found.alpha), (float(found.low), float(found.high))


def left_share(votes: Sequence[Vote]) -> float | None:
    decided = [vote for vote in votes if vote.choice in ("first", "second")]
    if not decided:
        return None
    return sum((vote.choice == "first") == vote.left for vote in decided) / len(decided)
