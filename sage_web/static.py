"""Static files are collected, hashed and compressed when they have changed, not at every start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command


def collect_if_needed(say: Callable[[str], None]) -> None:
    if not collected():
        say("Collecting static files ...")
        call_command("collectstatic", interactive=False, verbosity=0)


def collected() -> bool:
    """Whether the manifest is younger than every static file of the apps."""
    manifest = Path(settings.STATIC_ROOT) / "staticfiles.json"
    if not manifest.exists():
        return False
    made = manifest.stat().st_mtime
    return all(Path(path).stat().st_mtime <= made for path in sources())


def sources() -> list[str]:
    return [str(storage.path(name)) for finder in get_finders() for name, storage in finder.list([])]
