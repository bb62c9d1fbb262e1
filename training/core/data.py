"""Judgements as tensors, and which of them are held out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from inference.core.head import SURFACE
from training.core.davidson import FIRST, SECOND, TIE

HELD_OUT_SHARE = 0.3
SALT = "held-out/2"
LENGTH_MATCHED = 0.15

# "Both bad" says nothing about which of the two is better.
OUTCOMES = {"first": FIRST, "second": SECOND, "tie": TIE, "both_bad": TIE}


def held_out(problem: str) -> bool:
    """Whether a problem is for testing. Decided by a salted hash of its name alone, so it never changes sides."""
    digest = hashlib.sha256(f"{SALT}/{problem}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < HELD_OUT_SHARE


@dataclass(frozen=True)
class Judged:
    """One judgement. `first` and `second` are rows of the features that it comes with.

    `strength` is how much better the preferred one is: positive, on the caller's scale, of which only the ratio to
    the mean counts. An unknown rater is "". `first_on_left` is None where the sides are not known. `random` says that
    the pair was drawn at random, not because it seemed informative. `weight` counts the judgement that many times.
    """

    first: int
    second: int
    choice: str
    problem: str
    rater: str = ""
    strength: float | None = None
    first_on_left: bool | None = None
    random: bool = True
    weight: float = 1.0


@dataclass(frozen=True)
class Pairs:
    """N judgements about M texts.

    features [M, F] float32; first, second [N] int64, rows of `features`; outcomes [N] int64 as in davidson; problems,
    raters [N] int64 numbers, rater -1 unknown; strength [N] float32, positive or nan; weight [N] float32;
    first_on_left [N] float32, 1, 0 or nan; random [N] bool.
    """

    features: Tensor
    first: Tensor
    second: Tensor
    outcomes: Tensor
    problems: Tensor
    raters: Tensor
    strength: Tensor
    weight: Tensor
    first_on_left: Tensor
    random: Tensor

    def __len__(self) -> int:
        return len(self.outcomes)

    @property
    def problem_count(self) -> int:
        return len(torch.unique(self.problems))

    @property
    def decided(self) -> Tensor:
        """Which are not ties, [N] bool."""
        return self.outcomes != TIE

    @property
    def side(self) -> Tensor:
        """[N] float32: 1 where the first was on the left, -1 where on the right, 0 where nobody knows."""
        return torch.nan_to_num(2 * self.first_on_left - 1)

    @property
    def compared(self) -> Tensor:
        """Which two texts were compared, as one number for each pair of them, [N] int64."""
        return self.first * len(self.features) + self.second

    def where(self, mask: Tensor) -> Pairs:
        """The judgements where `mask` [N] is true. All texts stay, so that rows of features keep their numbers."""
        columns = (
            "first",
            "second",
            "outcomes",
            "problems",
            "raters",
            "strength",
            "weight",
            "first_on_left",
            "random",
        )
        return replace(self, **{name: getattr(self, name)[mask] for name in columns})

    def difference(self, scores: Tensor) -> Tensor:
        """Scores [M] or [M, K] of the texts -> score of the first minus that of the second, [N] or [N, K]."""
        return scores[self.first] - scores[self.second]


def pairs_of(features: Tensor, rows: Sequence[Judged]) -> Pairs:
    """Judgements about texts with features [M, F]. Problems and raters become numbers in the order of their names.

    Raises ValueError for an unknown choice.
    """
    unknown = sorted({row.choice for row in rows} - set(OUTCOMES))
    if unknown:
        raise ValueError(f"choices are {unknown}; allowed are {', '.join(OUTCOMES)}")
    problems, raters = numbers([row.problem for row in rows]), numbers([row.rater for row in rows])
    return Pairs(
        features=features,
        first=torch.tensor([row.first for row in rows], dtype=torch.int64),
        second=torch.tensor([row.second for row in rows], dtype=torch.int64),
        outcomes=torch.tensor([OUTCOMES[row.choice] for row in rows], dtype=torch.int64),
        problems=problems,
        raters=torch.where(torch.tensor([bool(row.rater) for row in rows], dtype=torch.bool), raters, -1),
        strength=torch.tensor([float("nan") if row.strength is None else float(row.strength) for row in rows]),
        weight=torch.tensor([row.weight for row in rows], dtype=torch.float32),
        first_on_left=torch.tensor(
            [float("nan") if row.first_on_left is None else float(row.first_on_left) for row in rows]
        ),
        random=torch.tensor([row.random for row in rows], dtype=torch.bool),
    )


def length_matched(pairs: Pairs) -> Tensor:
    """Whether the shorter text has at least 85 % of the tokens of the longer one, [N]."""
    tokens = pairs.features[:, surface_at("log_tokens")].exp() - 1
    first, second = tokens[pairs.first], tokens[pairs.second]
    return (first - second).abs() <= LENGTH_MATCHED * torch.maximum(first, second)


def surface_at(name: str) -> int:
    """The place of a number with a name among the features, counted from the end."""
    return SURFACE.index(name) - len(SURFACE)


def numbers(names: Sequence[str]) -> Tensor:
    number = {name: i for i, name in enumerate(sorted(set(names)))}
    return torch.tensor([number[name] for name in names], dtype=torch.int64)


def numbered(labels: Tensor) -> Tensor:
    """Labels [N] replaced by 0, 1, 2, … in the order of their values, [N] int64."""
    values: Tensor = torch.unique(labels)
    return torch.searchsorted(values, labels)


def split(pairs: Pairs, testing: Sequence[bool]) -> tuple[Pairs, Pairs]:
    """The judgements that are not for testing, and those that are."""
    mask = torch.tensor(list(testing), dtype=torch.bool)
    return pairs.where(~mask), pairs.where(mask)


@dataclass(frozen=True)
class Margins:
    """R statements of how much better one text of a problem is than another, on any one scale.

    first, second [R] int64 rows of the features; values [R] float32; weight [R] float32; problems [R] int64 numbered
    as those of the pairs that they belong to.
    """

    first: Tensor
    second: Tensor
    values: Tensor
    weight: Tensor
    problems: Tensor

    def __len__(self) -> int:
        return len(self.values)


def margins_of_ratings(texts: Tensor, ratings: Tensor, counts: Tensor, problems: Tensor) -> Margins:
    """Ratings [R] of texts [R] (rows of the features), each the mean of `counts` [R] raters, on problems [R] -> the
    differences within each problem, in units of their spread.

    Each problem weighs as many as it has ratings, so that least squares on the differences is least squares on the
    ratings, less the mean of their problem.
    """
    first, second = within(problems)
    values = ratings[first] - ratings[second]
    per_problem = torch.bincount(problems).float()[problems]
    sure = 2 / (1 / counts[first] + 1 / counts[second])
    spread = values.square().mean().sqrt().clamp(min=1e-6)
    return Margins(texts[first], texts[second], values / spread, sure / per_problem[first], problems[first])


def within(problems: Tensor) -> tuple[Tensor, Tensor]:
    """Every two different places of `problems` [R] that hold the same problem, once: two [P] of indices."""
    order = problems.argsort(stable=True)
    sizes = torch.unique_consecutive(problems[order], return_counts=True)[1].tolist()
    starts = torch.tensor([0, *sizes]).cumsum(0)
    pairs = [torch.combinations(order[start : start + size]) for start, size in zip(starts, sizes, strict=False)]
    first, second = torch.cat([torch.zeros(0, 2, dtype=torch.int64), *pairs]).T
    return first, second
