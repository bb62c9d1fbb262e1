"""`manage.py serve` on Redis: several processes on one port, which come back when they die and go when it goes."""

import os
import signal
import socket
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from django.conf import settings
from django.db import connection

from sage_web.checks import CannotServeError
from sage_web.testing.processes import Manage, wait_until
from sage_web.web_processes import MOST, how_many

READY = r"Ready: (http://\S+) \(pages only, by (\d+) processes"


def test_as_many_processes_as_cores_unless_told(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(3)))
    assert (how_many(0), how_many(7)) == (3, 7)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)))
    assert how_many(0) == MOST
    with pytest.raises(CannotServeError, match="WEB_PROCESSES is -1"):
        how_many(-1)


@pytest.fixture
def two(transactional_db, tmp_path):
    """The environment of a server with two processes on the tests' own database and broker."""
    url = urlsplit(settings.DATABASE_URL)._replace(path="/" + connection.settings_dict["NAME"])
    environment = {"DATABASE_URL": url.geturl(), "VAR_DIR": str(tmp_path), "HOST": "127.0.0.1", "PORT": "0"}
    return {**environment, "WEB_PROCESSES": "2"}


def children(pid: int) -> list[int]:
    """The web processes below a server, without Python's own helper process."""
    below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(one) for one in below if "spawn_main" in Path(f"/proc/{one}/cmdline").read_text()]


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=5).is_success
    except httpx.TransportError:
        return False


@pytest.mark.real
def test_a_web_process_that_dies_is_replaced(two):
    with Manage("serve", **two) as server:
        url, count = server.wait_for(READY).groups()
        before = children(server.process.pid)
        assert len(before) == int(count) == 2

        os.kill(before[0], signal.SIGKILL)
        wait_until(lambda: before[0] not in children(server.process.pid) and len(children(server.process.pid)) == 2)
        wait_until(lambda: all(answers(url) for _ in range(8)))

        server.stop()
    assert server.process.returncode == 0
    assert server.output.endswith("Stopped.")


@pytest.mark.real
def test_no_web_process_outlives_its_server(two):
    with Manage("serve", **two) as server:
        url = server.wait_for(READY)[1]
        left = children(server.process.pid)
        server.stop(signal.SIGKILL)
    wait_until(lambda: not any(Path(f"/proc/{one}").exists() for one in left), seconds=20)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", urlsplit(url).port), timeout=5)


@pytest.mark.real
def test_it_can_be_stopped_before_it_is_ready(two):
    with Manage("serve", **two) as server:
        wait_until(lambda: children(server.process.pid))
        assert server.stop() < 20
    assert server.process.returncode == 0
    assert "Ready" not in server.output
