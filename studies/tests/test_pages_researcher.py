"""What researchers see, and what strangers do not."""

from __future__ import annotations

import csv
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from inference.models import Explanation, HeadVersion
from studies.models import Arm, Assignment, CheckItem, Invite, Judgement, Study
from studies.tests import cast, pages

MakeStudy = Callable[..., Study]


def play(study: Study, choices: str = "aabt", raters: int = 2) -> None:
    names = {"a": "a1", "b": "b1", "t": "tie", "x": "both_bad"}
    for _ in range(raters):
        client = pages.consent(study)
        page = pages.compare(client, study)
        for key in choices:
            page = pages.answer(client, page, names[key])


def results(client: Client, study: Study) -> str:
    response = client.get(reverse("studies:results", args=[study.slug]))
    assert response.status_code == 200
    return response.content.decode()


def test_the_start_page_leads_strangers_to_sign_in_and_researchers_to_studies(
    study: Study, staff_client: Client
) -> None:
    assert reverse("admin:login") in Client().get("/").content.decode()
    assert study.title not in Client().get("/").content.decode()
    html = staff_client.get("/").content.decode()
    assert reverse("studies:results", args=[study.slug]) in html
    assert "Running" in html


@pytest.mark.parametrize("page", ["results", "export"])
def test_strangers_sign_in_first_and_others_are_refused(study: Study, page: str) -> None:
    address = reverse(f"studies:{page}", args=[study.slug])
    assert Client().get(address).headers["Location"].startswith(reverse("admin:login"))
    colleague = Client()
    colleague.force_login(cast.make_researcher("colleague", permitted=False))
    refused = colleague.get(address)
    assert refused.status_code == 403
    assert "permission to view studies" in refused.content.decode()


def test_an_unknown_study_is_not_found(staff_client: Client) -> None:
    assert staff_client.get(reverse("studies:results", args=["no-such"])).status_code == 404


def test_results_before_the_first_answer(study: Study, staff_client: Client) -> None:
    html = results(staff_client, study)
    assert "No answers yet" in html
    assert f"http://testserver{reverse('studies:consent', args=[study.token])}" in html


def test_the_link_for_a_panel_has_what_the_panel_fills_in(make_study: MakeStudy, staff_client: Client) -> None:
    html = results(staff_client, make_study(panel="prolific", code_complete="C1"))
    assert "/?PROLIFIC_PID={{%PROLIFIC_PID%}}&amp;STUDY_ID={{%STUDY_ID%}}&amp;SESSION_ID={{%SESSION_ID%}}" in html


def test_a_study_by_invitation_offers_its_personal_links(make_study: MakeStudy, staff_client: Client) -> None:
    study = make_study(invited_only=True)
    assert reverse("studies:invites_csv", args=[study.slug]) not in results(staff_client, study)
    Invite.objects.create(study=study)
    html = results(staff_client, study)
    assert "This link lets nobody in" in html
    assert "Download 1 personal link (CSV)" in html


def test_results_show_scores_with_interval_chart_and_agreement(make_study: MakeStudy, staff_client: Client) -> None:
    study = make_study(problems=5, wanted=5)
    play(study, choices="abtax", raters=5)
    html = results(staff_client, study)
    assert '<svg class="chart"' in html
    assert '<line class="interval"' in html
    assert "of 25 answers" in html
    assert "inverse better" in html
    assert "chain better" in html
    assert "Krippendorff" in html


def test_one_rater_gets_a_score_but_no_interval(study: Study, staff_client: Client) -> None:
    play(study, raters=1)
    html = results(staff_client, study)
    assert "Too early to say" in html
    assert '<circle class="score unsure"' in html
    assert '<line class="interval"' not in html


def test_a_clear_winner_is_named(make_study: MakeStudy, staff_client: Client) -> None:
    study = make_study(problems=5, wanted=5)
    for _ in range(5):
        client = pages.consent(study)
        page = pages.compare(client, study)
        for _ in range(5):
            held = Assignment.objects.latest("pk")
            page = pages.answer(client, page, "a2" if held.first_on_left else "b2")
    assert "Raters prefer inverse to chain" in results(staff_client, study)


def test_a_draft_has_a_page_that_says_so(make_study: MakeStudy, staff_client: Client) -> None:
    html = results(staff_client, make_study(launched_at=None))
    assert "is a draft" in html
    assert "/r/" not in html


def test_the_export_has_a_line_for_each_answer(study: Study, staff_client: Client) -> None:
    play(study, choices="ab", raters=1)
    response = staff_client.get(reverse("studies:export", args=[study.slug]))
    assert 'filename="demo.csv"' in response.headers["Content-Disposition"]
    lines = b"".join(response).decode().splitlines()
    assert len(list(csv.DictReader(lines))) == 2


@pytest.fixture
def failed(make_study: MakeStudy) -> Explanation:
    explanation = make_study(ready=False).comparisons.all()[0].first
    explanation.failed_at, explanation.error = timezone.now(), "<b>the chain is empty</b>"
    explanation.save()
    return explanation


def test_failures_are_shown_with_their_reason_and_can_be_retried(failed: Explanation, staff_client: Client) -> None:
    html = results(staff_client, Study.objects.get())
    assert "1 explanation could not be made" in html
    assert "&lt;b&gt;the chain is empty" in html
    assert "Make the failed ones again" in html
    address = reverse("studies:retry", args=["demo"])
    after = staff_client.post(address, follow=True)
    assert "1 explanation will be made again" in after.content.decode()
    failed.refresh_from_db()
    assert failed.failed_at is None


def test_retrying_takes_the_permission_to_change(failed: Explanation, researcher: User, staff_client: Client) -> None:
    researcher.user_permissions.remove(*researcher.user_permissions.filter(codename="change_study"))
    assert "Make the failed ones again" not in results(staff_client, Study.objects.get())
    assert staff_client.post(reverse("studies:retry", args=["demo"])).status_code == 403
    failed.refresh_from_db()
    assert failed.failed_at is not None


# -- admin ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def admin(admin_client: Client) -> Callable[[str, Study], str]:
    """Run an action of the list of studies on one study; the page that comes after."""

    def run(action: str, study: Study) -> str:
        address = reverse("admin:studies_study_changelist")
        response = admin_client.post(address, {"action": action, "_selected_action": [study.pk]}, follow=True)
        return response.content.decode()

    return run


@pytest.fixture
def draft(make_study: MakeStudy) -> Study:
    study = make_study(launched_at=None, ready=False)
    study.comparisons.all().delete()
    return study


@pytest.fixture
def filled_in(draft: Study) -> dict[str, object]:
    """What the admin's form of a new study sends, with one gold comparison."""
    explainers = list(Arm.objects.values_list("explainer_id", flat=True))
    study = {
        "title": "A new one",
        "slug": "new",
        "problem_set": draft.problem_set_id,
        "seed": 3,
        "language": "de",
        "question": "Which is better?",
        "consent_text": "You agree.",
        "levels": 7,
        "criteria": '["clarity"]',
        "reason_tags": '["shorter"]',
        "simulation": "none",
        "rater_limit": 5,
        "judgements_wanted": 2,
        "repeats": 1,
        "fast_seconds": 2,
        "break_after": 0,
        "withdrawal": "anonymise",
        "panel": "none",
        "answer_shown": "on",
    }
    arms = [
        {"name": name, "explainer": explainer} for name, explainer in zip(("one", "two"), explainers, strict=True)
    ]
    gold = {"purpose": "gold", "position": 0, "question": "?", "answer": "!", "better": "b", "worse": "w"}
    return study | inlines("arms", arms) | inlines("check_items", [gold])


def inlines(prefix: str, rows: list[dict[str, object]]) -> dict[str, object]:
    counts = {"TOTAL_FORMS": len(rows), "INITIAL_FORMS": 0, "MIN_NUM_FORMS": 0, "MAX_NUM_FORMS": 1000}
    fields = {f"{prefix}-{name}": count for name, count in counts.items()}
    return fields | {
        f"{prefix}-{place}-{name}": value for place, row in enumerate(rows) for name, value in row.items()
    }


def test_a_study_is_configured_in_the_admin(admin_client: Client, filled_in: dict[str, object]) -> None:
    response = admin_client.post(reverse("admin:studies_study_add"), filled_in)
    assert response.status_code == 302, response.context["errors"]
    study = Study.objects.get(slug="new")
    assert [arm.name for arm in study.arms.all()] == ["one", "two"]
    assert (study.levels, study.criteria, study.reason_tags, study.withdrawal) == (
        7,
        ["clarity"],
        ["shorter"],
        "anonymise",
    )
    assert study.check_items.get().purpose == "gold"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"panel": "prolific"}, "sent back with this code"),
        ({"panel": "prolific", "code_complete": "C1", "invited_only": "on"}, "Choose one of the two"),
        (
            {"panel": "prolific", "code_complete": "C1", "reject_failed_checks": "on"},
            "Failed checks end a rater",
        ),
        ({"panel": "other"}, "where this panel"),
        ({"code_complete": "C1"}, "choose the panel"),
        ({"panel": "other", "return_url": "http://panel.example/"}, "begins with https://"),
        ({"panel": "other", "return_url": "javascript:alert(1)"}, "begins with https://"),
        ({"panel": "other", "return_url": "https://{participant}.example/"}, "begins with https://"),
        ({"panel": "other", "return_url": "https://panel.example/?x={secret}"}, "is no blank"),
        ({"review_until_0": "2020-01-01", "review_until_1": "00:00"}, "has passed"),
        ({"repeats": 5}, "choose fewer repeats"),
        ({"reason_tags": '"shorter"'}, "Give a list of words"),
        ({"reason_tags": '["a", "a"]'}, "twice"),
        ({"criteria": '["beauty"]'}, "no list of different criteria"),
    ],
)
def test_a_protocol_that_cannot_run_is_refused_with_the_reason(
    admin_client: Client, filled_in: dict[str, object], fields: dict[str, object], message: str
) -> None:
    page = admin_client.post(reverse("admin:studies_study_add"), filled_in | fields)
    assert page.status_code == 200
    assert message in page.content.decode()
    assert not Study.objects.filter(slug="new").exists()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"simulation": "forward"}, "so it is hidden"),
        ({"reject_failed_checks": "on"}, "cannot be launched like this. Two failed gold"),
    ],
)
def test_what_is_saved_but_not_as_it_looks_is_said(
    admin_client: Client, filled_in: dict[str, object], fields: dict[str, object], message: str
) -> None:
    page = admin_client.post(reverse("admin:studies_study_add"), filled_in | fields, follow=True)
    assert message in page.content.decode()
    assert Study.objects.filter(slug="new").exists()


def test_personal_links_are_made_in_the_admin_and_downloaded(admin_client: Client, study: Study) -> None:
    chosen = {"action": "make_links", "_selected_action": [study.pk]}
    address = reverse("admin:studies_study_changelist")
    made = admin_client.post(address, chosen | {"number": 3}, follow=True).content.decode()
    assert "3 personal links were made" in made
    download = admin_client.get(reverse("studies:invites_csv", args=[study.slug]))
    rows = list(csv.DictReader(b"".join(download).decode().splitlines()))
    assert [row["label"] for row in rows] == ["person 1", "person 2", "person 3"]
    assert Client().get(rows[1]["link"]).status_code == 200
    assert Client().post(rows[1]["link"]).status_code == 302
    again = admin_client.get(reverse("studies:invites_csv", args=[study.slug]))
    assert [row["agreed"] for row in csv.DictReader(b"".join(again).decode().splitlines())] == ["", "yes", ""]
    for number in ("", "0", "1001", "x"):
        admin_client.post(address, chosen | {"number": number}, follow=True)
    assert Invite.objects.count() == 3
    listed = admin_client.get(reverse("admin:studies_invite_changelist"))
    assert "person 2" in listed.content.decode()


def test_a_draft_is_launched_from_its_own_page(staff_client: Client, draft: Study, researcher: User) -> None:
    assert 'id="launch"' in results(staff_client, draft)
    address = reverse("studies:launch", args=[draft.slug])
    assert staff_client.get(address).status_code == 405
    assert "is running" in staff_client.post(address, follow=True).content.decode()
    assert draft.comparisons.count() == 4
    assert "was launched on" in staff_client.post(address, follow=True).content.decode()


def test_launching_takes_the_permission_to_change(staff_client: Client, draft: Study, researcher: User) -> None:
    researcher.user_permissions.remove(*researcher.user_permissions.filter(codename="change_study"))
    assert 'id="launch"' not in results(staff_client, draft)
    assert staff_client.post(reverse("studies:launch", args=[draft.slug])).status_code == 403
    assert not draft.comparisons.exists()


def test_checks_of_a_launched_study_cannot_be_added(admin_client: Client, study: Study) -> None:
    page = admin_client.get(reverse("admin:studies_study_change", args=[study.pk])).content.decode()
    assert "check_items-0-better" not in page
    assert not CheckItem.objects.exists()


def test_launching_from_the_admin(admin: Callable[[str, Study], str], draft: Study) -> None:
    assert "is running" in admin("launch_chosen", draft)
    assert draft.comparisons.count() == 4


def test_what_cannot_be_launched_says_why(admin: Callable[[str, Study], str], draft: Study) -> None:
    draft.arms.all()[0].delete()
    assert "needs at least 2" in admin("launch_chosen", draft)


def test_copying_and_closing_from_the_admin(admin: Callable[[str, Study], str], study: Study) -> None:
    assert "demo-2" in admin("copy_chosen", study)
    assert "demo-3" in admin("copy_chosen", study)
    assert Study.objects.get(slug="demo-3").launched_at is None
    assert "is closed" in admin("close_chosen", study)
    assert "not running" in admin("close_chosen", study)


def test_a_launched_study_is_frozen(admin_client: Client, study: Study) -> None:
    address = reverse("admin:studies_study_change", args=[study.pk])
    page = admin_client.get(address).content.decode()
    assert '<input type="text" name="title"' not in page
    assert reverse("studies:results", args=[study.slug]) in page
    assert admin_client.post(address, {"title": "changed"}).status_code == 403
    assert admin_client.post(reverse("admin:studies_study_delete", args=[study.pk])).status_code == 403


def test_what_was_made_or_said_cannot_be_edited(admin_client: Client, study: Study) -> None:
    play(study, choices="a", raters=1)
    rows = (Judgement.objects.get(), Explanation.objects.all()[0], HeadVersion.objects.get())
    for row in rows:
        name = f"{row._meta.app_label}_{row._meta.model_name}"
        assert admin_client.get(reverse(f"admin:{name}_change", args=[row.pk])).status_code == 200
        assert admin_client.post(reverse(f"admin:{name}_change", args=[row.pk])).status_code == 403
        assert admin_client.get(reverse(f"admin:{name}_add")).status_code == 403


def test_a_used_explainer_cannot_be_changed_and_an_unused_one_can(admin_client: Client, study: Study) -> None:
    explainer = study.arms.all()[0].explainer
    address = reverse("admin:inference_explainer_change", args=[explainer.pk])
    assert 'name="seed"' not in admin_client.get(address).content.decode()
    explainer.pk, explainer.version = None, 2
    explainer.save()
    address = reverse("admin:inference_explainer_change", args=[explainer.pk])
    assert 'name="seed"' in admin_client.get(address).content.decode()


def test_failed_explanations_are_found_and_retried_in_the_admin(admin_client: Client, failed: Explanation) -> None:
    address = reverse("admin:inference_explanation_changelist")
    listed = admin_client.get(address, {"state": "failed"})
    assert [row.pk for row in listed.context["cl"].result_list] == [failed.pk]
    assert "the chain is empty" in listed.content.decode()
    chosen = list(Explanation.objects.values_list("pk", flat=True))
    after = admin_client.post(address, {"action": "retry", "_selected_action": chosen}, follow=True)
    assert "1 failed of those chosen will be made again" in after.content.decode()


@pytest.mark.parametrize("state", ["pending", "ready", "failed"])
def test_every_list_of_the_admin_opens(admin_client: Client, study: Study, state: str) -> None:
    assert admin_client.get(reverse("admin:inference_explanation_changelist"), {"state": state}).status_code == 200
    lists = ("problemset", "headversion", "explainer", "trace")
    for name in [f"inference_{name}" for name in lists] + ["studies_judgement", "training_trainingrun"]:
        assert admin_client.get(reverse(f"admin:{name}_changelist")).status_code == 200
    assert (
        admin_client.get(reverse("admin:inference_problemset_change", args=[study.problem_set_id])).status_code == 200
    )


def test_arms_that_failed_for_the_same_reason_are_one_entry(failed: Explanation, staff_client: Client) -> None:
    Explanation.objects.filter(trace=failed.trace).update(failed_at=failed.failed_at, error=failed.error)
    html = results(staff_client, Study.objects.get())
    assert "2 explanations could not be made" in html
    assert html.count("the chain is empty") == 1
    assert "inverse, chain" in html
