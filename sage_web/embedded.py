"""One uvicorn that owns the channel layer's loop, and starts and stops with the threads beside it."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any

import uvicorn

from sage_web.layers import ThreadSafeInMemoryLayer

log = logging.getLogger(__name__)

GRACE = 3  # seconds that running requests get when the server stops
OPTIONS: dict[str, Any] = {
    "app": "sage_web.asgi:application",
    "lifespan": "off",
    "log_config": None,
    "access_log": False,
    "server_header": False,
    "timeout_graceful_shutdown": GRACE,
}


def nothing() -> None:
    pass


class Server(uvicorn.Server):
    """`on_start` runs in a thread once pages are served, `on_stop` once they are not any more.

    uvicorn raises the signal that stopped it again when it is done, so nothing after `run` can be relied on: what
    has to happen on the way out happens in `shutdown`.
    """

    def __init__(self, on_start: Callable[[], None] = nothing, on_stop: Callable[[], None] = nothing) -> None:
        super().__init__(uvicorn.Config(**OPTIONS))
        self.on_start, self.on_stop = on_start, on_stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        ThreadSafeInMemoryLayer.owner = asyncio.get_running_loop()
        await asyncio.to_thread(self.on_start)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await asyncio.gather(super().shutdown(sockets=sockets), asyncio.to_thread(self.on_stop))
        ThreadSafeInMemoryLayer.owner = None


def address(bound: socket.socket) -> str:
    """The URL to open in a browser on this machine."""
    host, port = bound.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # compared with, not bound to
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"
