"""In which order steps are tested: each ranking gives a score to every tested step of every problem."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import torch

from inference.core import StepSignals
from inference.core.ranking import likely_and_mattered
from inference.core.step_head import StepHead, rank_scores
from recall_parts.reference import Reference
from training.core.fit import one_thread
from training.core.step_effects import StepEffects, TestedStep, stacked
from training.core.step_fit import fit_steps

FOLDS = 5
HEAD, FUSED, RANDOM, OTHER_HALF = "head", "fused signals", "at random", "other half of the rollouts"

Scores = list[list[float]]  # of each problem, of each tested step
Fit = Callable[[StepEffects], StepHead]

SIGNALS: dict[str, Callable[[StepSignals], float | None]] = {
    "fork entropy": lambda signal: signal.fork_entropy,
    "small margin": lambda signal: None if signal.answer_margin is None else -signal.answer_margin,
    "inverse flow": lambda signal: signal.inverse_flow,
    "suppression": lambda signal: signal.suppression,
    "trajectory shift": lambda signal: signal.trajectory_shift,
    "first to last": lambda signal: -signal.position,
    "last to first": lambda signal: signal.position,
}


def learned(steps: StepEffects) -> StepHead:
    return fit_steps(steps).head


def rankings(problems: Sequence[Reference], fit: Fit = learned) -> dict[str, Scores]:
    """Scores by every ranking; what the model could not be probed for is left out."""
    made: dict[str, Scores] = {HEAD: head_scores(problems, fit), FUSED: [fused(one) for one in problems]}
    for name, signal in SIGNALS.items():
        values = [[signal(one.worked.signals[step]) for step in one.steps] for one in problems]
        known = [[value for value in row if value is not None] for row in values]
        if known == values:
            made[name] = known
    made[RANDOM] = [[0.0 for _ in one.steps] for one in problems]
    made[OTHER_HALF] = [other_half(one) for one in problems]
    return made


def fused(one: Reference) -> list[float]:
    """As the engine ranks without a head: over all steps of the chain, the one that states the answer among them."""
    scores = likely_and_mattered(one.worked.signals)
    return [scores[step] for step in one.steps]


def other_half(one: Reference) -> list[float]:
    """The effect beyond chance by the half of the rollouts that the definition "half" does not use."""
    return [test.excess or 0.0 for test in one.halves[1]]


def head_scores(problems: Sequence[Reference], fit: Fit = learned) -> Scores:
    """Out of fold: the steps of a problem are scored by a head that was fitted on other problems.

    As in the engine, a head that learned nothing leaves the ranking to the fused signals.
    """
    fold = folds(len(problems))
    with one_thread(), torch.no_grad():
        heads = [fit(effects([one for one, at in zip(problems, fold, strict=True) if at != k])) for k in range(FOLDS)]
        return [scored(heads[k], one) for one, k in zip(problems, fold, strict=True)]


def scored(head: StepHead, one: Reference) -> list[float]:
    estimates = head.estimates(features(one))
    return list(rank_scores(estimates)) if estimates else fused(one)


def folds(count: int, seed: int = 0) -> list[int]:
    """The fold of each problem, 0 to FOLDS - 1, of like sizes and in random order."""
    made = [at % FOLDS for at in range(count)]
    random.Random(seed).shuffle(made)
    return made


def effects(problems: Sequence[Reference]) -> StepEffects:
    """What a head learns from: every step that was tested."""
    rows = [
        TestedStep(row, test, len(one.trace.problem.options), one.trace.answer.text, one.worked.name, one.worked.name)
        for one in problems
        for row, test in zip(features(one), one.tests, strict=True)
    ]
    return stacked(rows, features(problems[0]).shape[1] if problems else 0)


def features(one: Reference) -> torch.Tensor:
    """Of the tested steps, [S, F] float32."""
    if one.worked.features is None:
        raise ValueError(f"{one.worked.name} has no step features; gather it again")
    return one.worked.features[list(one.steps)]
