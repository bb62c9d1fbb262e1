"""HTTP through Django's WSGI handler in threads, WebSockets through Channels, behind one uvicorn.

Django's own ASGI handler hops threads for every synchronous middleware; beside a busy worker thread in the same
process it falls to a tenth of what plain WSGI threads answer.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

from a2wsgi import WSGIMiddleware
from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.core.wsgi import get_wsgi_application
from django.urls import re_path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sage_web.settings")

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[..., Awaitable[None]]

HTTP_THREADS = 8
pages: Any = get_wsgi_application()  # sets Django up: everything that touches models is imported after it

from studies.routing import websocket_urlpatterns  # noqa: E402


def without_underscores(app: Application) -> Application:
    """Drop headers such as `X_Forwarded_Proto`, which WSGI cannot tell from the proxy's own `X-Forwarded-Proto`."""

    async def cleaned(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(name, value) for name, value in scope["headers"] if b"_" not in name]
        await app({**scope, "headers": headers}, receive, send)

    return cleaned


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """A WebSocket nobody answers: closed before it opens, which the browser sees as 403."""
    await receive()
    await send({"type": "websocket.close", "code": 4404, "reason": ""})


sockets = URLRouter([*websocket_urlpatterns, re_path(r"", refuse)])  # type: ignore[arg-type]  # an ASGI app, no view

application = ProtocolTypeRouter(
    {
        "http": without_underscores(WSGIMiddleware(pages, workers=HTTP_THREADS)),
        "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(sockets)),
    }
)
