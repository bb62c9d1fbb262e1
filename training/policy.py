"""When retraining starts by itself. The worker's sweeper asks every few seconds; the answer is nearly always no."""

from __future__ import annotations

import logging
from datetime import datetime

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone
from kombu.exceptions import OperationalError

from studies.models import Judgement, Study
from training.models import Attempt, Policy

log = logging.getLogger(__name__)


def ring_if_due(at: datetime | None = None) -> bool:
    """Ask a worker to retrain if the policy says so; returns whether it did. A bell that is lost rings again."""
    from training.tasks import retrain

    if not due(at):
        return False
    try:
        retrain.apply_async(retry=False, expires=60)
    except (OperationalError, OSError) as error:
        log.warning("the broker takes no messages now, retraining will be asked for again: %s", error)
    return True


def due(at: datetime | None = None) -> str:
    """The trigger by which a retraining should start now; empty if none.

    An attempt of the policy counts as its turn whatever came of it, unless it was interrupted: a refusal for too
    little data is not repeated before there is more.
    """
    policy, at = Policy.current(), at or timezone.now()
    if policy.when == Policy.When.MANUAL or Attempt.objects.filter(running=True, lease_until__gte=at).exists():
        return ""
    last = Attempt.objects.exclude(trigger="command").exclude(outcome="interrupted").first()
    fresh = new_judgements(policy, last.newest_judgement if last else 0)
    if policy.when == Policy.When.JUDGEMENTS:
        return Attempt.Trigger.JUDGEMENTS if fresh >= policy.judgements else ""
    since = max(policy.changed_at, last.started_at) if last else policy.changed_at
    return Attempt.Trigger.NIGHTLY if fresh and since < policy.last_turn(at) else ""


def new_judgements(policy: Policy, after: int) -> int:
    """How many judgements of the policy's studies stand that are newer than the one with id `after`."""
    newer = Judgement.objects.comparing().filter(pk__gt=after)
    return newer.filter(assignment__comparison__study__in=studies(policy)).count()


def wanted_studies() -> tuple[Study, ...]:
    return tuple(studies(Policy.current()))


def studies(policy: Policy) -> QuerySet[Study]:
    chosen = policy.studies.all()
    if chosen.exists():
        return chosen
    of_default = {"arms__explainer__model__in": ("", settings.SAGE_MODEL), "arms__explainer__revision": ""}
    return Study.objects.filter(launched_at__isnull=False, **of_default).distinct()
