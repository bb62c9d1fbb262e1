"""Throw-away PostgreSQL and Redis: on a free loopback port, with a password, gone when the tests end.

As root, PostgreSQL's server runs as another user (it refuses root); the tests themselves keep theirs.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sage_web.testing.binaries import Binaries, postgres_binaries, redis_binaries

START_TIMEOUT = 30.0  # seconds
UNSAFE_BUT_FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=60")


class ServerFailed(Exception):
    """The server did not come up; the message ends with its own last words."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def die_with_parent() -> None:
    """Run in the child: a killed test run leaves no server behind (Linux only, elsewhere nothing)."""
    pr_set_pdeathsig = 1
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(pr_set_pdeathsig, signal.SIGKILL)


class Server:
    """One server process in a temporary folder. `start` again after `kill` finds the same data and port."""

    title: str

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"sage-{type(self).__name__.lower()}-"))
        self.log = self.folder / "server.log"
        self.port = free_port()
        self.password = secrets.token_hex(12)
        self.process: subprocess.Popen[bytes] | None = None
        self.user: dict[str, Any] = {}

    def command(self) -> list[str | Path]:
        raise NotImplementedError

    def start(self) -> None:
        """Returns once the port answers. Raises ServerFailed with the log's end otherwise."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=self.environment(),
                preexec_fn=die_with_parent,  # noqa: PLW1509  # started before the tests have any thread
                **self.user,
            )
        self._wait_until_it_answers()

    def environment(self) -> dict[str, str]:
        return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", "HOME": str(self.folder)}

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline and self.process and self.process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise ServerFailed(f"{self.title} did not start:\n{self.last_words()}")

    def last_words(self) -> str:
        return self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""

    def kill(self, how: int = signal.SIGKILL) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(10)

    def stop(self) -> None:
        self.kill(signal.SIGINT)
        shutil.rmtree(self.folder, ignore_errors=True)


class Redis(Server):
    def __init__(self) -> None:
        super().__init__()
        self.binaries = redis_binaries()
        self.title = _title(self.binaries.program("redis-server"), "Redis", self.binaries.origin)

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def command(self) -> list[str | Path]:
        settings = {"port": self.port, "bind": "127.0.0.1", "save": "", "dir": self.folder, "databases": 64}
        options = [str(part) for name, value in settings.items() for part in (f"--{name}", value)]
        return [self.binaries.program("redis-server"), *options, "--requirepass", self.password]


class Postgres(Server):
    def __init__(self) -> None:
        super().__init__()
        self.data = self.folder / "data"
        self.user = _service_user()
        self.binaries = _reachable(postgres_binaries(), self.folder, bool(self.user))
        self.title = _title(self.binaries.program("postgres"), "PostgreSQL", self.binaries.origin)
        self._make_cluster()

    @property
    def url(self) -> str:
        return f"postgres://sage:{self.password}@127.0.0.1:{self.port}/postgres"

    def _make_cluster(self) -> None:
        password_file = self.folder / "password"
        password_file.write_text(self.password)
        if self.user:
            shutil.chown(self.folder, self.user["user"], self.user["group"])
            shutil.chown(password_file, self.user["user"], self.user["group"])
        options = ["-U", "sage", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "-A", "scram-sha-256"]
        made = subprocess.run(
            [self.binaries.program("initdb"), "-D", self.data, *options, "--pwfile", password_file],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self.environment(),
            check=False,
            **self.user,
        )
        if made.returncode:
            raise ServerFailed(f"{self.title}: initdb failed:\n{made.stdout[-1000:]}{made.stderr[-1000:]}")

    def command(self) -> list[str | Path]:
        sets = [part for setting in UNSAFE_BUT_FAST for part in ("-c", setting)]
        options = ["-h", "127.0.0.1", "-p", str(self.port), "-k", ""]  # no socket file beside the port
        return [self.binaries.program("postgres"), "-D", self.data, *options, *sets]

    def _wait_until_it_answers(self) -> None:
        super()._wait_until_it_answers()
        import psycopg

        deadline = time.monotonic() + START_TIMEOUT
        while True:  # the port opens a moment before logins are accepted
            try:
                psycopg.connect(self.url, connect_timeout=5).close()
                return
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline:
                    raise ServerFailed(f"{self.title} refuses logins: {error}\n{self.last_words()}") from error
                time.sleep(0.05)


def _title(program: Path, name: str, origin: str) -> str:
    printed = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    numbers = [word.strip("v=") for word in printed.split() if word.strip("v=")[:1].isdigit()]
    return f"{name} {numbers[0] if numbers else '?'} ({origin})"


def _service_user() -> dict[str, Any]:
    """Who runs PostgreSQL: nobody special, unless we are root, whom it refuses."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise ServerFailed("PostgreSQL refuses to run as root, and there is no user `postgres` or `nobody` to use.")


def _reachable(binaries: Binaries, folder: Path, other_user: bool) -> Binaries:
    """The same programs where another user may run them: copied if a folder above them is closed to others."""
    above = [binaries.folder, *binaries.folder.parents]
    if not other_user or all(path.stat().st_mode & 0o001 for path in above):
        return binaries
    install = binaries.folder.parent
    copies = folder / "package" / install.parent.name / install.name
    _copy(install, copies)
    for library in binaries.libraries:  # found by the programs at ../../../<package>.libs
        _copy(library, folder / "package" / library.name)
    return Binaries(copies / "bin", f"{binaries.origin}, copied", ())


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, symlinks=True)
    _walk(target, lambda path: path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044)))


def _walk(folder: Path, change: Callable[[Path], None]) -> None:
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            change(path)
