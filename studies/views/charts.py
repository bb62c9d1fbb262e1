"""Where the marks of the interval chart stand. The template draws them; scores are shares from 0 to 1."""

from __future__ import annotations

from dataclasses import dataclass

from studies.statistics import PairResult

WIDTH = 720  # of the drawing, in its own units
LEFT, RIGHT = 40, 680  # where scores 0 and 1 stand
ROW = 64  # height of a pair's row
TOP = 16


@dataclass(frozen=True)
class Row:
    pair: PairResult
    label_y: int
    y: int
    score: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Tick:
    x: float
    label: str


@dataclass(frozen=True)
class IntervalChart:
    rows: list[Row]
    ticks: list[Tick]
    width: int
    height: int
    bottom: int  # y of the axis
    even: float  # x of one half


def x_of(share: float) -> float:
    return round(LEFT + share * (RIGHT - LEFT), 1)


def row_of(index: int, pair: PairResult) -> Row:
    top = TOP + index * ROW
    low, high = (None if end is None else x_of(end) for end in (pair.low, pair.high))
    return Row(pair, label_y=top + 20, y=top + 42, score=x_of(pair.score), low=low, high=high)


def interval_chart(pairs: tuple[PairResult, ...]) -> IntervalChart:
    """One row per pair: the score of its first arm, with its interval where there is one, on an axis 0 to 100 %."""
    rows = [row_of(index, pair) for index, pair in enumerate(pairs)]
    bottom = TOP + len(pairs) * ROW
    ticks = [Tick(x_of(share), f"{100 * share:.0f} %") for share in (0, 0.25, 0.5, 0.75, 1)]
    return IntervalChart(rows, ticks, WIDTH, bottom + 48, bottom, x_of(0.5))
