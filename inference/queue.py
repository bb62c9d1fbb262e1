"""The queue of record is the database; Celery is only a doorbell.

A trace with pending explanations is work. A worker claims it by a conditional UPDATE that sets a fencing token and
a lease, renews the lease as it goes, and stops when it finds that it has lost it. The sweeper rings again for work
that nobody holds. So a killed worker, a lost message or an emptied broker costs time, never work.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Greatest
from django.utils import timezone
from kombu.exceptions import OperationalError

from inference.events import announce
from inference.models import Explainer, Explanation, HeadVersion, Problem, Trace
from inference.querysets import TraceQuerySet

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=60)  # renewed every few seconds of work; a dead worker's trace is free after this
ATTEMPTS = 3  # claims of one trace that never finished, after which its explanations fail
BELL_EXPIRES = 60  # seconds; the sweeper has long rung anew, so busy workers do not collect old bells
MOST_BELLS = 16
API = "api:"  # begins a trace's model where a server has it, so that no local model of that name is meant


class LostLeaseError(Exception):
    """Another worker holds this trace now; what this one makes must not be stored."""


# -- asking --------------------------------------------------------------------------------------------------------


def model_name(explainer: Explainer) -> str:
    """The model of the explainer's traces: a local one, or after `API` one of the server of SAGE_API_URL."""
    if explainer.method == Explainer.Method.API:
        return API + explainer.model
    return explainer.model or str(settings.SAGE_MODEL)


def is_api(model: str) -> bool:
    """Whether a trace's model is one of a server, and none that a worker could load."""
    return model.startswith(API)


def head_of(explainer: Explainer) -> HeadVersion | None:
    """The head that explanations asked for now will use: the explainer's own, or the one in use; None for no head."""
    if not explainer.uses_head:
        return None
    return explainer.head_version or HeadVersion.objects.current(model_name(explainer), explainer.revision)


def ask(problem: Problem, explainer: Explainer, head: HeadVersion | None) -> Explanation:
    """The explanation of `problem` by `explainer` with `head`, asked for now unless that has been done before.

    `head` comes from `head_of`, once for all problems: an arm must not change under its study.
    """
    trace, _ = Trace.objects.get_or_create(
        problem=problem,
        model=model_name(explainer),
        revision=explainer.revision,
        seed=explainer.seed,
        max_new_tokens=explainer.max_new_tokens,
    )
    explanation, _ = Explanation.objects.get_or_create(trace=trace, explainer=explainer, head_version=head)
    return explanation


def ring_on_commit(bells: int = 1) -> None:
    """Ring once the rows are there for others to see; `bells` is how many workers could start at once."""
    for _ in range(min(bells, MOST_BELLS)):
        transaction.on_commit(ring, robust=True)


def ring() -> None:
    """Tell a worker that there is work. A bell that is lost or late costs nothing: the sweeper rings again."""
    from inference.tasks import work

    try:
        work.apply_async(retry=False, expires=BELL_EXPIRES)
    except (OperationalError, OSError) as error:
        log.warning("the broker takes no messages now, the sweeper will ring again: %s", error)


def retry(explanations: Iterable[Explanation]) -> int:
    """Ask again for explanations that failed; return how many. A missing chain is sampled with the next seed."""
    rows = [explanation for explanation in explanations if explanation.failed_at]
    with transaction.atomic():
        Explanation.objects.filter(pk__in=[row.pk for row in rows]).update(failed_at=None, error="")
        Trace.objects.free(timezone.now()).filter(explanations__in=rows).distinct().update(attempts=0)
        ring_on_commit(bells=len(rows))
    return len(rows)


# -- working -------------------------------------------------------------------------------------------------------


def waiting(at: datetime | None = None) -> TraceQuerySet:
    """Traces that a worker could take now, in the order in which they were asked for."""
    at = at or timezone.now()
    return Trace.objects.filter(attempts__lt=ATTEMPTS).with_work().free(at).order_by("pk")


def claim(trace: Trace, at: datetime | None = None) -> bool:
    """Hold `trace` under a fresh token; False when another worker was quicker or nothing is left to do."""
    at = at or timezone.now()
    token = uuid.uuid4().hex
    lease = {"worker": token, "lease_until": at + LEASE, "attempts": F("attempts") + 1, "stage": "starting"}
    if not waiting(at).filter(pk=trace.pk).order_by().update(**lease):
        return False
    trace.refresh_from_db()
    return True


def tell(traces: TraceQuerySet, stage: str) -> None:
    """Say of traces that nobody holds what they wait for."""
    traces.exclude(stage=stage).order_by().update(stage=stage)


def renew(trace: Trace, stage: str, at: datetime | None = None) -> None:
    """Keep the lease and say what is being done. Raises LostLeaseError when the lease has gone to another worker."""
    at = at or timezone.now()
    update_held(trace, lease_until=at + LEASE, stage=stage[:100])
    announce()


def held(trace: Trace) -> TraceQuerySet:
    return Trace.objects.filter(pk=trace.pk, worker=trace.worker)


def update_held(trace: Trace, **values: Any) -> None:
    """Write to the row, unless another worker holds it by now: then raise LostLeaseError."""
    if not held(trace).update(**values):
        raise LostLeaseError(f"trace {trace.pk} was taken over by another worker")


def store_trace(trace: Trace) -> None:
    """Keep a finished chain, if this worker still holds the trace."""
    fields = ("made_at", "prompt", "chain", "answer_index", "answer_text", "record", "provenance")
    update_held(trace, **{name: getattr(trace, name) for name in fields})


def store_explanation(trace: Trace, explanation: Explanation) -> None:
    """Keep a made or failed explanation, if this worker still holds its trace and nobody made it before."""
    fields = ("made_at", "failed_at", "error", "text", "evidence", "candidates", "provenance")
    with transaction.atomic():
        update_held(trace, worker=trace.worker)  # locks the row until the explanation is stored
        values = {name: getattr(explanation, name) for name in fields}
        Explanation.objects.pending().filter(pk=explanation.pk).update(**values)
    announce()


def release(trace: Trace, finished: bool) -> None:
    """Give the trace back. An interrupted one does not count as an attempt: it was not the trace's fault."""
    attempts = 0 if finished else Greatest(F("attempts") - 1, 0)
    held(trace).update(worker="", lease_until=None, stage="", attempts=attempts)
    announce()


# -- sweeping ------------------------------------------------------------------------------------------------------


def sweep(at: datetime | None = None) -> bool:
    """Fail what was tried too often, and ring when work waits that nobody holds; returns whether it rang."""
    at = at or timezone.now()
    give_up(at)
    rings = waiting(at).exists()
    if rings:
        ring()
    return rings


def take_back() -> int:
    """Free every trace with work. Returns how many.

    Only for a process that alone works on this database, at its start: whoever held a trace is gone, and so are the
    messages of a broker in memory.
    """
    return Trace.objects.with_work().update(worker="", lease_until=None, stage="")


def give_up(at: datetime) -> None:
    """Fail the explanations of traces whose workers died ATTEMPTS times: they may be what kills them."""
    hopeless = Trace.objects.with_work().free(at).filter(attempts__gte=ATTEMPTS)
    reason = (
        f"The worker stopped {ATTEMPTS} times while making this. Look at its log (often: out of memory), then retry."
    )
    Explanation.objects.pending().filter(trace__in=hopeless).update(failed_at=at, error=reason)
