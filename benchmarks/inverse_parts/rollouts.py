"""benchmarks/rollouts.py as rows of the table: each of its ways runs in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from inverse_parts.table import Row

SCRIPT = Path(__file__).resolve().parent.parent / "rollouts.py"
LEAST = 8.0
RAGGED = "all in one ragged batch"


def measure(model: object, options: Any) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "found.json")
        asked = {"model": options.model, "var": options.var, "threads": options.threads, "device": options.device}
        asked |= {"dtype": options.dtype, "new": options.new, "json": target}
        flags = [part for name, value in asked.items() for part in (f"--{name}", str(value))]
        done = subprocess.run([sys.executable, str(SCRIPT), *flags], stdout=subprocess.PIPE, text=True, check=False)
        if not target.exists():
            raise SystemExit(f"{SCRIPT.name} failed:\n{done.stdout}")
        return rows(json.loads(target.read_text()))


def rows(found: dict[str, Any]) -> list[Row]:
    slowest = next(iter(found["ways"].values()))["seconds"]
    made = []
    for name, way in found["ways"].items():
        least = LEAST if name == RAGGED else None
        detail = f"{way['seconds']:.2f} s to {slowest:.2f} s"
        made.append(Row(f"rollouts, {name}", slowest / way["seconds"], "x", least=least, detail=detail))
        made.append(Row("  peak memory more", way["mebibytes"], "MiB"))
    return [*made, Row("  greedy continuations identical (1: yes)", float(found["identical"]), "", least=1.0)]
