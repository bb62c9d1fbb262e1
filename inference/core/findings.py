"""What stands beside a causal test in the record: the step's role, what it rested on, and three confidences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from inference.core.flow import rollout
from inference.core.inversion import Inversion
from inference.core.records import Confidences, Source, StepEvidence, StepTest, Trace
from inference.core.roles import role
from inference.core.step_head import StepHead
from inference.core.steps import content

SOURCES = 3  # earlier steps named for each


def findings(
    trace: Trace, inversion: Inversion, tests: Sequence[StepTest], head: StepHead, features: Tensor
) -> tuple[StepEvidence, ...]:
    """One for each of `tests`, in the same order. features [S, F] of all steps, for the head's confidence."""
    return tuple(
        StepEvidence(
            step=test.step,
            role=role(trace.problem.question, trace.steps[test.step].text),
            quotation=content(trace.steps[test.step].text) or trace.steps[test.step].text,
            rested_on=rested_on(inversion, test.step),
            confidence=confidences(trace.answer.text, test, head.claim_confidence(test, features[test.step])),
        )
        for test in tests
    )


def rested_on(inversion: Inversion, step: int) -> tuple[Source, ...]:
    """The earlier steps on which the attention of `step`, followed back, lands most: at most 3, largest first.

    The same transposed rollout as the inverse flow, begun at the step's segments, each with the weight of its length.
    Sink, prompt and the step itself are masked, and the earlier steps renormalised to 1. It proves nothing.
    """
    shares = dict.fromkeys(range(step), 0.0)
    segments = inversion.segments
    for start in (index for index, of in enumerate(segments.step_of) if of == step):
        length = segments.bounds[start + 1] - segments.bounds[start]
        for mass, of in zip(rollout(inversion.flow, start).tolist(), segments.step_of, strict=True):
            if of in shares:
                shares[of] += length * mass
    total = sum(shares.values())
    if total <= 0:
        return ()
    largest = sorted(shares, key=lambda earlier: -shares[earlier])[:SOURCES]
    return tuple(Source(earlier, shares[earlier] / total) for earlier in largest)


def confidences(answer: str, test: StepTest, claim: float | None = None) -> Confidences:
    """The trace is no sample of its own answer; a sample without a readable answer does not agree with it."""
    samples = total(test.kept_answers) + total(test.different_answers) - 1
    agreeing = test.kept_answers.get(answer, 0) + test.different_answers.get(answer, 0) - 1
    return Confidences(
        answer=agreeing / samples if samples > 0 else None,
        step=1 - test.different / test.rollouts if test.rollouts else None,
        claim=claim,
    )


def total(answers: Mapping[str, int]) -> int:
    return sum(answers.values())
