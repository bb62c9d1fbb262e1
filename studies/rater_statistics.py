"""What repeats and predictions say: how steadily raters answer, and how much reading teaches them about the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from studies.models import Judgement, Prediction, Study
from studies.statistics import LEAST_CLUSTERS, cells, draws, indices, wilson

Interval = tuple[float, float]


@dataclass(frozen=True)
class Consistency:
    """How often a hidden repeat was answered as before, of those that said something both times.

    `share` is `same` / `repeats`; `chance` is the share that answers drawn at random from the same mixes would reach.
    The 95 % interval resamples raters; None with fewer than LEAST_CLUSTERS of them.
    """

    same: int
    repeats: int
    raters: int
    share: float
    chance: float
    interval: Interval | None


@dataclass(frozen=True)
class Gain:
    """How much better raters predict the model after reading two explanations, by the pair of arms that they read.

    `before` and `after` are shares of right predictions; `gain` is after - before, -1 to 1, with a 95 % interval that
    resamples raters; None with fewer than LEAST_CLUSTERS raters or where all predictions changed alike.
    """

    first: str
    second: str
    n: int
    raters: int
    before: float
    after: float
    gain: float
    interval: Interval | None


def consistency(study: Study, seed: int = 0) -> Consistency | None:
    """From the answers that stand; None before the first repeat is answered. `seed` fixes the bootstrap."""
    current = Judgement.objects.current().exclude(choice="cannot_judge")
    mine = current.filter(assignment__comparison__study=study)
    again = list(
        mine.filter(assignment__repeat_of__isnull=False).values_list(
            "assignment__rater", "assignment__repeat_of", "choice"
        )
    )
    at_first = dict(mine.filter(assignment__repeat__isnull=False).values_list("assignment", "choice"))
    return consistency_of([(rater, at_first[row], now) for rater, row, now in again if row in at_first], seed)


def consistency_of(pairs: Sequence[tuple[int, str, str]], seed: int = 0) -> Consistency | None:
    """`pairs` are (rater, choice at first, choice of the repeat)."""
    if not pairs:
        return None
    raters, firsts, seconds = zip(*pairs, strict=True)
    same = [first == second for first, second in zip(firsts, seconds, strict=True)]
    mixes = Counter(firsts), Counter(seconds)
    return Consistency(
        same=sum(same),
        repeats=len(pairs),
        raters=len(set(raters)),
        share=sum(same) / len(pairs),
        chance=sum(mixes[0][choice] * mixes[1][choice] for choice in mixes[0]) / len(pairs) ** 2,
        interval=share_interval(list(map(float, same)), raters, seed),
    )


def gains(study: Study, seed: int = 0) -> list[Gain]:
    """One for each pair of arms that predictions were made about, before and after. `seed` fixes the bootstrap."""
    known = Prediction.objects.filter(assignment__comparison__study=study, truth__isnull=False)
    shown = "assignment__comparison"
    rows = known.values_list(
        "assignment", "when", "option", "truth", "assignment__rater", f"{shown}__first_arm__name",
        f"{shown}__second_arm__name",
    )  # fmt: skip
    right: dict[int, dict[str, bool]] = {}
    about: dict[int, tuple[int, str, str]] = {}
    for row, when, option, truth, rater, first, second in rows.order_by("pk"):
        right.setdefault(row, {})[when] = option == truth
        about[row] = (rater, first, second)
    both = [(*about[row], said["before"], said["after"]) for row, said in right.items() if len(said) == 2]
    return [gain_of(pair, [row for row in both if row[1:3] == pair], seed) for pair in pairs_of(both)]


def pairs_of(rows: Iterable[tuple[int, str, str, bool, bool]]) -> list[tuple[str, str]]:
    return sorted({(first, second) for _, first, second, _, _ in rows})


def gain_of(pair: tuple[str, str], rows: Sequence[tuple[int, str, str, bool, bool]], seed: int = 0) -> Gain:
    """`rows` are (rater, first arm, second arm, right before, right after), at least one."""
    raters = [row[0] for row in rows]
    before, after = (np.array([float(row[place]) for row in rows]) for place in (3, 4))
    changes = after - before
    alike = bool(changes.min() == changes.max())
    return Gain(
        first=pair[0],
        second=pair[1],
        n=len(rows),
        raters=len(set(raters)),
        before=float(before.mean()),
        after=float(after.mean()),
        gain=float(changes.mean()),
        interval=None if alike else interval_over_raters(list(changes), raters, seed),
    )


def share_interval(values: Sequence[float], raters: Sequence[int], seed: int) -> Interval | None:
    """Of a share. Where all values are the same, Wilson's interval with raters as its n, as for preference scores."""
    clusters = len(set(raters))
    if clusters >= LEAST_CLUSTERS and min(values) == max(values):
        return wilson(values[0], clusters)
    return interval_over_raters(values, raters, seed)


def interval_over_raters(values: Sequence[float], raters: Sequence[int], seed: int) -> Interval | None:
    """95 % percentile interval of the mean, resampling raters with all their values; None for too few raters."""
    rater_of = indices(raters)
    if rater_of.max() + 1 < LEAST_CLUSTERS:
        return None
    drawn = draws(rater_of, np.random.default_rng(seed))
    nothing = np.zeros_like(rater_of)
    sums, sizes = (
        drawn @ cells(np.asarray(points, dtype=float), nothing, rater_of)[0]
        for points in (values, [1.0] * len(values))
    )
    low, high = np.percentile(sums / sizes, [2.5, 97.5])
    return float(low), float(high)
