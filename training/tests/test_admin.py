"""The admin's pages of runs, heads, promotions, the run log and the trigger policy."""

import pytest
from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from inference import heads
from inference.models import HeadVersion, Promotion
from training.models import Attempt, Policy, TrainingRun
from training.tests.conftest import judge, retrain


@pytest.fixture
def run(study):
    judge(study, raters=8)
    retrain()
    return TrainingRun.objects.get()


@pytest.fixture
def second(db):
    """A registered head that was never in use."""
    return heads.register("2" * 64, {"model": settings.SAGE_MODEL, "revision": ""})


def current():
    return HeadVersion.objects.current(settings.SAGE_MODEL)


def page(client, name, *given):
    found = client.get(reverse(f"admin:{name}", args=given))
    assert found.status_code == 200
    return " ".join(found.content.decode().split())


def test_a_run_is_shown_with_charts_tables_and_its_lineage(admin_client, run, study):
    html = page(admin_client, "training_trainingrun_change", run.pk)
    assert html.count('<svg class="chart"') == 5
    assert html.count('<div class="table"') == 5, "every chart has its table"
    for words in ("Promoted", "Learning curve", "length alone", "arms chain and self-explain", "log tokens"):
        assert words in html
    judgements = (
        f"{reverse('admin:studies_judgement_changelist')}?assignment__comparison__study__id__exact={study.pk}"
    )
    explanations = (
        f"{reverse('admin:inference_explanation_changelist')}?head_version__id__exact={run.head_version_id}"
    )
    for address in (
        judgements,
        explanations,
        reverse("admin:inference_headversion_change", args=[run.head_version_id]),
    ):
        assert f'href="{address}"' in html
        assert admin_client.get(address).status_code == 200
    assert "style=" not in html.split('id="content-main"')[1].split("</section>")[0]
    assert "{&quot;" not in html, "no JSON is dumped"


def test_a_run_of_withdrawn_judgements_says_so(admin_client, run, study):
    study.raters.first().delete()
    assert "were withdrawn since" in page(admin_client, "training_trainingrun_change", run.pk)
    assert "were withdrawn since" in page(admin_client, "inference_headversion_change", run.head_version_id)


def test_a_run_from_before_the_gate_measured_so_much_still_opens(admin_client, run):
    TrainingRun.objects.update(metrics={"gain": 0.1, "scores": []})
    assert "made by an earlier version" in page(admin_client, "training_trainingrun_change", run.pk)


def test_promotion_is_asked_about_needs_a_reason_and_is_logged(admin_client, second):
    address = reverse("admin:inference_headversion_promote", args=[second.pk])
    assert f'href="{address}"' in page(admin_client, "inference_headversion_change", second.pk)
    assert "instead of head v0" in page(admin_client, "inference_headversion_promote", second.pk)
    assert current().number == 0, "looking changes nothing"
    refused = admin_client.post(address, {"instead_of": 0, "reason": " "})
    assert "This field is required" in refused.content.decode()
    assert current().number == 0
    done = admin_client.post(address, {"instead_of": 0, "reason": "it reads better"}, follow=True)
    assert f"Head v1 is now in use for {settings.SAGE_MODEL}" in done.content.decode()
    row = Promotion.objects.get()
    assert (row.by, row.reason, row.kind) == ("admin", "it reads better", "promote")


def test_rollback_is_one_action(admin_client, second):
    heads.promote(second, "better", "kim")
    address = reverse("admin:inference_headversion_rollback", args=[second.pk])
    assert f'href="{address}"' in page(admin_client, "inference_headversion_change", second.pk)
    admin_client.post(address, {"instead_of": second.number, "reason": "raters complained"})
    assert current().number == 0
    assert Promotion.objects.first().kind == "rollback"
    assert "rollback" not in page(admin_client, "inference_headversion_change", second.pk).split("<section>")[1]


def test_a_page_that_is_out_of_date_moves_nothing(admin_client, second):
    other = heads.register("3" * 64, {"model": settings.SAGE_MODEL, "revision": ""})
    heads.promote(other, "better", "kim")
    address = reverse("admin:inference_headversion_promote", args=[second.pk])
    answer = admin_client.post(address, {"instead_of": 0, "reason": "it reads better"})
    assert "Look again" in answer.content.decode()
    assert current() == other


def test_who_may_only_look_cannot_promote(second):
    looker = User.objects.create_user("looker", password="a password of tests", is_staff=True)
    looker.user_permissions.set(Permission.objects.filter(codename__in=("view_headversion",)))
    client = Client()
    client.force_login(looker)
    assert "Promote" not in page(client, "inference_headversion_change", second.pk).split("<section>")[1]
    for name in ("promote", "rollback"):
        address = reverse(f"admin:inference_headversion_{name}", args=[second.pk])
        assert client.post(address, {"instead_of": 0, "reason": "x"}).status_code == 403
    assert current().number == 0


def test_the_untrained_head_has_a_page_and_is_not_promoted_here(admin_client, db):
    untrained = HeadVersion.objects.get(number=0)
    assert "any model" in page(admin_client, "inference_headversion_change", untrained.pk)
    assert admin_client.get(reverse("admin:inference_headversion_promote", args=[untrained.pk])).status_code == 404


def test_the_run_log_shows_refusals(admin_client, db):
    Attempt.objects.create(
        trigger="nightly", by="trigger policy", host="here", pid=1, running=None, outcome="refused",
        message="12 are missing", lease_until="2030-01-01T00:00Z",
    )  # fmt: skip
    assert "12 are missing" in page(admin_client, "training_attempt_changelist")
    assert "12 are missing" in page(admin_client, "training_attempt_change", Attempt.objects.get().pk)


def test_the_policy_is_one_page_and_refuses_every_judgement(admin_client, db):
    opened = admin_client.get(reverse("admin:training_policy_changelist"), follow=True)
    assert "new judgements" in opened.content.decode()
    address = reverse("admin:training_policy_change", args=[1])
    admin_client.post(address, {"when": "judgements", "judgements": 1, "hour": 3})
    assert str(Policy.current()) == "Only by hand"
    admin_client.post(address, {"when": "judgements", "judgements": 100, "hour": 3})
    assert str(Policy.current()) == "After 100 new judgements"


@pytest.mark.parametrize("name", ["training_trainingrun", "inference_headversion", "inference_promotion"])
def test_the_lists_open(admin_client, second, name):
    heads.promote(second, "better", "kim")
    page(admin_client, f"{name}_changelist")


def test_the_lists_flag_withdrawn_judgements(admin_client, run, study):
    leaving = study.raters.first()
    gone = leaving.assignments.count()
    leaving.delete()
    for name in ("training_trainingrun", "inference_headversion"):
        assert f'field-withdrawn">{gone}</td>' in page(admin_client, f"{name}_changelist")
