"""Rows of the table: what was found, and the goal beside it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """`most` or `least` is the goal; a row with neither stands beside others for comparison."""

    what: str
    found: float
    unit: str  # "x", "MiB", ...
    most: float | None = None
    least: float | None = None
    detail: str = ""

    @property
    def met(self) -> bool:
        return (self.most is None or self.found <= self.most) and (self.least is None or self.found >= self.least)

    @property
    def goal(self) -> str:
        if self.most is not None:
            return f"at most {self.most:g}"
        return "" if self.least is None else f"at least {self.least:g}"


def printed(rows: Iterable[Row]) -> list[Row]:
    """The same rows, each printed when it is there."""
    made = []
    for row in rows:
        made.append(row)
        verdict = "" if not row.goal else "met" if row.met else "MISSED"
        figure = f"{row.found:.2e}" if 0 < abs(row.found) < 0.005 else f"{row.found:.2f}"
        print(f"{row.what:<68}{figure:>10} {row.unit:<4} {row.goal:<14}{verdict:<7} {row.detail}", flush=True)
    return made


def spearman(one: list[float], other: list[float]) -> float:
    """Rank correlation, -1 to 1."""
    from scipy.stats import spearmanr

    return float(spearmanr(one, other).statistic)


def farthest(one: list[float], other: list[float]) -> float:
    """Largest absolute difference."""
    return max(abs(a - b) for a, b in zip(one, other, strict=True))
