"""Fixtures for every app's tests: the real model's folder, a live server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def model_folder() -> Path:
    """The real 135M model as safetensors.

    Converted once into the project's own `var/models`, which the tests' temporary VAR_DIR is given a link to.
    """
    from django.conf import settings

    from inference.core import weights
    from sage_web.testing.plugin import project_folder

    kept = project_folder() / "var"
    link = settings.VAR_DIR / "models"
    if not link.exists():
        (kept / "models").mkdir(parents=True, exist_ok=True)
        link.symlink_to(kept / "models")
    return Path(weights.resolve(weights.DEFAULT_MODEL, kept, print))


@pytest.fixture(scope="session", autouse=True)
def quick_passwords() -> Iterator[None]:
    """Strong hashes are slow on purpose, and most tests have somebody sign in."""
    from django.test import override_settings

    with override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"]):
        yield


@pytest.fixture(scope="session", autouse=True)
def untrained_head() -> None:
    """Tests whose database others see end with emptied tables; what a migration put there for good is put back."""
    from django.apps import apps
    from django.db.models.signals import post_migrate

    post_migrate.connect(put_back, sender=apps.get_app_config("inference"))


def put_back(**_: object) -> None:
    from inference.models import HeadVersion

    HeadVersion.objects.get_or_create(number=0)


@pytest.fixture
def live_app(transactional_db: None) -> Iterator[str]:
    """The address of a real server in a thread: pages and WebSockets, as `manage.py serve` runs them."""
    from channels.layers import channel_layers

    from sage_web.checks import bind
    from sage_web.embedded import Server, address

    up = threading.Event()
    server = Server(on_start=up.set)
    bound = bind("127.0.0.1", 0)
    url = address(bound)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, name="live_app", daemon=True)
    thread.start()
    assert up.wait(20), "the live server did not start within 20 s"
    yield url
    server.should_exit = True
    thread.join(10)
    channel_layers.backends.clear()  # its queues belong to the loop that has just ended
    assert not thread.is_alive(), "the live server did not stop within 10 s"
