"""The one process with the real model, stopped and killed in the middle of its work."""

import signal
import sqlite3
from contextlib import closing

import pytest

from sage_web.testing.processes import Manage, wait_until

pytestmark = pytest.mark.model

LEASE = 60  # seconds: what a second start must not have to wait for


@pytest.fixture
def alone(tmp_path, model_folder):
    (tmp_path / "models").symlink_to(model_folder.parent)
    return {"VAR_DIR": str(tmp_path), "DATABASE_URL": "", "REDIS_URL": "", "HOST": "127.0.0.1", "PORT": "0"}


@pytest.fixture
def held(tmp_path):
    """The traces that a worker holds, as (id, attempts, stage)."""

    def read():
        with closing(sqlite3.connect(tmp_path / "sage.sqlite3", timeout=20)) as database:
            return database.execute(
                "SELECT id, attempts, stage FROM inference_trace WHERE worker != '' AND stage LIKE '%thinking%'"
            ).fetchall()

    return read


def test_work_in_progress_is_handed_back_and_found_again(alone, held):
    with Manage("serve", **alone) as server:
        server.wait_for("Ready")
        wait_until(held)
        assert server.stop(signal.SIGTERM) < 10
        assert server.process.returncode == 0
        assert not held()

    with Manage("serve", **alone) as server:
        server.wait_for("Ready")
        wait_until(held)
        ((trace, attempts, _),) = held()
        assert attempts == 1, "having been handed back does not count as a failed attempt"
        server.stop(signal.SIGKILL)
        assert held()

    with Manage("serve", **alone) as server:
        server.wait_for("Ready")
        wait_until(lambda: [(row[0], row[1]) for row in held()] == [(trace, 2)], seconds=LEASE / 2)
