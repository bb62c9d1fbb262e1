"""Which ranking of steps finds the decision points when only half the rollouts are spent.

    python benchmarks/recall.py [--problems FILE ...] [--limit 40] [--rollouts 24] [--work FILE] [--json FILE]
    python benchmarks/recall.py --from FILE ... [--refresh] [--json FILE]

For every problem the model writes a chain, then R continuations from every boundary of its steps: the reference,
which tests all steps. The analysis then asks which of the confirmed steps are among those that a ranking puts first.
What the model wrote is kept in a work file: a run that was stopped goes on with the same command and loses one
problem at most, and --from redoes the analysis without the model. Problem files have any format that `explain` takes.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from recall_parts import gather, table  # noqa: E402
from recall_parts.reference import references  # noqa: E402
from recall_parts.work import WorkFile, read, read_all, rewrite  # noqa: E402

from inference.core import LanguageModel, resolve  # noqa: E402

STARTER = ROOT / "inference" / "starter" / "starter.jsonl"


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--problems", type=Path, nargs="+", default=[STARTER], metavar="FILE")
    made.add_argument("--limit", type=int, default=40, help="usable problems of each file")
    made.add_argument("--rollouts", type=int, default=24, help="R, from every boundary")
    made.add_argument("--work", type=Path, default=ROOT / "var" / "recall.jsonl", metavar="FILE")
    made.add_argument(
        "--from", dest="ready", type=Path, nargs="+", metavar="FILE", help="work files; no model is needed"
    )
    made.add_argument("--refresh", action="store_true", help="measure signals and features of the chains anew")
    made.add_argument("--model", default="smollm2-135m-instruct")
    made.add_argument("--var", type=Path, default=ROOT / "var")
    made.add_argument("--threads", type=int, default=1)
    made.add_argument("--device", default="cpu")
    made.add_argument("--dtype", default="float32")
    made.add_argument("--json", type=Path, help="write what was found into this file")
    return made


def main() -> int:
    options = parser().parse_args()
    if options.ready is None:
        gathered(options)
    files = options.ready or [options.work]
    if options.refresh:
        for path in files:
            refresh(options, path)
    settings, worked = read_all(files)
    print(", ".join(f"{name} {value}" for name, value in settings.items()))
    found = {"settings": settings, **table.analysed(references(worked))}
    table.printed(found)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


def refresh(options: argparse.Namespace, path: Path) -> None:
    """Measure anew what the model can say of the chains of a work file."""
    model, (settings, worked) = loaded(options), read(path)
    if settings["model"] != model.name:
        raise SystemExit(f"The chains of {path} are of {settings['model']}, not of {model.name}; give --model.")
    rewrite(path, settings, [gather.remeasured(model, one) for one in worked])


def loaded(options: argparse.Namespace) -> LanguageModel:
    source = resolve(options.model, options.var, print)
    return LanguageModel.load(source, dtype=options.dtype, device=options.device, threads=options.threads)


def gathered(options: argparse.Namespace) -> None:
    """Write what is missing into the work file."""
    model = loaded(options)
    work = WorkFile(options.work, gather.settings(options, model))
    gather.gather(model, gather.problems_of(options.problems), options.limit, options.rollouts, work)


if __name__ == "__main__":
    sys.exit(main())
