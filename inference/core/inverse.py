"""Inverse reasoning from a finished trace to an explanation: invert, rank, test, record, write, choose."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from torch import Tensor

from inference.core.causal import test_steps
from inference.core.claims import supported
from inference.core.features import explanation_features, head_config, readable
from inference.core.findings import findings
from inference.core.flow import uniform_attention
from inference.core.head import Head, HeadMismatchError
from inference.core.inversion import Inversion, invert
from inference.core.kept import Kept
from inference.core.language_model import LanguageModel
from inference.core.limits import device_memory
from inference.core.looks import LOOKS
from inference.core.mixing import HeadFlow
from inference.core.prose import write, writer_of
from inference.core.ranking import likely_and_mattered, probed
from inference.core.reasoning import silent, worked_examples
from inference.core.recipe import check_known
from inference.core.records import Candidate, EvidenceRecord, Progress, StepSignals, StepTest, Trace
from inference.core.roles import choices
from inference.core.similarity import DEFAULT, loaded
from inference.core.step_features import step_features
from inference.core.step_head import rank_scores

LEAST = {"candidates": 1, "tested_steps": 0, "rollouts": 1, "seed": 0, "looks": 1}


@dataclass(frozen=True)
class InverseSettings:
    """`layer` None: the head's own layer. `budget`: tokens that all rollouts of a problem may write; None: any.

    `similarity` is what `similarity.loaded` takes; `looks`, how often at most a test is looked at, so that it may end
    early; 1 always draws all `rollouts`. `writer` is "templates", "model" or "both"; `candidates` texts by each, of
    the templates at most their three. Raises ValueError for an unknown writer and for numbers below `LEAST`.
    """

    candidates: int = 3
    tested_steps: int = 5
    rollouts: int = 6
    seed: int = 0
    layer: int | None = None
    budget: int | None = None
    similarity: str = DEFAULT
    looks: int = LOOKS
    writer: str = "templates"

    def __post_init__(self) -> None:
        check_known(self.writer)
        for name, least in LEAST.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; give at least {least}")


@dataclass(frozen=True)
class InverseExplanation:
    """`text` is one of `candidates`. step_features [S, F'], candidate_features [N, F], both float32.

    `head_flow` is the attention of each head, where it was asked for or the head mixes them itself.
    """

    text: str
    candidates: tuple[Candidate, ...]
    record: EvidenceRecord
    step_features: Tensor
    candidate_features: Tensor
    head_flow: HeadFlow | None = None


@device_memory("explaining the chain")
def explain_inverse(
    model: LanguageModel,
    trace: Trace,
    head: Head,
    settings: InverseSettings | None = None,
    progress: Progress = silent,
    kept: Kept | None = None,
    *,
    each_head: bool = False,
) -> InverseExplanation:
    """Explain `trace`: the record of what was measured, and the text about it that the head prefers.

    `kept` holds rollouts of an earlier, interrupted call with the same settings, and gets those of this one.
    `each_head` hands back the attention of each head as well, from which a later head learns to mix them. Raises
    HeadMismatchError when the head is not for this model, ValueError when it reads another layer than the settings
    ask for, SimilarityError where there is no such similarity, LimitError for what is beyond model or device.
    """
    settings = settings or InverseSettings()
    checked = replace(settings, layer=checked_layer(model, head, settings))
    found = measured(model, trace, head, checked, progress, kept, each_head)
    writing = "Writing the explanation"
    progress(writing, 0.95)
    texts, drafts = write(
        model,
        found.record,
        settings.writer,
        settings.candidates,
        settings.seed,
        lambda share: progress(writing, 0.95 + 0.04 * share),
    )
    texts = tuple(one for one in texts if readable(model, trace, one.text)) or texts
    features = explanation_features(model, trace, [candidate.text for candidate in texts], head.config)
    scored, chosen = choose(head, texts, features, f"{settings.seed} {trace.problem.question}")
    progress(writing, 1.0)
    _, claims, _ = supported(found.record, chosen.text)
    by = writer_of(chosen)
    record = replace(found.record, claims=tuple(claims), rejected=chosen.rejected, writer=by, drafts=drafts)
    return InverseExplanation(chosen.text, scored, record, found.step_features, features, found.head_flow)


@dataclass(frozen=True)
class Measured:
    """All that is known of a trace before anything is written about it. step_features [S, F']."""

    record: EvidenceRecord
    step_features: Tensor
    head_flow: HeadFlow | None


def measured(
    model: LanguageModel,
    trace: Trace,
    head: Head,
    settings: InverseSettings,
    progress: Progress,
    kept: Kept | None,
    each_head: bool,
) -> Measured:
    """Invert, rank, test: the record without any text."""
    similarity = loaded(settings.similarity, model)
    progress("Following the attention back", 0.0)
    examples = worked_examples(model, trace.problem.asks)
    inversion = invert(model, trace, settings.layer, examples, each_head=each_head or head.mixes)
    flow = head_flow(inversion)
    inversion = replace(inversion, signals=mixed(head, flow, inversion, probed(model, trace, inversion)))
    features = step_features(inversion.step_states, inversion.signals)
    estimates = head.steps.estimates(features)
    scores = rank_scores(estimates) if estimates else likely_and_mattered(inversion.signals)
    wanted = ranked(trace, scores)[: settings.tested_steps]
    tests = test_steps(
        model,
        trace,
        wanted,
        settings.rollouts,
        settings.seed,
        inversion,
        shared(progress),
        similarity=similarity,
        most_looks=settings.looks,
        budget=settings.budget,
        kept=kept,
    )
    done = {test.step for test in tests}
    record = replace(
        evidence(trace, inversion, head, scores, tests, settings),
        over_budget=tuple(step for step in wanted if step not in done),
        estimates=estimates,
        findings=findings(trace, inversion, tests, head.steps, features),
    )
    return Measured(record, features, flow)


def checked_layer(model: LanguageModel, head: Head, settings: InverseSettings) -> int:
    """The head's own layer. Raises HeadMismatchError for another model's head, ValueError for another layer."""
    mine = replace(head_config(model), layer=head.config.layer, layers=head.config.layers)
    if found := head.config.differences(mine):
        raise HeadMismatchError(f"{head.name} was fitted for another model: it has {'; '.join(found)}.")
    if settings.layer not in (None, head.config.layer):
        raise ValueError(f"layer is {settings.layer}, but {head.name} reads layer {head.config.layer}; leave it out")
    return head.config.layer


def shared(progress: Progress) -> Progress:
    """Progress of the tests as a share of the whole explanation, of which they are most."""
    return lambda stage, share: progress(stage, 0.1 + 0.8 * share)


def head_flow(inversion: Inversion) -> HeadFlow | None:
    if inversion.heads is None:
        return None
    return HeadFlow(inversion.heads, inversion.segments.step_of, inversion.segments.answer)


def mixed(
    head: Head, flow: HeadFlow | None, inversion: Inversion, signals: tuple[StepSignals, ...]
) -> tuple[StepSignals, ...]:
    """The signals, with the flow that the head learned to follow beside the plain one, if it did.

    Its baseline is the same mixing of attention that looks at all it can see alike.
    """
    if flow is None or not head.mixes:
        return signals
    alike = replace(flow, heads=uniform_attention(inversion.segments.bounds, first=2).expand_as(flow.heads))
    found, expected = (head.mixing.flow(one, len(signals)) for one in (flow, alike))
    return tuple(
        replace(signal, learned_flow=share, by_position={**(signal.by_position or {}), "learned_flow": baseline})
        for signal, share, baseline in zip(signals, found, expected, strict=True)
    )


def ranker(head: Head, inversion: Inversion) -> str:
    """What the step scores are made of, for the record."""
    if head.ranks_steps:
        return head.name
    unprobed = any(signal.suppression is None for signal in inversion.signals)
    return ("fork entropy" if unprobed else "signals") + (f" and the flow of {head.name}" if head.mixes else "")


def ranked(trace: Trace, scores: Sequence[float]) -> list[int]:
    """Steps by falling score, without the one that merely states the answer: that one is no choice."""
    return sorted(choices([step.text for step in trace.steps]), key=lambda step: -scores[step])


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
        settings=asdict(settings),
        read_by=trace.answer.read_by,
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
