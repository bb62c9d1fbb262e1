"""Inverse reasoning from a finished trace to an explanation: invert, rank, test, record, write, choose."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from torch import Tensor

from inference.core.causal import affordable, test_steps
from inference.core.claims import supported
from inference.core.features import explanation_features
from inference.core.findings import findings
from inference.core.head import Head
from inference.core.inversion import Inversion, invert, states_answer
from inference.core.language_model import LanguageModel
from inference.core.prose import write, writer_of
from inference.core.ranking import likely_and_mattered, probed
from inference.core.reasoning import silent, worked_examples
from inference.core.records import Candidate, EvidenceRecord, Progress, StepTest, Trace


@dataclass(frozen=True)
class InverseSettings:
    """`layer` None: the head's own layer. `budget`: tokens that all rollouts of a problem may write; None: any.

    `writer` is "templates", "model" or "both"; `candidates` texts by each, of the templates at most their three.
    """

    candidates: int = 3
    tested_steps: int = 2
    rollouts: int = 6
    seed: int = 0
    layer: int | None = None
    budget: int | None = None
    writer: str = "templates"


@dataclass(frozen=True)
class InverseExplanation:
    """`text` is one of `candidates`. step_features [S, H + 5], candidate_features [N, F], both float32."""

    text: str
    candidates: tuple[Candidate, ...]
    record: EvidenceRecord
    step_features: Tensor
    candidate_features: Tensor


def explain_inverse(
    model: LanguageModel,
    trace: Trace,
    head: Head,
    settings: InverseSettings | None = None,
    progress: Progress = silent,
) -> InverseExplanation:
    """Explain `trace`: the record of what was measured, and the text about it that the head prefers.

    Raises ValueError when the head is not for this model or reads another layer than the settings ask for.
    """
    settings = settings or InverseSettings()
    layer = checked_layer(model, head, settings)
    progress("Following the attention back", 0.0)
    inversion = invert(model, trace, layer, worked_examples(model))
    inversion = replace(inversion, signals=probed(model, trace, inversion))
    scores = step_scores(head, inversion)
    wanted = ranked(trace, scores)[: settings.tested_steps]
    steps = affordable(trace, wanted, settings.rollouts, settings.budget)
    tests = test_steps(model, trace, steps, settings.rollouts, settings.seed, inversion, shared(progress))
    record = evidence(trace, inversion, head, scores, tests, settings)
    record = replace(record, over_budget=tuple(wanted[len(steps) :]))
    writing = "Writing the explanation"
    progress(writing, 0.95)
    texts, drafts = write(
        model,
        record,
        settings.writer,
        settings.candidates,
        settings.seed,
        lambda share: progress(writing, 0.95 + 0.04 * share),
    )
    features = explanation_features(model, trace, [candidate.text for candidate in texts], head.config)
    scored, chosen = choose(head, texts, features, f"{settings.seed} {trace.problem.question}")
    progress(writing, 1.0)
    _, claims, _ = supported(record, chosen.text)
    record = replace(record, claims=tuple(claims), rejected=chosen.rejected, writer=writer_of(chosen), drafts=drafts)
    return InverseExplanation(chosen.text, scored, record, inversion.step_features, features)


def checked_layer(model: LanguageModel, head: Head, settings: InverseSettings) -> int:
    mine = (model.name, model.revision, model.hidden)
    fitted = (head.config.model, head.config.revision, head.config.hidden)
    if fitted != mine:
        raise ValueError(f"{head.name} is for model, revision and width {fitted}, but the model is {mine}")
    if settings.layer not in (None, head.config.layer):
        raise ValueError(f"layer is {settings.layer}, but {head.name} reads layer {head.config.layer}; leave it out")
    return head.config.layer


def shared(progress: Progress) -> Progress:
    """Progress of the tests as a share of the whole explanation, of which they are most."""
    return lambda stage, share: progress(stage, 0.1 + 0.8 * share)


def step_scores(head: Head, inversion: Inversion) -> tuple[float, ...]:
    """One score for each step, by which steps are tested first.

    A head that learned from no tested step ranks nothing; then the signals do.
    """
    if head.ranks_steps:
        return tuple(head.step(inversion.step_features).tolist())
    return likely_and_mattered(inversion.signals)


def ranker(head: Head, inversion: Inversion) -> str:
    """What the step scores are made of, for the record."""
    if head.ranks_steps:
        return head.name
    return "fork entropy" if any(signal.suppression is None for signal in inversion.signals) else "signals"


def ranked(trace: Trace, scores: Sequence[float]) -> list[int]:
    """Steps by falling score, without the one that merely states the answer: that one is no choice."""
    steps = [step.index for step in trace.steps if not states_answer(trace, step)]
    return sorted(steps, key=lambda step: -scores[step])


def evidence(
    trace: Trace,
    inversion: Inversion,
    head: Head,
    scores: tuple[float, ...],
    tests: list[StepTest],
    settings: InverseSettings,
) -> EvidenceRecord:
    return EvidenceRecord(
        question=trace.problem.question,
        answer=trace.answer.text,
        steps=tuple(step.text for step in trace.steps),
        signals=inversion.signals,
        ranked_by=ranker(head, inversion),
        step_scores=scores,
        tests=tuple(tests),
        settings=asdict(replace(settings, layer=inversion.layer)),
        findings=findings(trace, inversion, tests),
    )


def choose(
    head: Head, texts: tuple[Candidate, ...], features: Tensor, key: str
) -> tuple[tuple[Candidate, ...], Candidate]:
    """The candidate that the head expects people to prefer.

    An untrained head has no preference: then one is drawn, by `key`, so that people get to compare all styles.
    A fixed choice would teach the next head about one style only.
    """
    if not head.trained:
        return texts, random.Random(key).choice(texts)
    scores = head.score(features).tolist()
    scored = tuple(replace(text, score=score) for text, score in zip(texts, scores, strict=True))
    return scored, max(scored, key=lambda candidate: candidate.score or 0.0)
