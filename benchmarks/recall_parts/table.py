"""From the reference and the rankings to the numbers that are printed and written down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from recall_parts import curves
from recall_parts.curves import Ranked
from recall_parts.rankings import FUSED, HEAD, OTHER_HALF, RANDOM, Scores, rankings
from recall_parts.reference import DEFINITIONS, Reference

BUDGETS = (0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875)
MAIN, HALF, BUDGET = "p <= 0.05", "half", 0.5
COMPARED = [(one, other) for one in (HEAD, FUSED) for other in ("first to last", "last to first", RANDOM)]
WANTED = 60


def analysed(problems: Sequence[Reference]) -> dict[str, Any]:
    """Everything that is printed; numbers that do not exist are None."""
    scores = rankings(problems)
    return {
        "counts": counts(problems),
        "definitions": {name: definition(problems, scores, name) for name in DEFINITIONS},
        "in_order": {name: ordered(problems, own) for name, own in scores.items() if name != OTHER_HALF},
        "tokens": {name: recall_at(ranked(problems, own, MAIN, tokens=True)) for name, own in scores.items()},
    }


def counts(problems: Sequence[Reference]) -> dict[str, Any]:
    tests = [test for one in problems for test in one.tests]
    return {
        "problems": len(problems),
        "steps": len(tests),
        "compared": sum(test.p_value is not None for test in tests),
        "rollouts": max((test.rollouts for test in tests), default=0),
        "tokens": sum(
            sum(row.tokens for row in rows) for one in problems for rows in (one.worked.written or {}).values()
        ),
        "expected_by_chance": sum(sum(one.chance) for one in problems),
        "agree_in_both_halves": sum(
            first.confirmed and second.confirmed
            for one in problems
            for first, second in zip(*one.halves, strict=True)
        ),
    }


def definition(problems: Sequence[Reference], scores: dict[str, Scores], name: str) -> dict[str, Any]:
    """Recall of the points by one definition, by every ranking that did not see what defines them."""
    usable = {own: value for own, value in scores.items() if own != OTHER_HALF or name == HALF}
    made = {own: ranked(problems, value, name) for own, value in usable.items()}
    points = curves.points_of(made[RANDOM])
    return {
        "points": int(points.sum()),
        "problems_with_points": int((points > 0).sum()),
        "rankings": {own: row(value) for own, value in made.items()},
        "differences": {f"{one} - {other}": difference(made[one], made[other]) for one, other in COMPARED},
    }


def ranked(problems: Sequence[Reference], scores: Scores, name: str, tokens: bool = False) -> list[Ranked]:
    """Each step costs the same number of rollouts, or with `tokens` the tokens that these took."""
    return [
        Ranked(
            scores=np.array(own, float),
            costs=np.array(one.costs if tokens else [1.0] * len(own), float),
            points=np.array(DEFINITIONS[name](one), bool),
        )
        for one, own in zip(problems, scores, strict=True)
    ]


def row(problems: Sequence[Ranked]) -> dict[str, Any]:
    found, points = curves.found_by(problems, BUDGET), curves.points_of(problems)
    return {
        "recall": number(curves.recall(found, points)),
        "interval": pair(curves.interval(found, points)),
        "area": number(curves.area(problems)),
        "curve": [number(value) for value in curves.curve(problems, np.array(BUDGETS))],
    }


def difference(one: Sequence[Ranked], other: Sequence[Ranked]) -> dict[str, Any]:
    """Of the recalls of two rankings, problem by problem."""
    found = curves.found_by(one, BUDGET) - curves.found_by(other, BUDGET)
    points = curves.points_of(one)
    return {"recall": number(curves.recall(found, points)), "interval": pair(curves.interval(found, points))}


def ordered(problems: Sequence[Reference], scores: Scores) -> dict[str, Any]:
    """The share of pairs of steps of one problem that a ranking orders as their effects beyond chance do."""
    known = [
        [(score, test.excess) for score, test in zip(own, one.tests, strict=True) if test.excess is not None]
        for one, own in zip(problems, scores, strict=True)
    ]
    columns = [np.array(pairs, float).reshape(-1, 2).T for pairs in known]
    right, pairs = np.array([curves.in_order(*column) for column in columns], float).reshape(-1, 2).T
    return {
        "recall": number(curves.recall(right, pairs)),
        "interval": pair(curves.interval(right, pairs)),
        "pairs": int(pairs.sum()),
    }


def recall_at(problems: Sequence[Ranked]) -> float | None:
    return number(curves.recall(curves.found_by(problems, BUDGET), curves.points_of(problems)))


def number(value: float) -> float | None:
    return None if np.isnan(value) else value


def pair(values: tuple[float, float]) -> list[float] | None:
    return None if np.isnan(values[0]) else list(values)


# -- Printing ------------------------------------------------------------------------------------------------------


def printed(found: dict[str, Any]) -> None:
    said(found["counts"], found["definitions"])
    print(f"\npairs of steps in the order of their effects ({found['in_order'][RANDOM]['pairs']} within problems)")
    for name, one in found["in_order"].items():
        print(f"{name:<33}{cell(one):>22}")
    main = found["definitions"][MAIN]
    if not main["points"]:
        print("No step was confirmed, so there is nothing to find: take more problems, or more rollouts.")
        return
    print(f"\nrecall at half the rollouts{'':<6}" + "".join(f"{name:>22}" for name in found["definitions"]))
    for name in found["definitions"][HALF]["rankings"]:
        cells = [one["rankings"].get(name) for one in found["definitions"].values()]
        print(f"{name:<33}" + "".join(f"{cell(one):>22}" for one in cells))
    print(
        f"\nrecall ({MAIN}) at {'':<14}"
        + "".join(f"{budget:>8.1%}" for budget in BUDGETS)
        + "    area  half of tokens"
    )
    for name, one in main["rankings"].items():
        values = "".join(f"{value:>8.2f}" for value in one["curve"])
        print(f"{name:<33}{values}{one['area']:>8.2f}{found['tokens'][name]:>16.2f}")
    print(f"\ndifference of recall ({MAIN}), half the rollouts")
    for name, one in main["differences"].items():
        print(f"{name:<33}{cell(one):>22}")


def said(counts: dict[str, Any], definitions: dict[str, Any]) -> None:
    print(
        f"{counts['problems']} problems, {counts['steps']} steps before the answer, {counts['compared']} of them with"
        f" answers to compare; {counts['rollouts']} rollouts from every boundary, {counts['tokens']:,} tokens."
    )
    if counts["problems"] < WANTED:
        print(f"Fewer than {WANTED} problems: take these figures as a trial.")
    for name, one in definitions.items():
        print(
            f"{name:<12} {one['points']:>4} points in {one['problems_with_points']} problems; the others do not count"
        )
    print(f"By chance alone about {counts['expected_by_chance']:.1f} steps would be confirmed at {MAIN};", end=" ")
    print(f"{counts['agree_in_both_halves']} are confirmed in each half of the rollouts.")


def cell(one: dict[str, Any] | None) -> str:
    if one is None or one["recall"] is None:
        return "-"
    low, high = one["interval"]
    return f"{one['recall']:.2f} ({low:.2f} to {high:.2f})"
