"""The channel layer of the one-process stack: in memory, but callable from the worker's thread.

Channels' own in-memory layer keeps plain asyncio queues, which wake nobody when another thread's loop puts a
message in. Here every send is moved to the loop that owns the sockets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from channels.layers import InMemoryChannelLayer


class ThreadSafeInMemoryLayer(InMemoryChannelLayer):  # type: ignore[misc]  # channels is untyped
    owner: ClassVar[asyncio.AbstractEventLoop | None] = None  # set by the server once its loop runs

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        await self._on_owner(super().send, channel, message)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        await self._on_owner(super().group_send, group, message)

    async def _on_owner(self, function: Callable[..., Awaitable[None]], *args: Any) -> None:
        owner = type(self).owner
        if owner is None or owner.is_closed() or owner is asyncio.get_running_loop():
            await function(*args)
        else:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(function(*args), owner))  # type: ignore[arg-type]
