"""A rater's way through the pages, and what happens to whoever leaves it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from studies import access, assignment, launch
from studies.models import Assignment, Judgement, Rater, Study
from studies.tests import cast, pages

MakeStudy = Callable[..., Study]


def test_opening_the_link_makes_nothing_and_consenting_makes_a_rater(study: Study) -> None:
    client, address = Client(), reverse("studies:consent", args=[study.token])
    page = client.get(address)
    assert "I agree, start" in page.content.decode()
    assert not Rater.objects.exists()
    assert client.post(address).headers["Location"] == reverse("studies:compare", args=[study.token])
    client.post(address)
    assert Rater.objects.count() == 1, "agreeing again is no second rater"


def test_a_study_played_to_its_end(study: Study) -> None:
    client = pages.consent(study)
    page = pages.compare(client, study)
    for number, choice in enumerate(("a", "b", "tie", "both_bad"), start=1):
        assert f"{number} of 4" in page.content.decode()
        page = pages.answer(client, page, choice, reason=f"because of {number}", seconds="12.5")
    assert "Thank you" in page.content.decode()
    rows = Judgement.objects.order_by("pk")
    assert [row.reason for row in rows] == ["because of 1", "because of 2", "because of 3", "because of 4"]
    assert [row.choice for row in rows][2:] == ["tie", "both_bad"]
    assert {row.seconds for row in rows} == {12.5}


@pytest.mark.parametrize(("side", "choices"), [("a", ("first", "second")), ("b", ("second", "first"))])
def test_a_side_becomes_the_arm_that_stood_there(study: Study, side: str, choices: tuple[str, str]) -> None:
    client = pages.consent(study)
    page = pages.compare(client, study)
    for _ in range(4):
        page = pages.answer(client, page, side)
    seen = {(row.assignment.first_on_left, row.choice) for row in Judgement.objects.select_related("assignment")}
    assert seen == {(True, choices[0]), (False, choices[1])}


def test_the_sides_stay_when_the_page_is_opened_again(study: Study) -> None:
    client = pages.consent(study)
    first, again = (pages.compare(client, study).context for _ in range(2))
    assert (first["assignment"], first["left"]) == (again["assignment"], again["left"])
    assert Assignment.objects.count() == 1


@pytest.mark.parametrize("shown", [True, False])
def test_the_protocol_says_whether_the_chain_is_shown(make_study: MakeStudy, shown: bool) -> None:
    study = make_study(arms=("inverse", "self_explain"), chain_shown=shown)
    page = pages.compare(pages.consent(study), study).content.decode()
    assert (cast.STEPS[1].removeprefix("Step 2: ") in page) == shown


def test_the_page_tells_nothing_of_arms(make_study: MakeStudy) -> None:
    study = make_study(problems=1, arms=("inverse", "self_explain"))
    html = pages.compare(pages.consent(study), study).content.decode().lower()
    assert not [word for word in ("inverse", "self_explain", "self-explain", "explainer", "head v") if word in html]


def test_both_sides_are_marked_up_the_same(make_study: MakeStudy) -> None:
    study = make_study(problems=1)
    comparison = study.comparisons.get()
    for explanation in (comparison.first, comparison.second):
        explanation.text = "One text."
        explanation.save()
    html = pages.compare(pages.consent(study), study).content.decode()
    cards = html.split('<article class="card" ')[1:]
    left, right = (card.split("</article>")[0] for card in cards)
    assert left.replace("title-a", "title-b").replace(">A<", ">B<") == right


def test_texts_are_shown_as_text(make_study: MakeStudy) -> None:
    study = make_study(problems=1)
    comparison = study.comparisons.get()
    comparison.first.text = "<script>alert(1)</script>\n\nSecond paragraph."
    comparison.first.save()
    comparison.problem.question = "Is <b>1 < 2</b>?"
    comparison.problem.save()
    html = pages.compare(pages.consent(study), study).content.decode()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;</p>" in html
    assert "<p>Second paragraph.</p>" in html
    assert "<b>1" not in html


def test_taking_back_brings_the_same_comparison_and_counts_once(study: Study) -> None:
    client = pages.consent(study)
    first = pages.compare(client, study)
    pages.answer(client, first, "a")
    again = pages.undo(client, study)
    assert again.context["assignment"] == first.context["assignment"]
    assert "1 of 4" in again.content.decode()
    pages.answer(client, again, "b")
    assert Judgement.objects.current().count() == 1


@pytest.mark.parametrize("named", [{}, {"judgement": "1"}, {"judgement": "x"}])
def test_taking_back_what_is_not_the_last_answer_is_refused(study: Study, named: dict[str, str]) -> None:
    client = pages.consent(study)
    refused = client.post(reverse("studies:undo", args=[study.token]), named)
    assert refused.status_code == 409
    assert "no longer your last one" in refused.content.decode()
    assert not Judgement.objects.exists()


def test_a_form_sent_twice_counts_once_and_says_so(study: Study) -> None:
    client = pages.consent(study)
    page = pages.compare(client, study)
    pages.answer(client, page, "a")
    doubled = pages.answer(client, page, "b")
    assert doubled.status_code == 409
    assert "already saved" in doubled.content.decode()
    assert reverse("studies:compare", args=[study.token]) in doubled.content.decode()
    assert Judgement.objects.count() == 1


def test_a_form_from_before_it_was_taken_back_is_stale(study: Study) -> None:
    client = pages.consent(study)
    old = pages.compare(client, study)
    pages.answer(client, old, "a")
    pages.undo(client, study)
    assert pages.answer(client, old, "b").status_code == 409
    assert not Judgement.objects.current().exists()


def test_a_place_that_went_to_somebody_else_is_refused(make_study: MakeStudy) -> None:
    study = make_study(problems=1, wanted=1)
    slow = pages.consent(study)
    page = pages.compare(slow, study)
    Assignment.objects.update(assigned_at=timezone.now() - assignment.RESERVED - timedelta(minutes=1))
    quick = pages.consent(study)
    pages.answer(quick, pages.compare(quick, study), "tie")
    late = pages.answer(slow, page, "a")
    assert late.status_code == 409
    assert "given to someone else" in late.content.decode()
    assert Judgement.objects.count() == 1


def test_somebody_elses_assignment_does_not_exist(study: Study) -> None:
    mine, other = pages.consent(study), pages.consent(study)
    page = pages.compare(mine, study)
    assert pages.answer(other, page, "a").status_code == 404
    assert not Judgement.objects.exists()


def test_an_assignment_of_another_study_does_not_exist(make_study: MakeStudy) -> None:
    here, there = make_study(), make_study(slug="other")
    client = pages.consent(here)
    client.post(reverse("studies:consent", args=[there.token]))
    row = pages.compare(client, there).context["assignment"]
    address = reverse("studies:judge", args=[here.token, row.public_id])
    assert client.post(address, {"choice": "a", "revision": 1}).status_code == 404


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"choice": "c"}, "Choose one of the four"),
        ({"choice": ""}, "Choose one of the four"),
        ({"reason": "x" * 2001}, "at most 2000 characters"),
        ({"revision": ""}, "required"),
        ({"seconds": "-1"}, "greater than or equal to 0"),
        ({"seconds": "nan"}, "Enter a number"),
    ],
)
def test_what_the_page_cannot_send_is_not_saved(study: Study, fields: dict[str, str], message: str) -> None:
    client = pages.consent(study)
    address, hidden = pages.form_of(pages.compare(client, study))
    response = client.post(address, hidden | {"choice": "a", "reason": "kept"} | fields)
    assert response.status_code == 400
    assert message in response.content.decode()
    assert fields.get("reason", "kept") in response.content.decode(), "what was written is still there"
    assert not Judgement.objects.exists()


def test_a_reason_of_a_megabyte_is_refused(study: Study) -> None:
    client = pages.consent(study)
    response = pages.answer(client, pages.compare(client, study), "a", reason="x" * 1_100_000)
    assert response.status_code == 400
    assert "could not read what was sent" in response.content.decode()
    assert not Judgement.objects.exists()


@pytest.mark.parametrize("page", ["consent", "compare", "end"])
def test_an_unknown_link_is_not_found_and_says_what_to_do(db: None, page: str) -> None:
    response = Client().get(reverse(f"studies:{page}", args=["forged"]))
    assert response.status_code == 404
    assert "ask the person who sent it" in response.content.decode()


def test_the_link_of_a_draft_is_not_found(make_study: MakeStudy) -> None:
    study = make_study(launched_at=None)
    assert Client().get(reverse("studies:consent", args=[study.token])).status_code == 404


@pytest.mark.parametrize("cookie", ["nonsense", "6d0c9f3e-0000-4000-8000-000000000000:abc"])
def test_without_or_with_a_forged_cookie_one_is_asked_to_consent(study: Study, cookie: str) -> None:
    client = Client()
    client.cookies[access.cookie_name(study.token)] = cookie
    page = pages.compare(client, study)
    assert page.redirect_chain[-1][0] == reverse("studies:consent", args=[study.token])
    assert client.post(reverse("studies:undo", args=[study.token])).status_code == 302


def test_a_closed_study_enrols_nobody(study: Study) -> None:
    launch.close(study)
    client, address = Client(), reverse("studies:consent", args=[study.token])
    assert "has ended" in client.get(address).content.decode()
    assert "has ended" in client.post(address).content.decode()
    assert not Rater.objects.exists()


def test_waiting_shows_progress_and_a_way_on_without_script(make_study: MakeStudy) -> None:
    study = make_study(ready=False)
    client = pages.consent(study)
    html = pages.compare(client, study).content.decode()
    assert "being prepared" in html
    assert "4 comparisons still in the making" in html
    assert "Look again" in html
    cast.make_all_ready(study)
    assert "Explanation" in pages.compare(client, study).content.decode()


def test_what_failed_is_not_waited_for(make_study: MakeStudy) -> None:
    study = make_study(problems=1, ready=False)
    failed = study.comparisons.get().first
    failed.failed_at, failed.error = timezone.now(), "no answer could be read"
    failed.save()
    assert "nothing to compare right now" in pages.compare(pages.consent(study), study).content.decode()


def test_the_end_page_opened_early_leads_back(study: Study) -> None:
    client = pages.consent(study)
    page = client.get(reverse("studies:end", args=[study.token]))
    assert "Go on comparing" in page.content.decode()


def test_a_trace_without_steps_shows_its_chain(make_study: MakeStudy) -> None:
    study = make_study(problems=1, chain_shown=True)
    trace = study.comparisons.get().first.trace
    trace.record, trace.chain = {}, "Everything in one go."
    trace.save()
    assert "<p>Everything in one go.</p>" in pages.compare(pages.consent(study), study).content.decode()


def test_pages_keep_to_the_strict_policy_and_are_never_cached(study: Study) -> None:
    page = pages.compare(pages.consent(study), study)
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    assert "no-store" in page.headers["Cache-Control"]
    assert " style=" not in page.content.decode()


def test_a_form_without_its_secret_is_refused_in_plain_words(study: Study) -> None:
    client = Client(enforce_csrf_checks=True)
    response = client.post(reverse("studies:consent", args=[study.token]))
    assert response.status_code == 403
    assert "Nothing was saved" in response.content.decode()


@pytest.mark.parametrize("name", ["judge", "undo"])
def test_the_address_of_a_form_opened_by_hand_leads_back_and_does_nothing(study: Study, name: str) -> None:
    client = pages.consent(study)
    held = pages.compare(client, study).context["assignment"]
    ids = {"judge": [study.token, held.public_id], "undo": [study.token]}
    opened = client.get(reverse(f"studies:{name}", args=ids[name]))
    assert opened.headers["Location"] == reverse("studies:compare", args=[study.token])
    assert not Judgement.objects.exists()
