"""The tests' ground: `--stack`, a temporary VAR_DIR, throw-away servers, and the shared fixtures.

Everything that the settings read from the environment is set here, before they load, so that no test ever sees
the developer's own `.env`, database, broker or `var/`.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path

import hypothesis
import pytest

from sage_web.testing.binaries import ServerNotFound
from sage_web.testing.servers import Postgres, Redis, Server, ServerFailed

pytest_plugins = ["sage_web.testing.fixtures", "sage_web.testing.browser"]

EMBEDDED = {"DATABASE_URL": "", "REDIS_URL": ""}
PLAIN = {
    "DEBUG": "0",
    "HTTPS": "0",
    "SECRET_KEY": "only-for-tests",
    "SAGE_MODEL": "smollm2-135m-instruct",
    "SAGE_DEVICE": "cpu",
    "SAGE_DTYPE": "float32",
    "SAGE_SIMILARITY": "words",
    "SAGE_THREADS": "1",  # two threads are hardly faster for this model, and collapse when the machine is busy
}
hypothesis.settings.register_profile("untimed", parent=hypothesis.settings(), deadline=None)
running: list[Server] = []
header: list[str] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--stack",
        choices=("embedded", "real"),
        default="embedded",
        help="embedded: SQLite and an in-memory broker. real: throw-away PostgreSQL and Redis servers.",
    )


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, None, None]:
    """A wrapper, because it has to come before pytest-django's own hook, which loads the settings."""
    atexit.register(stop_servers)
    hypothesis.settings.load_profile("untimed")  # no test is about time, and what comes first loads the libraries
    real = early_config.known_args_namespace.stack == "real"
    os.environ.update(PLAIN)
    os.environ["VAR_DIR"] = temporary_folder()
    if "PYTEST_XDIST_WORKER" in os.environ:
        share_servers(os.environ["PYTEST_XDIST_WORKER"])
    else:
        os.environ.update(start_servers() if real else EMBEDDED)
    header.append("stack: " + (", ".join(titles()) if real else "embedded (SQLite, in-memory broker)"))
    return (yield)


def temporary_folder() -> str:
    folder = tempfile.mkdtemp(prefix="sage-tests-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def start_servers() -> dict[str, str]:
    """The URLs of PostgreSQL and Redis: given ones, else servers of our own. Fails, never skips, without them."""
    urls = {"DATABASE_URL": "TEST_DATABASE_URL", "REDIS_URL": "TEST_REDIS_URL"}
    kinds: dict[str, type[Postgres] | type[Redis]] = {"DATABASE_URL": Postgres, "REDIS_URL": Redis}
    found = {}
    for name, given in urls.items():
        try:
            found[name] = os.environ.get(given) or start(kinds[name])
        except (ServerNotFound, ServerFailed) as error:
            stop_servers()
            raise pytest.UsageError(str(error)) from error
    return found


def start(kind: type[Postgres] | type[Redis]) -> str:
    server = kind()
    running.append(server)
    server.start()
    return server.url


def share_servers(worker: str) -> None:
    """Under xdist the first process starts the servers; each worker takes its own Redis database."""
    url = os.environ.get("REDIS_URL", "")
    if url:
        number = int(worker.removeprefix("gw")) + 1
        os.environ["REDIS_URL"] = f"{url.rsplit('/', 1)[0]}/{number}"


def titles() -> list[str]:
    own = [server.title for server in running]
    given = [name for name in ("TEST_DATABASE_URL", "TEST_REDIS_URL") if os.environ.get(name)]
    return own + [f"the server of {name}" for name in given]


def stop_servers() -> None:
    while running:
        running.pop().stop()


def pytest_sessionstart() -> None:
    """Pages name their static files by hash, as in production, so these are collected before any test is imported."""
    from django.core.management import call_command

    call_command("collectstatic", interactive=False, verbosity=0)


def pytest_report_header() -> list[str]:
    return header


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests of one stack belong to runs with it; elsewhere they are not skipped but not asked for."""
    other = "embedded" if config.getoption("--stack") == "real" else "real"
    left_out = [item for item in items if item.get_closest_marker(other)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_unconfigure() -> None:
    stop_servers()


def project_folder() -> Path:
    return Path(__file__).resolve().parents[2]
