"""Where the marks of the interval chart stand. The template draws them; scores are shares from 0 to 1.

Across, places are per cent of the drawing's width, so that its text keeps its size on a phone; down, they are pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

from studies.statistics import PairResult

LEFT, RIGHT = 2.0, 98.0  # per cent: where scores 0 and 1 stand
ROW = 60  # pixels of height of one pair
LABEL, MARK = 24, 44  # pixels from the top of a row to its words and to its mark


@dataclass(frozen=True)
class Row:
    pair: PairResult
    label_y: int
    mark_y: int
    score: str
    low: str
    high: str


@dataclass(frozen=True)
class Tick:
    x: str
    label: str
    anchor: str


@dataclass(frozen=True)
class IntervalChart:
    rows: list[Row]
    ticks: list[Tick]
    bottom: int  # y of the axis, pixels
    even: str  # x of one half


def x_of(share: float | None) -> str:
    """The place of a score, as SVG wants it; empty for none."""
    return "" if share is None else f"{LEFT + share * (RIGHT - LEFT):.2f}%"


def row_of(index: int, pair: PairResult) -> Row:
    top = index * ROW
    return Row(pair, top + LABEL, top + MARK, x_of(pair.score), x_of(pair.low), x_of(pair.high))


def interval_chart(pairs: tuple[PairResult, ...]) -> IntervalChart:
    """One row per pair: the score of its first arm, with its interval where there is one, on an axis 0 to 100 %."""
    anchors = {0.0: "start", 1.0: "end"}
    ticks = [
        Tick(x_of(share), f"{100 * share:.0f} %", anchors.get(share, "middle"))
        for share in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    rows = [row_of(index, pair) for index, pair in enumerate(pairs)]
    return IntervalChart(rows, ticks, bottom=len(rows) * ROW + 8, even=x_of(0.5))
