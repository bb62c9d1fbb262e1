import os
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection


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
