"""Real `manage.py` processes for tests: started with an environment of their own, their output read as it comes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType


class ProcessFailedError(Exception):
    """The process ended, or did not say what was waited for; the message ends with what it did say."""


def wait_until(holds: Callable[[], object], seconds: float = 60, every: float = 0.2) -> None:
    """Look every `every` seconds until `holds` is true. Raises TimeoutError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"still not true after {seconds:.0f} s")
        time.sleep(every)


class Manage:
    """`manage.py` with `arguments` in the project's folder; `environment` is laid over the tests' own.

    As a context manager it is killed at the end, if it still runs; when the test failed, its output is printed.
    """

    def __init__(self, *arguments: str, **environment: str) -> None:
        self.arguments = " ".join(arguments)
        self.lines: list[str] = []
        self._news = threading.Condition()
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", *arguments],
            cwd=Path(__file__).resolve().parents[2],
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, pattern: str, seconds: float = 60) -> re.Match[str]:
        """The first match of `pattern` in the output so far, waited for. Raises ProcessFailedError without one."""
        deadline = time.monotonic() + seconds
        while True:
            found = re.search(pattern, self.output)
            if found:
                return found
            if not self._reader.is_alive() or time.monotonic() > deadline:
                raise ProcessFailedError(f"no {pattern!r} within {seconds:.0f} s in:\n{self.output}")
            with self._news:
                self._news.wait(0.2)

    def end(self, seconds: float = 30) -> int:
        """The exit status, once it has ended by itself."""
        status = self.process.wait(seconds)
        self._reader.join(5)
        return status

    def stop(self, how: int = signal.SIGTERM, seconds: float = 30) -> float:
        """Send a signal and wait for the end; return how many seconds that took."""
        started = time.monotonic()
        self.process.send_signal(how)
        self.end(seconds)
        return time.monotonic() - started

    def __enter__(self) -> Manage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        if error is not None:
            print(f"-- manage.py {self.arguments} said:\n{self.output}")  # noqa: T201
