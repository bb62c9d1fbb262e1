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
from functools import partial

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone
from kombu.exceptions import OperationalError

from inference.events import announce
from inference.models import Explainer, Explanation, HeadVersion, Problem, Trace
from inference.querysets import TraceQuerySet

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=60)  # renewed every few seconds of work; a dead worker's trace is free after this
RING_AGAIN = timedelta(seconds=30)
ATTEMPTS = 3  # claims of one trace that never finished, after which its explanations fail


class LostLeaseError(Exception):
    """Another worker holds this trace now; what this one makes must not be stored."""


# -- asking --------------------------------------------------------------------------------------------------------


def ask(problem: Problem, explainer: Explainer) -> Explanation:
    """The explanation of `problem` by `explainer`, asked for now unless that has been done before.

    An explainer that names no head gets the one in use now, for good: an arm must not change under its study.
    """
    trace, _ = Trace.objects.get_or_create(
        problem=problem,
        model=explainer.model or settings.SAGE_MODEL,
        revision=explainer.revision,
        seed=explainer.seed,
        max_new_tokens=explainer.max_new_tokens,
    )
    head = explainer.head_version or HeadVersion.objects.current() if explainer.uses_head else None
    explanation, _ = Explanation.objects.get_or_create(trace=trace, explainer=explainer, head_version=head)
    return explanation


def ring_on_commit(trace_ids: Iterable[int]) -> None:
    for trace_id in sorted(set(trace_ids)):
        transaction.on_commit(partial(ring, trace_id), robust=True)


def ring(trace_id: int, at: datetime | None = None) -> None:
    """Tell the workers about a trace. A broker that is down costs nothing: the sweeper rings again."""
    from inference.tasks import make

    Trace.objects.filter(pk=trace_id).update(rung_at=at or timezone.now())
    try:
        make.apply_async((trace_id,), retry=False)
    except (OperationalError, OSError) as error:
        log.warning("the broker did not take trace %s, the sweeper will ring again: %s", trace_id, error)


def retry(explanations: Iterable[Explanation]) -> int:
    """Ask again for explanations that failed; return how many. A missing chain is sampled with the next seed."""
    rows = [explanation for explanation in explanations if explanation.failed_at]
    with transaction.atomic():
        Explanation.objects.filter(pk__in=[row.pk for row in rows]).update(failed_at=None, error="")
        Trace.objects.filter(explanations__in=rows).distinct().update(attempts=0, lease_until=None)
        ring_on_commit(row.trace_id for row in rows)
    return len(rows)


# -- working -------------------------------------------------------------------------------------------------------


def claim(trace_id: int, at: datetime | None = None) -> Trace | None:
    """The trace, held under a fresh token, or None when it has no work or another worker holds it."""
    at = at or timezone.now()
    token = uuid.uuid4().hex
    won = (
        Trace.objects.filter(pk=trace_id, attempts__lt=ATTEMPTS)
        .free(at)
        .with_work()
        .update(worker=token, lease_until=at + LEASE, attempts=F("attempts") + 1, stage="starting")
    )
    return Trace.objects.select_related("problem").get(pk=trace_id) if won else None


def renew(trace: Trace, stage: str, at: datetime | None = None) -> None:
    """Keep the lease and say what is being done. Raises LostLeaseError when the lease has gone to another worker."""
    at = at or timezone.now()
    if not held(trace).update(lease_until=at + LEASE, stage=stage[:100]):
        raise LostLeaseError(f"trace {trace.pk} was taken over by another worker")
    announce()


def held(trace: Trace) -> TraceQuerySet:
    return Trace.objects.filter(pk=trace.pk, worker=trace.worker)


def store_trace(trace: Trace) -> None:
    """Keep a finished chain, if this worker still holds the trace."""
    fields = ("made_at", "prompt", "chain", "answer_index", "answer_text", "record", "provenance")
    if not held(trace).update(**{name: getattr(trace, name) for name in fields}):
        raise LostLeaseError(f"trace {trace.pk} was taken over by another worker")


def store_explanation(trace: Trace, explanation: Explanation) -> None:
    """Keep a made or failed explanation, if this worker still holds its trace and nobody made it before."""
    fields = ("made_at", "failed_at", "error", "text", "evidence", "candidates", "provenance")
    with transaction.atomic():
        if not held(trace).select_for_update().exists():
            raise LostLeaseError(f"trace {trace.pk} was taken over by another worker")
        values = {name: getattr(explanation, name) for name in fields}
        Explanation.objects.pending().filter(pk=explanation.pk).update(**values)
    announce()


def release(trace: Trace, finished: bool) -> None:
    """Give the trace back. An interrupted one does not count as an attempt: it was not the trace's fault."""
    attempts = 0 if finished else F("attempts") - 1
    held(trace).update(worker="", lease_until=None, stage="", attempts=attempts, rung_at=None)
    announce()


# -- sweeping ------------------------------------------------------------------------------------------------------


def sweep(at: datetime | None = None) -> int:
    """Ring for work that nobody holds and nobody was told of lately; fail what was tried too often. Returns rings."""
    at = at or timezone.now()
    give_up(at)
    quiet = Q(rung_at__isnull=True) | Q(rung_at__lt=at - RING_AGAIN)
    waiting = Trace.objects.with_work().free(at).filter(quiet).values_list("pk", flat=True)[:1000]
    for trace_id in waiting:
        ring(trace_id, at)
    return len(waiting)


def take_back() -> int:
    """Free every trace with work, and let the next sweep ring for it. Returns how many.

    Only for a process that alone works on this database, at its start: whoever held a trace is gone, and so are the
    messages of a broker in memory.
    """
    return Trace.objects.with_work().update(worker="", lease_until=None, rung_at=None, stage="")


def give_up(at: datetime) -> None:
    """Fail the explanations of traces whose workers died ATTEMPTS times: they may be what kills them."""
    hopeless = Trace.objects.with_work().free(at).filter(attempts__gte=ATTEMPTS)
    reason = (
        f"The worker stopped {ATTEMPTS} times while making this. Look at its log (often: out of memory), then retry."
    )
    Explanation.objects.pending().filter(trace__in=hopeless).update(failed_at=at, error=reason)
