"""`manage.py serve` and `manage.py worker` as real processes: how they start, refuse and stop."""

import signal
import socket
import subprocess
import sys

import httpx
import pytest
from django.conf import settings

from sage_web.testing.processes import Manage, wait_until

STOPS_WITHIN = 10  # seconds


@pytest.fixture
def alone(tmp_path):
    """The environment of an installation of its own: embedded, any free port, and a model that is an empty folder."""
    model = tmp_path / "model"
    model.mkdir()
    return {
        "VAR_DIR": str(tmp_path / "var"),
        "DATABASE_URL": "",
        "REDIS_URL": "",
        "SAGE_MODEL": str(model),
        "HOST": "127.0.0.1",
        "PORT": "0",
    }


@pytest.mark.embedded
def test_one_process_serves_works_and_refuses_a_second(alone):
    with Manage("serve", **alone) as first:
        url = first.wait_for(r"Ready: (http://127\.0\.0\.1:\d+)")[1]
        assert httpx.get(f"{url}/healthz").json()["database"] == "ok"
        rate = first.wait_for(r"Rate the demo study:\s+(\S+)")[1]
        assert httpx.get(rate).status_code == 200

        with Manage("serve", **alone) as second:
            assert second.end() == 1
        assert f"Another server (process {first.process.pid}) already runs" in second.output
        assert "Traceback" not in second.output

        # The queue is heard and worked off: a model without files fails each explanation with that reason.
        wait_until(lambda: httpx.get(f"{url}/healthz").json()["waiting"] == 0)

        assert first.stop() < STOPS_WITHIN
        assert first.process.returncode == 0
        assert first.lines[-1] == "Stopped."


@pytest.mark.embedded
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_stops_cleanly_while_it_still_prepares(alone, how):
    with Manage("serve", **alone) as server:
        server.wait_for("Loading PyTorch")
        assert server.stop(how) < STOPS_WITHIN
        assert server.process.returncode == 0
        assert "Traceback" not in server.output


@pytest.mark.embedded
def test_a_taken_port_is_said_before_anything_slow(alone):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with Manage("serve", "--port", port, **alone) as server:
            assert server.end() == 1
    assert f"Port {port} on 127.0.0.1 is taken" in server.output
    assert "Preparing" not in server.output


@pytest.mark.embedded
def test_a_worker_needs_redis_and_says_so(alone):
    with Manage("worker", **alone) as worker:
        assert worker.end() == 1
    assert "set REDIS_URL" in worker.output


WEB_PROCESS = """
import sys
from sage_web.asgi import application
from django.core.management import call_command
from django.test import Client
call_command("migrate", verbosity=0)
client = Client(headers={"host": "127.0.0.1"})
for path in ("/", "/healthz", "/admin/login/"):
    assert client.get(path).status_code == 200, path
print(sorted({"torch", "transformers", "safetensors"} & set(sys.modules)))
"""


@pytest.mark.embedded
def test_a_deployed_web_process_never_loads_torch(alone):
    environment = {**alone, "REDIS_URL": "redis://127.0.0.1:1/0", "VAR_DIR": str(settings.VAR_DIR)}
    ran = subprocess.run(
        [sys.executable, "-c", WEB_PROCESS],
        cwd=settings.BASE_DIR,
        env={"PATH": "", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == "[]"


@pytest.mark.real
@pytest.mark.parametrize("command", ["serve", "worker"])
def test_deployed_processes_want_the_migrations_first(alone, command):
    with Manage(command, **{**alone, "REDIS_URL": settings.REDIS_URL}) as process:
        assert process.end() == 1
    assert "Run `python manage.py migrate` first" in process.output
    assert "Traceback" not in process.output


@pytest.mark.real
def test_an_unreachable_database_is_said_in_a_line(alone):
    nowhere = {
        "DATABASE_URL": "postgres://sage@127.0.0.1:1/sage?connect_timeout=2",
        "REDIS_URL": "redis://127.0.0.1:1",
    }
    with Manage("serve", **{**alone, **nowhere}) as process:
        assert process.end() == 1
    assert "The database cannot be used" in process.output
