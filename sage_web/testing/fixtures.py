"""Fixtures for every app's tests: static files, the model's folder, a live server."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def static_files() -> None:
    """Pages name their static files by hash, as in production, so the files have to be collected first."""
    from django.core.management import call_command

    call_command("collectstatic", interactive=False, verbosity=0)
