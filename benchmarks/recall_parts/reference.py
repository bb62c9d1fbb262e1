"""Which steps are decision points, by all rollouts of the work file, under several definitions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from inference.core import Token, Trace, effect
from inference.core.causal import Resample, alike, assessed, numbered, outcomes, read
from inference.core.looks import looks
from inference.core.records import StepTest
from inference.core.similarity import DEFAULT, Compared, encoder
from recall_parts.curves import benjamini_hochberg, holm
from recall_parts.gather import behind, tested
from recall_parts.work import Worked

SEED = 0
Rows = slice  # which of the R continuations of a boundary
ALL, HALF, OTHER = slice(None), slice(0, None, 2), slice(1, None, 2)


@dataclass(frozen=True)
class Reference:
    """One problem: its tested steps, and the causal test of each by all rollouts and by two halves of them.

    `costs` are the tokens that the rollouts of each step took, `chance` is the chance of each to be confirmed if it
    had no effect.
    """

    worked: Worked
    trace: Trace
    steps: tuple[int, ...]
    tests: tuple[StepTest, ...]
    halves: tuple[tuple[StepTest, ...], tuple[StepTest, ...]]
    costs: tuple[float, ...]
    chance: tuple[float, ...]


def references(worked: Sequence[Worked], compared: Compared | None = None) -> list[Reference]:
    """Of all problems with a usable chain. `compared` tells replacements apart, by default as the engine does."""
    compared = compared or Compared(encoder(DEFAULT, "cpu"))
    return [reference(one, one.trace, compared) for one in worked if one.trace is not None]


def reference(worked: Worked, trace: Trace, compared: Compared) -> Reference:
    steps = tuple(tested(trace))
    compared.add([one.step for step in steps for one in resamples(worked, trace, step, ALL)[0]])
    half, other = (tuple(tested_by(worked, trace, step, rows, compared) for step in steps) for rows in (HALF, OTHER))
    return Reference(
        worked=worked,
        trace=trace,
        steps=steps,
        tests=tuple(tested_by(worked, trace, step, ALL, compared) for step in steps),
        halves=(half, other),
        costs=tuple(tokens(worked, trace, step) for step in steps),
        chance=tuple(chance(worked, trace, step, compared) for step in steps),
    )


def tested_by(worked: Worked, trace: Trace, step: int, rows: Rows, compared: Compared) -> StepTest:
    """The engine's test with a single look, after all of these rollouts."""
    made, after = resamples(worked, trace, step, rows)
    (look,) = looks(len(made), most=1)
    return assessed(trace, step, made, after, SEED, look, compared)


def resamples(worked: Worked, trace: Trace, step: int, rows: Rows) -> tuple[list[Resample], list[Resample]]:
    """From before the step, and from behind it."""
    starts = trace.steps[step].token_start, behind(trace, step)
    before, after = ([resample(worked, trace, step, at, row) for row in rows_of(worked, at, rows)] for at in starts)
    return alike(trace, before, after)


def rows_of(worked: Worked, at: int, rows: Rows) -> list[str]:
    written = worked.written or {}
    return [one.text for one in written[at][rows]]


def resample(worked: Worked, trace: Trace, step: int, at: int, text: str) -> Resample:
    return read(trace, at, trace.steps[step], [Token(0, text, 0.0, 0.0)])


def tokens(worked: Worked, trace: Trace, step: int) -> float:
    """How many the step's rollouts took."""
    written = worked.written or {}
    starts = trace.steps[step].token_start, behind(trace, step)
    return float(sum(one.tokens for at in starts for one in written[at]))


def chance(worked: Worked, trace: Trace, step: int, compared: Compared) -> float:
    """The share of all regroupings of the step's answers that would be confirmed; 0 where none could be compared.

    At most ALPHA, and less where few answers differ, since a permutation test cannot reach every p.
    """
    made, after = resamples(worked, trace, step, ALL)
    own = trace.steps[step].text
    different = [one for one in made if compared.differs(own, one.step)]
    kept = [*after, *(one for one in made if one not in different)]
    possible = outcomes(trace, [*kept, *different])
    groups = [np.array(numbered(group, possible), int) for group in (different, kept)]
    if not all(map(len, groups)) or len(different) < effect.MIN_SHARE * len(made):
        return 0.0
    return falsely(*(effect.counts(group, len(possible)) for group in groups))


def falsely(different: effect.Counts, kept: effect.Counts) -> float:
    """The share of all regroupings of answers [outcomes] that have p <= ALPHA."""
    tables, weights = effect.regrouped(different, kept, np.random.default_rng(SEED))
    values = effect.divergence(tables, different + kept - tables)
    order = np.argsort(-values)
    p = np.cumsum(weights[order])
    last = np.searchsorted(-values[order], -values[order] + 1e-9, side="right") - 1  # ties count as large
    return float(weights[order][p[last] <= effect.ALPHA + 1e-12].sum())


# -- Definitions ---------------------------------------------------------------------------------------------------

Points = list[bool]


def confirmed(one: Reference) -> Points:
    """p ≤ 0.05 and at least a fifth of the resamples differ: the engine's own verdict."""
    return [test.confirmed for test in one.tests]


def confirmed_in_half(one: Reference) -> Points:
    return [test.confirmed for test in one.halves[0]]


def corrected(adjust: Callable[[Sequence[float]], np.ndarray], one: Reference) -> Points:
    """Confirmed with the p-values of the problem's compared steps adjusted for their number."""
    known = [test.p_value for test in one.tests if test.p_value is not None]
    adjusted = iter(adjust(known).tolist())
    p = [1.0 if test.p_value is None else next(adjusted) for test in one.tests]
    return [test.confirmed and value <= effect.ALPHA for test, value in zip(one.tests, p, strict=True)]


DEFINITIONS: dict[str, Callable[[Reference], Points]] = {
    "p <= 0.05": confirmed,
    "BH": lambda one: corrected(benjamini_hochberg, one),
    "Holm": lambda one: corrected(holm, one),
    "half": confirmed_in_half,
}
