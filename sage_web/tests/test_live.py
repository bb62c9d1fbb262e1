"""The real server: pages through WSGI threads, sockets through Channels, on one port."""

import httpx
import pytest
from django.conf import settings
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from sage_web.asgi import without_underscores


def socket_url(live_app, path):
    return live_app.replace("http://", "ws://") + path


def test_pages_and_hashed_static_files_are_served(live_app):
    assert httpx.get(f"{live_app}/healthz").json()["database"] == "ok"

    page = httpx.get(f"{live_app}/admin/login/")
    stylesheet = page.text.split('rel="stylesheet" href="')[1].split('"')[0]
    style = httpx.get(f"{live_app}{stylesheet}")

    assert page.status_code == style.status_code == 200
    assert "immutable" in style.headers["cache-control"]
    assert "script-src 'self'" in page.headers["content-security-policy"]


def test_a_socket_that_nobody_answers_is_refused(live_app):
    with pytest.raises(InvalidStatus, match="403"):
        connect(socket_url(live_app, "/ws/nowhere/"), origin=live_app)


def test_a_socket_from_another_site_is_refused(live_app):
    with pytest.raises(InvalidStatus, match="403"):
        connect(socket_url(live_app, "/ws/r/any/"), origin="http://elsewhere.example")


async def test_headers_that_pose_as_the_proxys_are_dropped():
    seen = {}

    async def app(scope, receive, send):
        seen.update(scope)

    headers = [(b"x_forwarded_proto", b"https"), (b"x-real", b"1")]
    await without_underscores(app)({"type": "http", "headers": headers}, None, None)

    assert seen["headers"] == [(b"x-real", b"1")]
    assert settings.SECURE_PROXY_SSL_HEADER is None
