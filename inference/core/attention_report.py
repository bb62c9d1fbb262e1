"""Method `attention`: say where the model looked, and nothing else. A baseline: looking is not using."""

from __future__ import annotations

from dataclasses import replace

from inference.core.explain import answered, before_answer, listed, percent, quoted_step
from inference.core.inversion import invert, position_only_flow
from inference.core.language_model import LanguageModel
from inference.core.position import with_baselines
from inference.core.reasoning import silent, worked_examples
from inference.core.records import EvidenceRecord, Progress, Trace

NAMED = 3  # steps
WARNING = "This says where the model looked; that alone does not show that any of these steps mattered."


def explain_attention(model: LanguageModel, trace: Trace, progress: Progress = silent) -> tuple[str, EvidenceRecord]:
    """The steps to which most of the answer's attention leads back, beside what their place alone would give them.

    One pass, nothing is tested: the record holds the signals of the pass and no test.
    """
    progress("Following the attention back", 0.0)
    inversion = invert(model, trace, prefix=worked_examples(model, trace.problem.asks))
    baseline = position_only_flow(inversion.segments, len(inversion.flow), len(trace.steps))
    signals = with_baselines(
        [replace(signal, position_flow=share) for signal, share in zip(inversion.signals, baseline, strict=True)]
    )
    record = EvidenceRecord(
        question=trace.problem.question,
        answer=trace.answer.text,
        steps=tuple(step.text for step in trace.steps),
        signals=signals,
        ranked_by="inverse flow",
        step_scores=tuple(signal.inverse_flow for signal in signals),
        tests=(),
        read_by=trace.answer.read_by,
    )
    progress("Following the attention back", 1.0)
    return report(record), record


def report(record: EvidenceRecord) -> str:
    """Three sentences or four; shares are of the attention to all steps, the one that states the answer included."""
    steps = sorted(before_answer(record), key=lambda step: -record.step_scores[step])[:NAMED]
    if not steps:
        return f"{answered(record)} It wrote no step before that. {WARNING}"
    shares = {step: percent(record.step_scores[step]) for step in steps}
    looked = [f"{share} led to step {step + 1} ({quoted_step(record, step)})" for step, share in shares.items()]
    alike = [percent(record.signals[step].position_flow or 0.0) for step in steps]
    there = "there" if len(steps) == 1 else "to these"
    return (
        f"{answered(record)} Of the attention that it paid to its own steps when it answered, followed back through "
        f"its layers, {listed(looked)}. Had it looked at all words alike, {listed(alike)} would have led {there}. "
        f"{WARNING}"
    )
