"""The process that runs the model: loads it once, claims traces, calls the core, stores what comes out.

Together with the cores, the only module that imports torch; tasks import it when they run.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone

from inference import core, heads, models, queue
from inference.api_worker import endpoint, make_by_api
from inference.claimed import fail, keep, until_answered
from inference.core.conversation import ApiError
from inference.core.endpoint import Endpoint
from inference.core.feature_cache import FeatureCache
from inference.core.head import Head, HeadMismatchError
from inference.core.kept import KeptFile, remove_old, trace_digest
from inference.core.language_model import LOADING_ERRORS
from inference.core.limits import LimitError
from inference.core.provenance import provenance
from inference.core.records import ReasoningError, Trace
from inference.core.similarity import SimilarityError, loaded
from inference.querysets import TraceQuerySet

log = logging.getLogger(__name__)

stop = threading.Event()  # set by the server on its way out: the trace in progress is handed back
NO_ADDRESS = "waiting for a worker with SAGE_API_URL"
RENEW_EVERY = 2.0  # seconds between two renewals of the lease
KEPT_DAYS = 14  # for which the rollouts of failed explanations wait to be asked for again

_loading = threading.Lock()


class StoppedError(Exception):
    """The worker was asked to stop in the middle of a trace."""


# -- what is loaded once per process -------------------------------------------------------------------------------


def language_model(name: str, revision: str) -> core.LanguageModel:
    with _loading:
        return _language_model(name, revision)


@cache
def _language_model(name: str, revision: str) -> core.LanguageModel:
    source = core.resolve(name, Path(settings.VAR_DIR), log.info)
    return core.LanguageModel.load(
        source, revision, settings.SAGE_DTYPE, settings.SAGE_DEVICE, settings.SAGE_THREADS, name=name
    )


def source_of(row: models.Trace) -> core.LanguageModel | Endpoint:
    """What makes a trace. For one of a server no local model is loaded. Raises one of LOADING_ERRORS."""
    return endpoint() if queue.is_api(row.model) else language_model(row.model, row.revision)


def head_for(row: models.HeadVersion, model: core.LanguageModel) -> Head:
    config = core.head_config(model)
    return Head.load(heads.folder(), row.sha256, row.number, config) if row.trained else Head(config)


def feature_cache(model: core.LanguageModel) -> FeatureCache:
    return FeatureCache(Path(settings.VAR_DIR) / "features", core.head_config(model))


# -- one trace -----------------------------------------------------------------------------------------------------


def work_on_next() -> bool:
    """Claim the next waiting trace and make what it lacks; whether there was one. What cannot be made fails with its
    reason.

    An error that nobody foresaw is left to Celery's log: the lease runs out and another bell tries again, ATTEMPTS
    times in all.
    """
    first = takeable().first()
    if first is None or stop.is_set():
        return False
    try:
        source = source_of(first)  # before the claim: loading may outlast a lease
    except LOADING_ERRORS as error:
        what = "server of {!r} cannot be asked" if queue.is_api(first.model) else "model {!r} could not be loaded"
        fail_all(first, f"The {what.format(first.model)}: {error}")
        return True
    for row in queue.waiting().filter(model=first.model, revision=first.revision)[: queue.MOST_BELLS]:
        try:
            load_similarity(row, source)  # before the claim, too
        except SimilarityError as error:
            fail_all(row, str(error), explainer__method=models.Explainer.Method.INVERSE)
        if queue.claim(row):
            _make(row, source)
            return True
    return False


def takeable() -> TraceQuerySet:
    """What this worker could make: without an address it leaves a server's traces to the workers that have one.

    Where this process works alone it takes them, so that they fail and say what to set: nobody else would come.
    """
    waiting = queue.waiting()
    if settings.SAGE_API_URL or settings.EMBEDDED:
        return waiting
    queue.tell(waiting.filter(model__startswith=queue.API), NO_ADDRESS)
    return waiting.exclude(model__startswith=queue.API)


def load_similarity(row: models.Trace, source: core.LanguageModel | Endpoint) -> None:
    """Have the similarity that the row's inverse explanations need, if it waits for any. Raises SimilarityError."""
    inverse = row.explanations.pending().filter(explainer__method=models.Explainer.Method.INVERSE)
    if isinstance(source, core.LanguageModel) and inverse.exists():
        loaded(settings.SAGE_SIMILARITY, source)


def _make(row: models.Trace, source: core.LanguageModel | Endpoint) -> None:
    progress = Heartbeat(row)
    try:
        if isinstance(source, Endpoint):
            make_by_api(row, source, progress)
        else:
            make_here(row, source, progress)
    except (ReasoningError, LimitError, ApiError) as error:
        for explanation in row.explanations.pending():
            fail(row, explanation, str(error))
    except StoppedError:
        queue.release(row, finished=False)
        return
    except queue.LostLeaseError as error:
        log.warning("%s", error)
        return
    queue.release(row, finished=True)


def make_here(row: models.Trace, model: core.LanguageModel, progress: Heartbeat) -> None:
    trace = chain_of(row, model, progress)
    for explanation in row.explanations.pending().select_related("explainer", "head_version"):
        make_explanation(row, trace, explanation, model, progress)
    if not row.explanations.failed().exists():  # these may be asked for again
        kept_rollouts(trace).remove()


class Heartbeat:
    """The progress callback of the core: renews the lease, passes the stage on, and stops the work when asked to."""

    def __init__(self, row: models.Trace) -> None:
        self.row, self.renewed, self.stage = row, 0.0, ""

    def __call__(self, stage: str, share: float) -> None:
        if stop.is_set():
            raise StoppedError
        now = time.monotonic()
        if stage != self.stage or now - self.renewed > RENEW_EVERY:
            self.renewed, self.stage = now, stage
            queue.renew(self.row, f"{stage} ({share:.0%})")


def chain_of(row: models.Trace, model: core.LanguageModel, progress: Heartbeat) -> Trace:
    """The chain of thought, made unless it was made before."""
    if row.made_at:
        return Trace.from_json(row.record)
    trace, failed_seeds = until_answered(row, lambda problem, chosen: core.reason(model, problem, chosen, progress))
    keep(row, trace, {**provenance(model), "failed_seeds": failed_seeds})
    return trace


def make_explanation(
    row: models.Trace,
    trace: Trace,
    explanation: models.Explanation,
    model: core.LanguageModel,
    progress: Heartbeat,
) -> None:
    started = time.monotonic()
    try:
        explain(trace, explanation, model, progress)
    except (ReasoningError, LimitError, HeadMismatchError, SimilarityError, ValueError) as error:
        fail(row, explanation, str(error))
        return
    explanation.made_at = timezone.now()
    explanation.provenance |= {**provenance(model), "seconds": round(time.monotonic() - started, 2)}
    queue.store_explanation(row, explanation)


def kept_rollouts(trace: Trace) -> KeptFile:
    """The finished rollouts of a trace whose explanations are not all made: some failed, or a worker was killed."""
    return KeptFile(rollouts_folder() / f"{trace_digest(trace)}.jsonl")


def rollouts_folder() -> Path:
    return Path(settings.VAR_DIR) / "rollouts"


def forget_old_rollouts(at: float) -> int:
    """At the start of a worker, `at` in seconds since 1970: what nobody asked for again is not kept for good."""
    return remove_old(rollouts_folder(), at - KEPT_DAYS * 24 * 3600)


def explain(trace: Trace, explanation: models.Explanation, model: core.LanguageModel, progress: Heartbeat) -> None:
    """Fill in the text by the explainer's method, and keep the features that a later retraining will need."""
    explainer = explanation.explainer
    if explainer.method == models.Explainer.Method.CHAIN:
        explanation.text = trace.written
    elif explainer.method == models.Explainer.Method.SELF_EXPLAIN:
        explanation.text = core.self_explain(model, trace, progress)
    elif explainer.method == models.Explainer.Method.ATTENTION:
        explanation.text, record = core.explain_attention(model, trace, progress)
        explanation.evidence = record.to_json()
    else:
        explain_inversely(trace, explanation, model, progress)
    kept = feature_cache(model)
    path = kept.explanation(trace, explanation.text)
    if kept.get(path) is None:
        kept.put(path, core.explanation_features(model, trace, [explanation.text])[0])


def explain_inversely(
    trace: Trace, explanation: models.Explanation, model: core.LanguageModel, progress: Heartbeat
) -> None:
    explainer = explanation.explainer
    if explanation.head_version is None:
        raise HeadMismatchError(
            "An inverse explanation needs a head version; ask for it through inference.queue.ask."
        )
    chosen = core.InverseSettings(
        candidates=explainer.candidates,
        tested_steps=explainer.tested_steps,
        rollouts=explainer.rollouts,
        budget=explainer.budget,
        seed=explainer.seed,
        similarity=settings.SAGE_SIMILARITY,
        writer=explainer.writer,
    )
    head, each_head = head_for(explanation.head_version, model), settings.SAGE_KEEP_HEAD_FLOW
    made = core.explain_inverse(model, trace, head, chosen, progress, kept_rollouts(trace), each_head=each_head)
    explanation.text, explanation.evidence = made.text, made.record.to_json()
    explanation.candidates = [asdict(candidate) for candidate in made.candidates]
    explanation.provenance = {
        "head": str(explanation.head_version),
        "similarity": loaded(chosen.similarity, model).name,
        "settings": asdict(chosen),
    }
    kept = feature_cache(model)
    kept.put(kept.steps(trace), made.step_features)
    if each_head and made.head_flow is not None:  # a head that mixes reads it anyway
        kept.put_flow(trace, made.head_flow)
    chosen_one = [candidate.text for candidate in made.candidates].index(made.text)
    kept.put(kept.explanation(trace, made.text), made.candidate_features[chosen_one])


# -- what failed ---------------------------------------------------------------------------------------------------


def fail_all(row: models.Trace, reason: str, **which: Any) -> None:
    """Fail the explanations that the row waits for, of them those that are as `which` says."""
    if queue.claim(row):
        for explanation in row.explanations.pending().filter(**which):
            fail(row, explanation, reason)
        queue.release(row, finished=True)
