from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client

from studies.models import Study
from studies.tests import cast


@pytest.fixture(autouse=True)
def nothing_cached() -> None:
    """Rows of different tests can have the same numbers."""
    cache.clear()


@pytest.fixture
def make_study(db: None) -> Callable[..., Study]:
    return cast.make_study


@pytest.fixture
def study(make_study: Callable[..., Study]) -> Study:
    """Launched, everything ready: four problems, two arms, three judgements wanted for each."""
    return make_study()


@pytest.fixture
def researcher(db: None) -> User:
    return cast.make_researcher()


@pytest.fixture
def staff_client(researcher: User) -> Client:
    client = Client()
    client.force_login(researcher)
    return client
