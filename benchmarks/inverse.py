"""Speed and memory of inverse reasoning: every stage beside a plain forward pass, and beside its peers, in one run.

    python benchmarks/inverse.py [--parts PART ...] [--peers-python PYTHON] [--json FILE]

Works that are compared run in turns, so that other load hits them alike; ratios are of the fastest runs, and the
median of the ratios of neighbouring runs stands beside them. PYTHON is that of a virtual environment with inseq and
captum, which sees this project's PyTorch (docs/benchmarks.md says how to make it); without it these peers are named
as not measured. Ends with status 1 where a goal is missed; FILE gets the rows of each part as soon as it is done.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from inverse_parts import passes, peers, prepacked, probes, rollouts, table  # noqa: E402

PARTS: dict[str, Callable[[Any, Any], Iterable[table.Row]]] = {
    "invert": passes.measure,
    "prepacked": prepacked.measure,
    "probes": probes.measure,
    "whole": probes.whole,
    "rollouts": rollouts.measure,
    "peers": peers.measure,
}


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    made.add_argument("--peers-python", type=Path, metavar="PYTHON")
    made.add_argument("--model", default="smollm2-135m-instruct")
    made.add_argument("--var", type=Path, default=ROOT / "var")
    made.add_argument("--lengths", type=int, nargs="+", default=[512, 1024], help="tokens, of `invert`")
    made.add_argument("--steps", type=int, default=18, help="of the trace of all other parts")
    made.add_argument("--new", type=int, default=probes.NEW, help="tokens of each rollout")
    made.add_argument("--runs", type=int, default=5)
    made.add_argument("--threads", type=int, default=1)
    made.add_argument("--device", default="cpu")
    made.add_argument("--dtype", default="float32")
    made.add_argument("--no-memory", dest="memory", action="store_false", help="time alone in `invert`")
    made.add_argument("--json", type=Path, help="write the rows into this file")
    return made


def main() -> int:
    options = parser().parse_args()
    if options.peers_python is not None and not options.peers_python.exists():
        raise SystemExit(
            f"--peers-python {options.peers_python} is not there; docs/benchmarks.md says how to make it"
        )
    model = passes.loaded(options)
    print(f"{model.name}, {model.dtype_name}, {model.device}, {options.threads} thread(s), {options.runs} runs each")
    found: dict[str, list[table.Row]] = {}
    for part in options.parts:
        print(f"-- {part}", flush=True)
        found[part] = table.printed(PARTS[part](model, options))
        if options.json:
            options.json.parent.mkdir(parents=True, exist_ok=True)
            options.json.write_text(json.dumps({part: [asdict(row) for row in rows] for part, rows in found.items()}))
    return int(not all(row.met for rows in found.values() for row in rows))


if __name__ == "__main__":
    sys.exit(main())
