"""Count what explanations hold: a table in Markdown of files that `explain` wrote with the method inverse.

    python docs/count_explained.py PROBLEMS:EXPLAINED.jsonl ...

PROBLEMS is the file of problems that EXPLAINED was made from; it knows the right answers.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from inference.core.problem_files import guess_format, scan

Line = dict[str, Any]


def main() -> None:
    lines = [line for pair in sys.argv[1:] for line in read(*pair.rsplit(":", 1))]
    if not lines:
        raise SystemExit(__doc__)
    sys.stdout.write("| | |\n| --- | --- |\n")
    for what, found in [*of_chains(lines), *of_tests(lines), *of_texts(lines)]:
        sys.stdout.write(f"| {what} | {found} |\n")


def read(problems: str, explained: str) -> list[Line]:
    """The lines, each with the index of the right option as `gold`."""
    path = Path(problems)
    gold = {problem.key: problem.gold for problem in scan(path, guess_format(path)).problems}
    lines = [json.loads(line) for line in Path(explained).read_text().splitlines()]
    return [line | {"gold": gold[line["key"]]} for line in lines]


def of_chains(lines: list[Line]) -> list[tuple[str, str]]:
    done = [line for line in lines if line["trace"]]
    right = sum(line["trace"]["answer_index"] == line["gold"] for line in done)
    guessing = sum(1 / len(line["problem"]["options"]) for line in done)
    read_by = Counter(line["trace"]["read_by"] for line in done)
    return [
        ("problems, and those with a readable answer", f"{len(lines)}, {len(done)}"),
        ("right answers", f"{right}; guessing gives {guessing:.1f}"),
        ("answers read by", ", ".join(f"{name} {count}" for name, count in read_by.most_common())),
        ("seconds a problem, median", f"{statistics.median(line['seconds'] for line in lines):.0f}"),
    ]


def of_tests(lines: list[Line]) -> list[tuple[str, str]]:
    records = [line["evidence"] for line in lines if line["evidence"]]
    tests = [test for record in records for test in record["tests"]]
    p = [test["p_value"] for test in tests if test["p_value"] is not None]
    drawn, planned = sum(test["rollouts"] for test in tests), sum(test["planned"] for test in tests)
    different = sum(test["different"] for test in tests)
    shares = ", ".join(f"{sum(value <= most for value in p) / max(1, len(p)):.0%}" for most in (0.1, 0.2, 0.5))
    stopped = Counter(test["stopped"] for test in tests)
    return [
        ("tested steps, and those with answers to compare", f"{len(tests)}, {len(p)}"),
        ("resamples of a step drawn, of those planned", f"{drawn} of {planned}"),
        ("why tests ended", ", ".join(f"{name} {count}" for name, count in stopped.most_common())),
        ("resamples that said something else", f"{different} of {drawn}"),
        ("confirmed decision points", f"{sum(test['confirmed'] for test in tests)}"),
        ("tests with p ≤ 0.10, ≤ 0.20, ≤ 0.50", shares),
    ]


def of_texts(lines: list[Line]) -> list[tuple[str, str]]:
    records = [line["evidence"] for line in lines if line["evidence"]]
    claims = [claim for record in records for claim in record["claims"]]
    pointing = sum(bool(claim["pointers"]) for claim in claims)
    nothing = sum("No decisive choice was found" in line["text"] for line in lines if line["text"])
    drafts = [draft for record in records for draft in record["drafts"] if draft["style"].startswith("written")]
    accepted, rejected = (sum(draft[name] for draft in drafts) for name in ("accepted", "rejected"))
    made = [
        ("explanations that say that no decisive choice was found", f"{nothing} of {len(records)}"),
        ("sentences of the explanations, and those that point at evidence", f"{len(claims)}, {pointing}"),
    ]
    if drafts:
        written = f"{accepted} of {accepted + rejected} in {len(drafts)} texts"
        made.append(("sentences that the model wrote and the record supports", written))
    return made


if __name__ == "__main__":
    main()
