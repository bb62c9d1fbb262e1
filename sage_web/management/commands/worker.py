"""`manage.py worker`: the queue's consumer and the sweeper in the foreground, for a stack with Redis."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from sage_web import checks
from sage_web.work import Sweeper, Worker, torch_threads

STOP_WITHIN = 20.0  # seconds for the work in progress to be handed back


class Command(BaseCommand):
    help = "Make explanations: one model, one at a time. Start one per GPU, or per few CPU cores."

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.EMBEDDED:
            raise CommandError(
                "A worker of its own needs a Redis to hear from: set REDIS_URL (and DATABASE_URL). "
                "Without Redis, `manage.py serve` does this work itself."
            )
        stopping = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
        try:
            checks.migrated()
        except checks.CannotServeError as error:
            raise CommandError(str(error)) from error
        self.prepare()
        self.work_until(stopping)

    def prepare(self) -> None:
        from inference.core import weights

        settings.SAGE_THREADS = torch_threads(beside_web=False)
        try:
            weights.resolve(settings.SAGE_MODEL, Path(settings.VAR_DIR), self.say)
        except weights.WeightsError as error:
            raise CommandError(str(error)) from error

    def work_until(self, stopping: threading.Event) -> None:
        worker, sweeper = Worker(), Sweeper()
        worker.start()
        sweeper.start()
        self.say("Worker started.")
        stopping.wait()
        self.say("Stopping: the work in progress is handed back.")
        sweeper.stop(STOP_WITHIN)
        if not worker.stop(STOP_WITHIN):
            self.say("Stopped in the middle of a step; another worker takes it up when its lease runs out.")
            sys.stdout.flush()
            os._exit(os.EX_OK)
        self.say("Stopped.")

    def say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
