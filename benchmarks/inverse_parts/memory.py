"""Peak memory of one work, in a fresh process: what it needs beyond what is in memory before it."""

from __future__ import annotations

import multiprocessing
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

WARM_UP = 16  # tokens of a pass before the measured one: it brings the weights into memory

T = TypeVar("T")


def peaks(passes: tuple[str, ...], lengths: tuple[int, ...], options: Any) -> dict[tuple[str, int], float]:
    """MiB of each of `passes` at each length, one process each."""
    return {(name, length): alone(peak, name, length, options) for length in lengths for name in passes}


def alone(work: Callable[..., T], *given: Any) -> T:
    """What `work` gives in a process of its own.

    Large buffers go back to the system when they are freed, so that the peak is that of what is held at one time.
    """
    os.environ |= {"MALLOC_MMAP_THRESHOLD_": "262144", "MALLOC_ARENA_MAX": "1"}
    try:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            return pool.apply(work, given)
    finally:
        del os.environ["MALLOC_MMAP_THRESHOLD_"], os.environ["MALLOC_ARENA_MAX"]


def peak(name: str, length: int, options: Any) -> float:
    from inverse_parts.passes import loaded, works

    model = loaded(options)
    model.forward(list(range(1, 1 + WARM_UP)), use_cache=True)
    return growth(works(model, length, options)[name])


def growth(work: Callable[[], object]) -> float:
    """MiB at most that `work` needs beyond what is in memory before it."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from here
    before = kibibytes("VmRSS")
    work()
    return (kibibytes("VmHWM") - before) / 1024


def kibibytes(field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    if found is None:
        raise SystemExit(f"/proc/self/status has no {field}; memory can be measured on Linux only")
    return int(found[1])
