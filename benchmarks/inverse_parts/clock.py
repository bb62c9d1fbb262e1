"""Time several works in turns, so that other load on the machine hits all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Timed:
    """Seconds of every run of each work; runs of the same number were made right after each other."""

    seconds: dict[str, list[float]]

    def fastest(self, name: str) -> float:
        return min(self.seconds[name])

    def ratio(self, name: str, base: str) -> float:
        """Of the fastest runs."""
        return self.fastest(name) / self.fastest(base)

    def median_ratio(self, name: str, base: str) -> float:
        """Of the ratios of runs of the same number."""
        pairs = zip(self.seconds[name], self.seconds[base], strict=True)
        return statistics.median(one / other for one, other in pairs)

    def both(self, name: str, base: str) -> str:
        return f"{self.fastest(name):.3f} s to {self.fastest(base):.3f} s, median {self.median_ratio(name, base):.2f}"


def in_turns(runs: int, works: Mapping[str, Callable[[], object]], warm: int = 1) -> Timed:
    """`runs` runs of each work, after `warm` of each to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for run in range(warm + runs):
        for name, work in works.items():
            started = time.perf_counter()
            work()
            if run >= warm:
                seconds[name].append(time.perf_counter() - started)
    return Timed(seconds)
