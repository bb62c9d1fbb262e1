"""Simulation protocols: what a rater is asked to predict about the model, and what the model really did.

Forward: which answer the model gave. Counterfactual: which answer it gave after another step had been put in the
place of one of its own. Both after Hase & Bansal (2020), "Evaluating Explainable AI", arXiv:2005.01831; the
counterfactual truths are the resamples of the evidence record.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from studies.models import Assignment, Comparison, Prediction, Study


@dataclass(frozen=True)
class Question:
    """`truth` indexes `options`. Counterfactually, `alternative` stood in the place of step `step`, from 0."""

    options: tuple[str, ...]
    truth: int
    step: int | None = None
    step_text: str = ""
    alternative: str = ""


def asked(study: Study, assignment: Assignment) -> Question | None:
    """What is to be predicted here. None where the study asks nothing, or where nobody knows the right answer.

    A hidden repeat is not asked: the rater has read its explanations before.
    """
    if study.simulation == Study.Simulation.NONE or assignment.repeat_of_id:
        return None
    if study.simulation == Study.Simulation.FORWARD:
        return forward(assignment.comparison)
    return next(counterfactual(assignment.comparison), None)


def forward(comparison: Comparison) -> Question | None:
    truth = comparison.first.trace.answer_index
    return None if truth is None else Question(options_of(comparison), truth)


def counterfactual(comparison: Comparison) -> Iterator[Question]:
    """One question for each alternative whose resamples agree on an answer; those of confirmed steps come first."""
    options, steps = options_of(comparison), comparison.first.trace.record.get("steps", [])
    evidence = comparison.first.evidence or comparison.second.evidence
    for test in sorted(evidence.get("tests", []), key=lambda test: not test["confirmed"]):
        for other in test["alternatives"]:
            truth = usual(other["answers"], options)
            if truth is not None and test["step"] < len(steps):
                text = str(steps[test["step"]]["text"])
                yield Question(options, truth, test["step"], text, str(other["example"]))


def usual(answers: dict[str, Any], options: tuple[str, ...]) -> int | None:
    """The option that more than half of the readable answers are; None without one."""
    readable = {text: count for text, count in answers.items() if text in options}
    most = max(readable, key=lambda text: readable[text], default="")
    return options.index(most) if most and 2 * readable[most] > sum(readable.values()) else None


def options_of(comparison: Comparison) -> tuple[str, ...]:
    return tuple(map(str, comparison.problem.options))


def prediction_due(assignment: Assignment, study: Study) -> Question | None:
    """What is still to be predicted before the explanations of this assignment are read."""
    question = asked(study, assignment)
    if question is None or assignment.predictions.filter(when=Prediction.When.BEFORE).exists():
        return None
    return question
