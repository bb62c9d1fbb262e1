"""Draw what was measured about one trace, as SVG: its steps, their signals, and what testing them showed.

python -m inference.core --problems FILE --method inverse --model SOURCE --out explained.jsonl
python docs/draw_trace.py explained.jsonl KEY > docs/images/trace.svg
"""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

WIDTH, LEFT, TEXT, BAR = 960, 16, 430, 200
LINE, GAP = 17, 16
INK, SOFT, FLOW, LOST = "#1d1f24", "#5b6270", "#2f6fb3", "#b3562f"


def main() -> int:
    if len(sys.argv) != 3:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    lines = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
    found = [line for line in lines if line["key"] == sys.argv[2] and line["evidence"]]
    if not found:
        keys = ", ".join(line["key"] for line in lines if line["evidence"])
        sys.stderr.write(f"{sys.argv[1]} has no evidence under the key {sys.argv[2]!r}; it has {keys}\n")
        return 1
    sys.stdout.write(drawing(found[0]["evidence"]))
    return 0


def drawing(record: dict[str, Any]) -> str:
    parts = [*heading(record)]
    top = LINE * (len(parts) + 1) + GAP
    largest = max([abs(signal["suppression"] or 0.0) for signal in record["signals"]] + [1e-9])
    for index in range(len(record["steps"])):
        drawn, height = row(record, index, top, largest)
        parts += drawn
        top += height + GAP
    parts.append(
        text(LEFT, top, f"Ranked by {record['ranked_by']}. Bars propose where to look; only tests show.", SOFT)
    )
    title = f"Steps of a chain of thought, the signals of each and the outcome of their tests: {record['question']}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top + GAP}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="13">\n<title>{escape(title)}</title>\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def heading(record: dict[str, Any]) -> list[str]:
    told = [*textwrap.wrap(record["question"], 130), f"The model answered: {record['answer']}"]
    lines = [text(LEFT, LINE * (at + 1), line, INK, bold=at == 0) for at, line in enumerate(told)]
    at = LINE * (len(told) + 2)
    columns = (
        text(LEFT + TEXT, at, "inverse flow ( | position alone)", FLOW),
        text(LEFT + TEXT + BAR + 30, at, "lost when hidden from the answer", LOST),
    )
    return [*lines, *columns]


def row(record: dict[str, Any], index: int, top: float, largest: float) -> tuple[list[str], float]:
    """One step as drawn below `top`, and its height."""
    signal = record["signals"][index]
    lines = textwrap.wrap(" ".join(record["steps"][index].split()), 62)
    drawn = [text(LEFT, top + LINE * at, line, INK) for at, line in enumerate(lines)]
    drawn += flow_bar(signal, top - 11)
    drawn += lost_bar(signal["suppression"], largest, top - 11)
    tests = [test for test in record["tests"] if test["step"] == index]
    drawn += [text(LEFT + TEXT, top + LINE + 4, told(test), INK) for test in tests]
    return drawn, LINE * max(len(lines), 1 + len(tests))


def flow_bar(signal: dict[str, Any], top: float) -> list[str]:
    left = LEFT + TEXT
    share, alone = signal["inverse_flow"], signal["position_flow"]
    drawn = [bar(left, top, BAR * share, FLOW)]
    if alone is not None:
        at = left + BAR * alone
        drawn.append(f'<path d="M{at:.1f} {top - 2:.1f}v18" stroke="{INK}" stroke-width="2"/>')
    return [*drawn, text(left + BAR * max(share, alone or 0.0) + 8, top + 11, f"{100 * share:.0f}%", SOFT)]


def lost_bar(lost: float | None, largest: float, top: float) -> list[str]:
    left = LEFT + TEXT + BAR + 30
    if lost is None:
        return [text(left, top + 11, "not measured", SOFT)]
    width = BAR * max(lost, 0.0) / largest
    return [bar(left, top, width, LOST), text(left + width + 8, top + 11, f"{lost:+.2f} nats", SOFT)]


def told(test: dict[str, Any]) -> str:
    found = "confirmed" if test["confirmed"] else "not confirmed"
    chance = "" if test["p_value"] is None else f", p = {test['p_value']:.2f}"
    return f"tested: {test['different']} of {test['rollouts']} new tries differed{chance}: {found}"


def bar(left: float, top: float, width: float, fill: str) -> str:
    return f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="14" fill="{fill}"/>'


def text(left: float, base: float, words: str, fill: str, bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{left:.1f}" y="{base:.1f}" fill="{fill}"{weight}>{escape(words)}</text>'


if __name__ == "__main__":
    sys.exit(main())
