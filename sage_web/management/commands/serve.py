"""`manage.py serve`: everything in one process; with REDIS_URL set, the pages and live updates only."""

from __future__ import annotations

import os
import signal
import socket
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import StringIO
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, connections

from sage_web import checks
from sage_web.embedded import OPTIONS, Server, address
from sage_web.static import collect_if_needed
from sage_web.web_processes import Config, WebProcesses, how_many
from sage_web.work import Sweeper, Worker, torch_threads

BACKLOG = 2048  # connections that wait to be taken, as uvicorn has it
STOP_WITHIN = 7.0  # seconds for the work in progress to be handed back


class AskedToStop(BaseException):
    """Ctrl-C or SIGTERM. Not KeyboardInterrupt, which, once raised inside PyTorch's import, ends Python as killed."""


def leave(number: int, frame: FrameType | None) -> NoReturn:
    raise AskedToStop


class Command(BaseCommand):
    help = "Serve the pages; without REDIS_URL also run the queue and the model in this same process."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default=os.environ.get("HOST") or "127.0.0.1", help="default: HOST, 127.0.0.1")
        parser.add_argument("--port", type=int, default=os.environ.get("PORT") or 8000, help="default: PORT, 8000")

    def handle(self, *args: Any, host: str, port: int, **options: Any) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, leave)
        try:
            with ExitStack() as held:
                self.serve(held, host, port)
        except checks.CannotServeError as error:
            raise CommandError(str(error)) from error
        except OperationalError as error:
            raise CommandError(checks.why_no_database(error)) from error
        except AskedToStop:
            self.say("Stopped.")

    def serve(self, held: ExitStack, host: str, port: int) -> None:
        checks.enough_space(settings.VAR_DIR)
        if settings.EMBEDDED:
            held.enter_context(checks.lock(settings.VAR_DIR))
        bound = held.enter_context(checks.bind(host, port))
        if settings.EMBEDDED:
            self.serve_everything(bound)
        else:
            self.serve_pages(bound)

    def say(self, line: str) -> None:
        with suppress(BrokenPipeError):  # whoever read this has gone; stopping must not fail for it
            self.stdout.write(line)
            self.stdout.flush()

    # -- deployed: pages and live updates ---------------------------------------------------------------------------

    def serve_pages(self, bound: socket.socket) -> None:
        checks.migrated()
        collect_if_needed(self.say)
        count = how_many(settings.WEB_PROCESSES)
        ready = f"Ready: {address(bound)} (pages only, by {count} processes; run `manage.py worker`)"
        connections.close_all()
        with said_why_not(bound):
            bound.listen(BACKLOG)
        WebProcesses(Config(**OPTIONS, workers=count), [bound], lambda: self.say(ready)).run()
        self.say("Stopped.")

    # -- embedded: one process for everything -----------------------------------------------------------------------

    def serve_everything(self, bound: socket.socket) -> None:
        links = self.prepare(address(bound))
        worker, sweeper = Worker(), Sweeper()

        def start() -> None:
            worker.start()
            sweeper.start()
            self.say(f"\n{links}\nReady: {address(bound)} (Ctrl-C stops)")

        def stop() -> None:
            self.say("Stopping: the work in progress is handed back.")
            sweeper.stop(STOP_WITHIN)
            if not worker.stop(STOP_WITHIN):
                # Its rows are found again at the next start; what must not happen is to wait for it.
                self.say("Stopped in the middle of a step; the next start takes it up again.")
                sys.stdout.flush()
                os._exit(os.EX_OK)

        self.run(Server(start, stop), bound)

    def prepare(self, url: str) -> str:
        """Everything that may take a while. Returns the lines that tell people where to go."""
        self.say("Preparing the database ...")
        call_command("migrate", interactive=False, verbosity=0)
        collect_if_needed(self.say)
        self.prepare_model()
        told = StringIO()
        call_command("setup_demo", url=url, stdout=told)
        return told.getvalue()

    def prepare_model(self) -> None:
        self.say("Loading PyTorch ...")
        from inference import queue, worker  # noqa: F401  # the worker here, where loading it can be interrupted
        from inference.core import weights

        settings.SAGE_THREADS = torch_threads(beside_web=True)
        try:
            weights.resolve(settings.SAGE_MODEL, Path(settings.VAR_DIR), self.say)
        except weights.WeightsError as error:
            raise CommandError(str(error)) from error
        if not settings.DATABASE_URL:  # the lock says that nobody else works on this database
            queue.take_back()

    def run(self, server: Server, bound: socket.socket) -> None:
        with said_why_not(bound, unless=lambda: server.started):
            server.run(sockets=[bound])


@contextmanager
def said_why_not(bound: socket.socket, unless: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Another program may have begun to listen between our reserving the port and listening on it."""
    host, port = bound.getsockname()[:2]
    try:
        yield
    except OSError as error:
        if unless():
            raise
        raise checks.CannotServeError(checks.why_not_bound(host, port, error)) from error
