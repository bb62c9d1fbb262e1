"""The threads that do the work: one that consumes the queue with Celery's own machinery, one that sweeps.

`manage.py serve` runs both beside the web server when there is no Redis; `manage.py worker` runs them alone.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable

from celery.worker import WorkController, state
from django.conf import settings
from django.db import Error, close_old_connections

from sage_web.celery import app

log = logging.getLogger(__name__)

SWEEP_EVERY = 3.0  # seconds
RESTART_AFTER = 2.0  # seconds between a consumer that broke down and the next one


class Controller(WorkController):  # type: ignore[misc]  # celery is untyped
    """Celery's worker without its command line, whose signal handlers only work on the main thread."""

    def __init__(self, ready: Callable[[], None]) -> None:
        self._ready = ready
        super().__init__(
            app=app,
            hostname=f"sage-{os.getpid()}",
            pool_cls="solo",
            concurrency=1,
            queues=["inference"],
            without_heartbeat=True,
            without_mingle=True,
            without_gossip=True,
        )

    def on_consumer_ready(self, consumer: object) -> None:
        self._ready()


class Worker:
    """The queue's consumer in a thread. A consumer that breaks down is started again until `stop`."""

    def __init__(self) -> None:
        self.ready = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)

    def start(self) -> None:
        from inference import worker

        worker.stop.clear()
        worker.forget_old_rollouts(time.time())
        state.should_stop = None
        self._thread.start()

    def _run(self) -> None:
        while not self._stopping.is_set():
            Controller(self.ready.set).start()
            if not self._stopping.wait(RESTART_AFTER):
                log.error("the queue's consumer broke down (see above); starting it again")

    def stop(self, timeout: float) -> bool:
        """Ask the running task to hand its work back, wait at most `timeout` seconds; return whether all stopped."""
        from inference import queue, worker

        worker.stop.set()
        self._stopping.set()
        state.should_stop = os.EX_OK  # read by the consumer between two messages
        if settings.EMBEDDED:
            for _ in range(2):  # the consumer waits two seconds for a message, and once more when it is to stop
                queue.ring()
        self._thread.join(timeout)
        state.should_stop = None if not self._thread.is_alive() else os.EX_OK
        return not self._thread.is_alive()


class Sweeper:
    """Rings every few seconds for work that nobody holds, so that a lost message costs time, never work; and for a
    retraining, when the trigger policy says so.
    """

    def __init__(self, every: float = SWEEP_EVERY) -> None:
        self.every = every
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        while True:
            self._sweep()
            if self._stopping.wait(self.every):
                return

    def _sweep(self) -> None:
        from inference import queue
        from training import policy

        close_old_connections()
        try:
            queue.sweep()
            policy.ring_if_due()
        except Error as error:
            log.warning("could not look for waiting work, will try again: %s", error)
        finally:
            close_old_connections()

    def stop(self, timeout: float) -> None:
        self._stopping.set()
        self._thread.join(timeout)


def torch_threads(beside_web: bool) -> int:
    """How many threads the model may use: SAGE_THREADS, else all cores, less one where pages share them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(settings.SAGE_THREADS) or max(1, cores - 1 if beside_web else cores)
