"""What has to hold before anything is served. Each refusal says what was found and what to do about it."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import socket
from pathlib import Path
from typing import IO

from django.db import DEFAULT_DB_ALIAS, OperationalError, connections
from django.db.migrations.executor import MigrationExecutor

FREE_BYTES = 200_000_000  # for the database and the static files; the model's conversion checks its own need


class CannotServeError(Exception):
    """The server must not start; the message is for the person at the terminal."""


def lock(folder: Path) -> IO[str]:
    """Hold `folder` for this process until the returned file is closed, or the process ends in whatever way.

    Raises:
        CannotServeError: another process holds it.
    """
    held = (folder / "serve.lock").open("a+")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        held.seek(0)
        owner = held.read().strip() or "unknown"
        held.close()
        raise CannotServeError(
            f"Another server (process {owner}) already runs on {folder}. Use that one, or stop it first; "
            f"for a second installation set VAR_DIR to another folder."
        ) from error
    held.truncate(0)
    held.write(str(os.getpid()))
    held.flush()
    return held


def bind(host: str, port: int) -> socket.socket:
    """The server's socket, reserved before the slow preparation begins.

    Raises:
        CannotServeError: the port is taken, not allowed, or the host is not an address of this machine.
    """
    if not 0 <= port <= 65535:
        raise CannotServeError(f"Port {port} is not a port: allowed are 1 to 65535, or 0 for any free one. Set PORT.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        raise CannotServeError(why_not_bound(host, port, error)) from error
    return bound


def why_not_bound(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} on {host} is taken by another program. Choose another: PORT={port + 1} make run"
    if error.errno == errno.EACCES:
        return f"Port {port} needs root. Choose one above 1023: PORT=8000 make run"
    return f"Cannot listen on {host}:{port} ({error}). HOST has to be an address of this machine, such as 127.0.0.1."


def migrated() -> None:
    """Raises CannotServeError unless the database answers and is as new as the code."""
    try:
        executor = MigrationExecutor(connections[DEFAULT_DB_ALIAS])
        behind = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except OperationalError as error:
        raise CannotServeError(why_no_database(error)) from error
    if behind:
        raise CannotServeError(
            f"The database lacks {len(behind)} migrations of this code. Run `python manage.py migrate` first."
        )


def why_no_database(error: OperationalError) -> str:
    return f"The database cannot be used: {error}. Check DATABASE_URL, or without it the folder and disk of VAR_DIR."


def enough_space(folder: Path, needed: int = FREE_BYTES) -> None:
    """Raises CannotServeError unless `folder` has `needed` free bytes."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise CannotServeError(
            f"{folder} has {free / 1e6:.0f} MB free, and at least {needed / 1e6:.0f} MB are needed. "
            f"Free some space, or set VAR_DIR to a folder on a larger disk."
        )
