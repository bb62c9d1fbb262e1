"""Where the marks of a training run's charts stand; the templates draw them.

Across, places are per cent of the drawing's width, so that its text keeps its size on a phone; down, they are pixels.
Every chart has a table beside it with the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

LEFT, RIGHT = 4.0, 96.0  # per cent
ROW, LABEL, MARK = 56, 22, 40  # pixels: height of a row, and from its top to its words and to its mark
TOP, HEIGHT = 12, 220  # pixels: of charts with two axes


@dataclass(frozen=True)
class Tick:
    at: str
    label: str
    anchor: str = "middle"


@dataclass(frozen=True)
class Scale:
    """From a value to a place: `low` at `start`, `high` at `end`."""

    low: float
    high: float
    start: float
    end: float
    unit: str = "%"

    def __call__(self, value: float) -> str:
        share = (min(max(value, self.low), self.high) - self.low) / ((self.high - self.low) or 1.0)
        return f"{self.start + share * (self.end - self.start):.2f}{self.unit}"


def across(low: float, high: float) -> Scale:
    return Scale(low, high, LEFT, RIGHT)


def down(low: float, high: float) -> Scale:
    """Larger values stand higher."""
    return Scale(low, high, TOP + HEIGHT, TOP, "")


# -- one row for each thing, with or without an interval -----------------------------------------------------------


@dataclass(frozen=True)
class Row:
    name: str
    value: str
    words: str
    low: str
    high: str
    label_y: int
    mark_y: int


@dataclass(frozen=True)
class RowChart:
    rows: list[Row]
    ticks: list[Tick]
    base: str  # where the dashed line stands: chance, or no weight
    bottom: int


def row_of(index: int, name: str, estimate: dict[str, float], scale: Scale) -> Row:
    low, high = estimate.get("low"), estimate.get("high")
    top, words = index * ROW, f"{100 * estimate['mean']:.1f} %"
    ends = ("", "") if low is None or high is None else (scale(low), scale(high))
    return Row(name, scale(estimate["mean"]), words, *ends, label_y=top + LABEL, mark_y=top + MARK)


def accuracy_chart(estimates: list[tuple[str, dict[str, float]]]) -> RowChart:
    """Accuracies 0 to 1 with their intervals, on an axis of 0 to 100 %; 50 % is chance."""
    scale, anchors = across(0.0, 1.0), {0.0: "start", 1.0: "end"}
    rows = [row_of(index, name, estimate, scale) for index, (name, estimate) in enumerate(estimates)]
    shares = (0.0, 0.25, 0.5, 0.75, 1.0)
    ticks = [Tick(scale(share), f"{100 * share:.0f} %", anchors.get(share, "middle")) for share in shares]
    return RowChart(rows, ticks, scale(0.5), len(rows) * ROW + 8)


def weight_chart(weights: dict[str, float]) -> RowChart:
    """Weights of any sign as bars from 0, on an axis as long as the largest."""
    most = max((abs(weight) for weight in weights.values()), default=0.0) or 1.0
    scale = across(-most, most)
    rows = [
        Row(name.replace("_", " "), scale(weight), f"{weight:+.3f}", "", "", i * ROW + LABEL, i * ROW + MARK)
        for i, (name, weight) in enumerate(weights.items())
    ]
    ticks = [
        Tick(scale(-most), f"{-most:+.2f}", "start"),
        Tick(scale(0.0), "0"),
        Tick(scale(most), f"{most:+.2f}", "end"),
    ]
    return RowChart(rows, ticks, scale(0.0), len(rows) * ROW + 8)


# -- two axes ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Point:
    x: str
    y: str
    first: str  # its numbers in words, for the table
    second: str
    count: str = ""


@dataclass(frozen=True)
class Line:
    x1: str
    y1: str
    x2: str
    y2: str


@dataclass(frozen=True)
class PointChart:
    points: list[Point]
    lines: list[Line]
    even: Line | None
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    bottom: int


def percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def point_chart(points: list[Point], joined: bool, even: Line | None, x: Scale, y: Scale) -> PointChart:
    pairs = list(pairwise(points)) if joined else []
    lines = [Line(one.x, one.y, other.x, other.y) for one, other in pairs]
    middle = (x.low + x.high) / 2
    x_ticks = [Tick(x(x.low), percent(x.low), "start"), Tick(x(middle), percent(middle))]
    x_ticks.append(Tick(x(x.high), percent(x.high), "end"))
    y_ticks = [Tick(y(value), percent(value), "start") for value in (y.low, (y.low + y.high) / 2, y.high)]
    return PointChart(points, lines, even, x_ticks, y_ticks, TOP + HEIGHT)


def learning_curve(curve: list[dict[str, Any]]) -> PointChart:
    """Accuracy on unseen training problems by the share of the others that was learned from."""
    known = [point for point in curve if point["accuracy"] is not None]
    x, y = across(0.0, 1.0), down(0.4, 1.0)
    points = [
        Point(
            x(point["share"]),
            y(point["accuracy"]),
            percent(point["share"]),
            f"{100 * point['accuracy']:.1f} %",
            f"{point['log_loss']:.3f}",
        )
        for point in known
    ]
    return point_chart(points, True, Line(x(0.0), y(0.5), x(1.0), y(0.5)), x, y)


def reliability_diagram(bins: list[list[float]]) -> PointChart:
    """How often it was right against how sure it was. On the dashed line it is as often right as it says."""
    x, y = across(0.5, 1.0), down(0.0, 1.0)
    points = [
        Point(x(sure), y(right), f"{100 * sure:.1f} %", f"{100 * right:.1f} %", f"{count:.0f}")
        for sure, right, count in bins
    ]
    return point_chart(points, False, Line(x(0.5), y(0.5), x(1.0), y(1.0)), x, y)
