"""How long the tests take, group by group, as `make test` runs them.

    python benchmarks/suite.py [--json FILE]

Goals on 2 cores, after installation: 2 minutes for each stack without model and browser, 12 minutes for everything.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GROUPS = ("test-embedded", "test-real", "test-model", "test-model-real", "test-browser")
PLAIN = GROUPS[:2]
GOAL_PLAIN, GOAL_ALL = 120.0, 720.0  # seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found = {group: seconds(group) for group in GROUPS}
    for group, taken in found.items():
        print(f"{group:<18} {taken:7.1f} s")
    print(f"{'make test':<18} {sum(found.values()):7.1f} s")
    print(f"goals: {GOAL_PLAIN:.0f} s for each of {', '.join(PLAIN)}; {GOAL_ALL:.0f} s for all")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")
    sys.exit(sum(found.values()) > GOAL_ALL or any(found[group] > GOAL_PLAIN for group in PLAIN))


def seconds(group: str) -> float:
    started = time.monotonic()
    subprocess.run(["make", "--no-print-directory", group], cwd=ROOT, check=True)
    return round(time.monotonic() - started, 1)


if __name__ == "__main__":
    main()
