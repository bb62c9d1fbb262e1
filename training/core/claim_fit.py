"""Fits how sure the head is of a claim: that a fresh test of the same size would come to the same verdict.

No test was ever made twice; but the two halves of a test's resamples, drawn at random, are two independent tests of
one size. One half's numbers predict, the other half's verdict is the label. The loss is the Brier score. That needs
tests of a size that was set beforehand: one that ended early did so because of its answers, and both halves know it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from inference.core import effect
from inference.core.looks import ALL_DRAWN
from inference.core.records import StepTest
from inference.core.replication import CLAIM_NUMBERS, claim_numbers
from training.core.optimise import folds_of, minimise
from training.core.step_effects import StepEffects, TestedStep

SPLITS = 2  # of each test
MOST_TESTS = 400  # more are left out at random: a split takes a hundredth of a second
LEAST_ROLLOUTS = 6  # of a test; halves of fewer never confirm anything, so that they would always agree
LEAST_ROWS = 40  # halves; below that, nothing is learned
PULL = 6.0  # L2 strength, divided by the number of tests


@dataclass(frozen=True)
class Replications:
    """N halves of tests: numbers [N, C] of one, same [N]: 1 where the other has the same verdict, problems [N]."""

    numbers: Tensor
    same: Tensor
    problems: Tensor

    def __len__(self) -> int:
        return len(self.same)


@dataclass(frozen=True)
class ClaimFit:
    """Weights [C]; all 0 where nothing was learned."""

    weight: Tensor
    report: dict[str, Any]


def fit_claims(steps: StepEffects, logits: Tensor | None, seed: int = 0) -> ClaimFit:
    """`logits` [M] of a decision point are from heads that saw no step of the same problem; None: there are none."""
    halves = replications(steps, logits, seed)
    weight = torch.zeros(len(CLAIM_NUMBERS))
    report: dict[str, Any] = {"halves": len(halves)}
    if len(halves) < LEAST_ROWS or len(torch.unique(halves.problems)) < 2:
        return ClaimFit(weight, report)
    folds = folds_of(halves.problems, seed)
    found, constant = torch.zeros(2, len(halves), dtype=torch.float64)
    for fold in range(int(folds.max()) + 1):
        own, others = folds == fold, folds != fold
        found[own] = (halves.numbers[own] @ fit_brier(halves.numbers[others], halves.same[others])).sigmoid()
        constant[own] = halves.same[others].mean()
    report |= {"same_verdict": float(halves.same.mean())}
    report |= {"brier": brier(found, halves.same), "brier_of_rate": brier(constant, halves.same)}
    if report["brier"] < report["brier_of_rate"]:
        weight = fit_brier(halves.numbers, halves.same).float()
    return ClaimFit(weight, report)


def brier(probabilities: Tensor, labels: Tensor) -> float:
    """Mean squared error of probabilities [N], 0 to 1; lower is better (Brier 1950)."""
    return float((probabilities - labels).square().mean())


def fit_brier(numbers: Tensor, same: Tensor) -> Tensor:
    """Logistic weights [C] float64 with the least Brier score, found from those with the least log-loss, which is
    convex. The first number is constant and not penalised."""

    l2 = PULL * 2 * SPLITS / len(same)

    def penalty(at: Tensor) -> Tensor:
        return l2 / 2 * at[1:].square().sum() + l2 / 100 * at[0].square()

    start = minimise(lambda at: cross_entropy(numbers @ at, same) + penalty(at), torch.zeros(numbers.shape[1]))
    return minimise(lambda at: ((numbers @ at).sigmoid() - same).square().mean() + penalty(at) / 4, start)


def replications(steps: StepEffects, logits: Tensor | None, seed: int = 0) -> Replications:
    """SPLITS random splits of at most MOST_TESTS tests, each read both ways where a half compared something.

    Tests that ended early are left out, and so are those too small for halves.
    """
    random = np.random.default_rng([seed, 2])
    numbers, same, problems = [], [], []
    whole = [at for at, row in enumerate(steps.tests) if splits(row.test)]
    for at in sorted(whole[one] for one in random.permutation(len(whole))[:MOST_TESTS]):
        row = steps.tests[at]
        logit = None if logits is None else float(logits[at])
        for _ in range(SPLITS):
            first, second = halves(row, random)
            for one, other in ((first, second), (second, first)):
                if one.verdict != "untested":
                    numbers.append(claim_numbers(one, logit))
                    same.append(float(one.verdict == other.verdict))
                    problems.append(int(steps.problems[at]))
    return Replications(
        torch.tensor(numbers, dtype=torch.float64).reshape(-1, len(CLAIM_NUMBERS)),
        torch.tensor(same, dtype=torch.float64),
        torch.tensor(problems, dtype=torch.int64),
    )


def splits(test: StepTest) -> bool:
    """Whether its halves are tests of their own: all rollouts drawn, as before there were early looks ("")."""
    return test.stopped in ("", ALL_DRAWN) and test.rollouts >= LEAST_ROLLOUTS


def halves(row: TestedStep, random: np.random.Generator) -> tuple[StepTest, StepTest]:
    """Two tests of half the resamples, drawn without replacement. How many of each half differ is hypergeometric; the
    trace's own answer is no resample and belongs to neither."""
    test = row.test
    size = test.rollouts // 2
    different = shuffled(test.different_answers, random)
    kept = shuffled(without_own(test.kept_answers, row.answer), random)
    first = int(random.hypergeometric(test.different, test.rollouts - test.different, size)) if size else 0
    left, same = test.different - first, test.rollouts - test.different - (size - first)
    second = int(random.hypergeometric(left, same, size)) if size else 0
    middle = len(kept) // 2
    # A test of this size has `size` resamples from after the step, and those from before it that are similar.
    one = half(row, size, different[:first], kept[:middle][: 2 * size - first], random)
    other = half(row, size, different[first : first + second], kept[middle:][: 2 * size - second], random)
    return one, other


def without_own(answers: dict[str, int], own: str) -> dict[str, int]:
    return {text: count - (text == own) for text, count in answers.items()}


def shuffled(answers: dict[str, int], random: np.random.Generator) -> list[str]:
    listed = [text for text, count in answers.items() for _ in range(count)]
    return [listed[at] for at in random.permutation(len(listed))]


def half(row: TestedStep, size: int, different: list[str], kept: list[str], random: np.random.Generator) -> StepTest:
    """The test that these answers make, at the level of the whole one; "" is an answer that could not be read."""
    known = {text: at for at, text in enumerate(sorted({*row.test.kept_answers, *row.test.different_answers} - {""}))}
    groups = [[known[text] for text in group if text] for group in (kept, different)]
    seed = int(random.integers(2**31))
    level = row.test.level
    measured = effect.measure(groups[0], groups[1], max(row.outcomes, len(known)), seed)
    return replace(
        row.test,
        rollouts=size,
        planned=size,
        different=len(different),
        kept_answers=dict(Counter(kept)),
        different_answers=dict(Counter(different)),
        effect=measured.value if measured else None,
        excess=measured.excess if measured else None,
        p_value=measured.p_value if measured else None,
        confirmed=effect.confirmed(measured, len(different), size, level),
        verdict=effect.verdict(measured, len(different), size, level),
    )
