"""Sets the project up in this process, on the database that DATABASE_URL names, else on SQLite in a folder."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
QUIET = {"DJANGO_SETTINGS_MODULE": "sage_web.settings", "DEBUG": "0", "LOG_LEVEL": "ERROR"}


def set_up(folder: str, **environment: str) -> None:
    """Migrates an empty database and makes Django's test client record what pages are rendered with."""
    os.environ |= QUIET | {"VAR_DIR": folder} | environment
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command
    from django.test.utils import setup_test_environment

    settings.STORAGES["staticfiles"]["BACKEND"] = "django.contrib.staticfiles.storage.StaticFilesStorage"
    setup_test_environment()
    call_command("migrate", verbosity=0)
