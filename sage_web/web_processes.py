"""Several web processes on one socket, supervised by uvicorn: one that dies is started again."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable

import uvicorn
from uvicorn.supervisors import Multiprocess

from sage_web.checks import CannotServeError

STARTS_WITHIN = 60.0  # seconds
MOST = 4  # processes, unless WEB_PROCESSES asks for more


def how_many(wanted: int) -> int:
    """`wanted`, or for 0 as many as this process may use cores, at most MOST. Raises CannotServeError below 0."""
    if wanted < 0:
        raise CannotServeError(f"WEB_PROCESSES is {wanted}; give how many, or 0 for one for each core.")
    return wanted or min(len(os.sched_getaffinity(0)), MOST)


class Config(uvicorn.Config):
    """Its processes end with their parent, however that ended: they would hold the port for good."""

    def load(self) -> None:
        super().load()
        threading.Thread(target=end_with_parent, name="parent", daemon=True).start()


def end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


class WebProcesses(Multiprocess):
    """`on_start` is called once all of them answer."""

    def __init__(self, config: Config, sockets: list[socket.socket], on_start: Callable[[], None]) -> None:
        super().__init__(config, sockets)
        self.on_start = on_start

    def init_processes(self) -> None:
        super().init_processes()
        deadline = time.monotonic() + STARTS_WITHIN
        while not all(process.is_ready(1) for process in self.processes):
            self.handle_signals()
            if self.should_exit.is_set() or time.monotonic() > deadline:
                return  # supervision, which comes next, stops or replaces them
            time.sleep(0.1)
        self.on_start()
