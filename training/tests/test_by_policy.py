"""A retraining that the trigger policy starts, in the worker."""

import pytest
from django.conf import settings

from inference import worker
from inference.models import HeadVersion, Promotion
from training import policy, tasks
from training.models import Attempt, Policy, TrainingRun
from training.tests.conftest import judge


@pytest.fixture
def after_many_judgements(study):
    Policy.objects.update_or_create(pk=1, defaults={"when": "judgements", "judgements": 20})
    return study


def test_enough_judgements_retrain_once_and_the_run_log_says_what_came_of_it(after_many_judgements):
    judge(after_many_judgements, raters=8)
    tasks.retrain()
    tasks.retrain()
    attempt = Attempt.objects.get()
    assert (attempt.trigger, attempt.by, attempt.outcome) == ("judgements", "trigger policy", "promoted")
    assert attempt.run == TrainingRun.objects.get()
    assert HeadVersion.objects.current(settings.SAGE_MODEL).number == 1
    assert Promotion.objects.get().by == "trigger policy"


def test_a_refusal_is_in_the_run_log_and_not_repeated(after_many_judgements):
    Policy.objects.update(judgements=20)
    judge(after_many_judgements, raters=2, taste=lambda shown: "tie")
    tasks.retrain()
    tasks.retrain()
    attempt = Attempt.objects.get()
    assert attempt.outcome == "refused"
    assert "All 24 judgements are ties" in attempt.message


def test_by_hand_means_that_nothing_happens(study):
    judge(study, raters=8)
    tasks.retrain()
    assert not Attempt.objects.exists()


def test_a_worker_that_stops_leaves_it_to_the_next_one(after_many_judgements):
    judge(after_many_judgements, raters=8)
    worker.stop.set()
    try:
        tasks.retrain()
    finally:
        worker.stop.clear()
    assert Attempt.objects.get().outcome == "interrupted"
    assert policy.due() == "judgements"
    tasks.retrain()
    assert TrainingRun.objects.get().verdict == "promote"
