from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from inference.models import Explanation
from studies.tests.cast import make_study


@pytest.mark.django_db
def test_healthy_with_nothing_to_do(client):
    answer = client.get("/healthz")

    assert answer.status_code == 200
    assert answer.json() == {"database": "ok", "waiting": 0, "oldest_waiting_seconds": 0.0}


@pytest.mark.django_db
def test_says_how_long_the_oldest_explanation_waits(client):
    make_study(ready=False)
    first = Explanation.objects.pending().first()
    Explanation.objects.filter(pk=first.pk).update(asked_at=timezone.now() - timedelta(minutes=5))

    told = client.get("/healthz").json()

    assert told["waiting"] == Explanation.objects.pending().count() > 0
    assert 300 <= told["oldest_waiting_seconds"] < 330


@pytest.mark.django_db
def test_an_unreachable_database_is_a_503_without_details(client):
    def broken(execute, sql, params, many, context):
        raise OperationalError("connection to 10.0.0.7 refused")

    with connection.execute_wrapper(broken):
        answer = client.get("/healthz")

    assert answer.status_code == 503
    assert "10.0.0.7" not in answer.content.decode()
