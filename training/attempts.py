"""The lock of `retrain` and its run log, in one table: an attempt that runs is the lock, one that ended a line of it.

A process that was killed leaves its attempt running. It is ended by the next one: at once where its process can be
seen to be gone, else when its lease has run out.
"""

from __future__ import annotations

import getpass
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import Max
from django.utils import timezone

from studies.models import Judgement
from training.models import Attempt

LEASE = timedelta(minutes=10)  # renewed every few seconds of work; longer than the longest step of it
RENEW_EVERY = 5.0  # seconds


class RefusedError(Exception):
    """Retraining cannot start with what there is. Says what is missing and what to do."""


class BusyError(RefusedError):
    """Another retraining is going on. Says whose."""


class StoppedError(Exception):
    """The process was asked to stop in the middle of a retraining."""


class LostAttemptError(Exception):
    """The lease ran out and another retraining has begun; what this one made must not be registered."""


@contextmanager
def attempt(trigger: str, by: str) -> Iterator[Attempt]:
    """Hold the lock; on the way out the attempt has an outcome. Raises BusyError while another one holds it."""
    held = begin(trigger, by)
    try:
        yield held
    except (KeyboardInterrupt, SystemExit, StoppedError):
        end(held, Attempt.Outcome.INTERRUPTED, "Interrupted; nothing was registered.")
        raise
    except RefusedError as error:
        end(held, Attempt.Outcome.REFUSED, str(error))
        raise
    except Exception as error:
        end(held, Attempt.Outcome.FAILED, f"{type(error).__name__}: {error}")
        raise


def begin(trigger: str, by: str, at: datetime | None = None) -> Attempt:
    at = at or timezone.now()
    end_the_dead(at)
    newest = Judgement.objects.aggregate(newest=Max("pk"))["newest"] or 0
    mine = Attempt(trigger=trigger, by=by, host=socket.gethostname(), pid=os.getpid())
    mine.started_at, mine.lease_until, mine.newest_judgement = at, at + LEASE, newest
    try:
        with transaction.atomic():
            mine.save()
    except IntegrityError as error:
        raise BusyError(f"Another retraining is running: {holder()}. Wait until it has ended, or stop it.") from error
    return mine


def holder() -> str:
    running = Attempt.objects.filter(running=True).first()
    return running.process if running else "it has just ended; try again"


def end_the_dead(at: datetime) -> None:
    for running in Attempt.objects.filter(running=True):
        if running.lease_until < at or gone(running):
            end(running, Attempt.Outcome.LOST, "Its process ended without a word (often: killed, or out of memory).")


def gone(running: Attempt) -> bool:
    """Whether its process can be seen not to exist: only on the same machine."""
    if running.host != socket.gethostname():
        return False
    try:
        os.kill(running.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def end(held: Attempt, outcome: str, message: str) -> None:
    values = {"running": None, "outcome": outcome, "message": message, "finished_at": timezone.now()}
    Attempt.objects.filter(pk=held.pk, running=True).update(**values)
    held.refresh_from_db()


def hold(held: Attempt) -> None:
    """Raises LostAttemptError unless `held` is still the one that runs; within a transaction it then stays so."""
    if not Attempt.objects.select_for_update().filter(pk=held.pk, running=True).exists():
        raise LostAttemptError(f"{held} lost its lease; another retraining may have begun. Run it again.")


class Heartbeat:
    """Called as the work goes on: renews the lease now and then. Raises LostAttemptError when it is gone."""

    def __init__(self, held: Attempt) -> None:
        self.held, self.renewed = held, time.monotonic()

    def __call__(self, what: str, share: float) -> None:
        if time.monotonic() - self.renewed > RENEW_EVERY:
            self.renewed = time.monotonic()
            mine = Attempt.objects.filter(pk=self.held.pk, running=True)
            if not mine.update(lease_until=timezone.now() + LEASE):
                hold(self.held)


def telling(held: Attempt, tell: Callable[[str, float], None]) -> Callable[[str, float], None]:
    """`tell`, called with what is being done and its share from 0 to 1, which then renews the lease as well."""
    beat = Heartbeat(held)

    def told(what: str, share: float) -> None:
        beat(what, share)
        tell(what, share)

    return told


def used_before(held: Attempt, held_out_sha256: str) -> int:
    """How often these held-out problems were used before. That `held` uses them too is written down at once."""
    before = Attempt.objects.filter(held_out_sha256=held_out_sha256).count()
    Attempt.objects.filter(pk=held.pk).update(held_out_sha256=held_out_sha256)
    return before


def operator() -> str:
    """Who sits at this terminal, as far as the machine knows."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        name = str(os.getuid())
    return f"{name}@{socket.gethostname()}"
