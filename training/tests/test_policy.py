"""When retraining starts by itself, and when not."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from studies import assignment, judging
from studies.models import Judgement
from studies.tests.cast import make_study
from training import attempts, policy
from training.models import Attempt, Policy

NOON = datetime(2030, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def study(db):
    return make_study(problems=12, wanted=3)


def judge(study, raters):
    """Each rater prefers the first arm in all twelve comparisons."""
    for _ in range(raters):
        rater = assignment.enrol(study)
        while (given := assignment.next_for(rater)) is not None:
            judging.record(given, "first")


def chosen(**fields):
    Policy.objects.update_or_create(pk=1, defaults={"judgements": 20, **fields})
    Policy.objects.update(changed_at=NOON - timedelta(days=10))


def tried(at, outcome="refused"):
    held = attempts.begin("nightly", "policy", at)
    attempts.end(held, outcome, "too little data")


def test_by_default_nothing_starts_by_itself(study):
    judge(study, raters=3)
    assert str(Policy.current()) == "Only by hand"
    assert policy.due(NOON) == ""


def test_enough_new_judgements_start_it_once(study):
    chosen(when="judgements")
    judge(study, raters=1)
    assert policy.due(NOON) == "", "12 of 20"
    judge(study, raters=1)
    assert policy.due(NOON) == "judgements"
    tried(NOON)
    assert policy.due(NOON) == "", "a refusal is not repeated before there is more"


def test_judgements_that_do_not_stand_are_not_counted(study):
    chosen(when="judgements")
    judge(study, raters=2)
    Judgement.objects.filter(pk__in=Judgement.objects.values("pk")[:10]).update(choice="cannot_judge")
    assert policy.due(NOON) == ""


def test_every_night_but_only_if_something_is_new(study):
    chosen(when="nightly", hour=3)
    assert policy.due(NOON) == ""
    judge(study, raters=1)
    assert policy.due(NOON) == "nightly"
    tried(NOON)
    assert policy.due(NOON + timedelta(hours=14)) == ""
    judge(study, raters=1)
    assert policy.due(NOON + timedelta(hours=14)) == "", "two in the night: not yet"
    assert policy.due(NOON + timedelta(hours=16)) == "nightly"


def test_an_interrupted_attempt_is_tried_again(study):
    chosen(when="nightly", hour=3)
    judge(study, raters=1)
    tried(NOON, "interrupted")
    assert policy.due(NOON) == "nightly"


def test_nothing_starts_while_a_retraining_runs(study):
    chosen(when="nightly", hour=3)
    judge(study, raters=1)
    attempts.begin("command", "kim", NOON)
    assert policy.due(NOON) == ""
    assert policy.due(NOON + 2 * attempts.LEASE) == "nightly"


def test_only_the_chosen_studies_count(study):
    other = make_study(slug="other", problems=2)
    chosen(when="nightly", hour=3)
    Policy.current().studies.add(other)
    judge(study, raters=1)
    assert policy.due(NOON) == ""
    assert list(policy.studies(Policy.current())) == [other]


def test_after_each_single_judgement_is_not_allowed(db):
    with pytest.raises(ValidationError, match="greater than or equal to 20"):
        Policy(when="judgements", judgements=1).full_clean()
    with pytest.raises(IntegrityError), transaction.atomic():
        Policy.objects.update_or_create(pk=1, defaults={"judgements": 1})


def test_there_is_one_policy(db):
    Policy(hour=5).save()
    assert Policy.objects.get().hour == 5
    assert not Attempt.objects.exists()


# -- in a worker ---------------------------------------------------------------------------------------------------


def test_the_sweeper_rings_only_when_it_is_due(study, monkeypatch):
    from training.tasks import retrain

    rung = []
    monkeypatch.setattr(retrain, "apply_async", lambda **options: rung.append(options))
    assert not policy.ring_if_due(NOON)
    chosen(when="nightly", hour=3)
    judge(study, raters=1)
    assert policy.ring_if_due(NOON)
    assert len(rung) == 1


def test_a_broker_that_is_away_costs_a_turn_of_the_sweeper_and_no_more(study, monkeypatch):
    from kombu.exceptions import OperationalError

    from training.tasks import retrain

    def away(**options):
        raise OperationalError("no broker")

    monkeypatch.setattr(retrain, "apply_async", away)
    chosen(when="nightly", hour=3)
    judge(study, raters=1)
    assert policy.ring_if_due(NOON)
