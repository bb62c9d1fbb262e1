"""The lock: one retraining at a time, whoever started it, and none that outlives its process."""

import os
import subprocess
import sys
from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from training import attempts
from training.models import Attempt

NOW = timezone.now()


@pytest.fixture
def other(db):
    """A retraining that a living process on another machine is in the middle of."""
    held = attempts.begin("command", "kim@gpu-1", NOW)
    Attempt.objects.filter(pk=held.pk).update(host="gpu-1", pid=4711)
    return held


def attempt(by="me@here"):
    return attempts.attempt("command", by)


def test_the_second_says_who_holds_the_lock(other):
    with pytest.raises(attempts.BusyError, match=r"kim@gpu-1 \(process 4711 on gpu-1\) since 20\d\d-"), attempt():
        pass
    assert Attempt.objects.count() == 1


def test_the_database_itself_refuses_a_second_one(other):
    with pytest.raises(IntegrityError), transaction.atomic():
        Attempt.objects.create(trigger="command", by="x", host="x", pid=1, lease_until=NOW)


def test_a_lease_that_ran_out_frees_the_lock_and_stops_the_old_holder(other):
    later = NOW + attempts.LEASE + timedelta(seconds=1)
    attempts.begin("command", "me@here", later)
    other.refresh_from_db()
    assert other.outcome == "lost"
    with pytest.raises(attempts.LostAttemptError, match="lost its lease"), transaction.atomic():
        attempts.hold(other)
    beat = attempts.Heartbeat(other)
    beat.renewed -= 2 * attempts.RENEW_EVERY
    with pytest.raises(attempts.LostAttemptError), transaction.atomic():
        beat("fitting", 0.5)


def test_a_killed_process_of_this_machine_leaves_no_lock_behind(db):
    killed = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    held = attempts.begin("command", "me@here")
    Attempt.objects.filter(pk=held.pk).update(pid=killed.pid)
    with pytest.raises(attempts.BusyError), attempt():
        pass
    killed.kill()
    killed.communicate()
    with attempt() as mine:
        assert (mine.running, mine.pid) == (True, os.getpid())
        attempts.end(mine, "held", "done")
    held.refresh_from_db()
    assert held.outcome == "lost"


def test_the_lease_is_renewed_as_the_work_goes_on(other):
    beat = attempts.Heartbeat(other)
    beat.renewed -= 2 * attempts.RENEW_EVERY
    beat("fitting", 0.5)
    other.refresh_from_db()
    assert other.lease_until > NOW + attempts.LEASE


@pytest.mark.parametrize(
    ("error", "outcome", "message"),
    [
        (KeyboardInterrupt(), "interrupted", "nothing was registered"),
        (attempts.RefusedError("12 are missing"), "refused", "12 are missing"),
        (OSError("no space left on device"), "failed", "no space left on device"),
    ],
)
def test_every_way_out_frees_the_lock_and_is_logged(db, error, outcome, message):
    with pytest.raises(type(error)), attempt():
        raise error
    ended = Attempt.objects.get()
    assert (ended.outcome, ended.running) == (outcome, None)
    assert message in ended.message
    assert ended.finished_at >= ended.started_at
    attempts.begin("command", "the next")
