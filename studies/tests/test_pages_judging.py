"""What becomes of what a rater sends: answers, predictions, changes, and everything that cannot be read."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from threading import Thread
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from inference.models import Trace
from studies import assignment
from studies.models import Assignment, CheckAnswer, CheckItem, Judgement, Prediction, Rater, Study
from studies.tests import cast, pages

MakeStudy = Callable[..., Study]


def test_a_study_played_to_its_end(study: Study) -> None:
    client = pages.consent(study)
    page = pages.compare(client, study)
    for number, choice in enumerate(("a1", "b2", "tie", "both_bad"), start=1):
        assert f"{number} of 4" in page.content.decode()
        page = pages.answer(client, page, choice, reason=f"because of {number}", viewport="1280x800@1.5")
    assert "Thank you" in page.content.decode()
    rows = Judgement.objects.order_by("pk")
    assert [row.reason for row in rows] == ["because of 1", "because of 2", "because of 3", "because of 4"]
    assert [row.strength for row in rows] == [1, 2, None, None]
    assert [row.choice for row in rows][2:] == ["tie", "both_bad"]
    assert {row.viewport for row in rows} == {"1280x800@1.5"}
    assert all(row.page_version for row in rows)


@pytest.mark.parametrize(("side", "choices"), [("a1", ("first", "second")), ("b2", ("second", "first"))])
def test_a_side_becomes_the_arm_that_stood_there(study: Study, side: str, choices: tuple[str, str]) -> None:
    client = pages.consent(study)
    page = pages.compare(client, study)
    for _ in range(4):
        page = pages.answer(client, page, side)
    seen = {(row.assignment.first_on_left, row.choice) for row in Judgement.objects.select_related("assignment")}
    assert seen == {(True, choices[0]), (False, choices[1])}


@pytest.mark.parametrize(("levels", "strongest"), [(3, "a"), (5, "a2"), (7, "a3")])
def test_the_scale_has_as_many_strengths_as_the_study_says(
    make_study: MakeStudy, levels: int, strongest: str
) -> None:
    study = make_study(levels=levels)
    client = pages.consent(study)
    page = pages.compare(client, study)
    assert pages.answer(client, page, "a9").status_code == 400
    pages.answer(client, page, strongest)
    assert Judgement.objects.get().strength == (levels // 2 if levels > 3 else None)


def test_the_sides_stay_when_the_page_is_opened_again(study: Study) -> None:
    client = pages.consent(study)
    first, again = (pages.compare(client, study).context["sheet"] for _ in range(2))
    assert first == again
    assert Assignment.objects.count() == 1


# -- Criteria, tags, spans -------------------------------------------------------------------------------------------


def test_criteria_tags_and_spans_are_stored_by_arm(make_study: MakeStudy) -> None:
    study = make_study(criteria=["clarity", "trust"], reason_tags=["shorter", "clearer"])
    client = pages.consent(study)
    page = pages.compare(client, study)
    spans = json.dumps([{"side": "b", "start": 2, "end": 7, "comment": "<b>here</b>"}])
    answer = {"criterion_clarity": "b", "criterion_trust": "tie", "tags": "clearer", "spans": spans}
    assert pages.answer(client, page, "a1", **answer).status_code == 200
    stored = Judgement.objects.get()
    right = "second" if stored.assignment.first_on_left else "first"
    assert stored.criteria == {"clarity": right, "trust": "tie"}
    assert stored.tags == ["clearer"]
    assert stored.spans == [{"arm": right, "start": 2, "end": 7, "comment": "<b>here</b>"}]


def test_a_criterion_left_open_is_asked_again_and_the_rest_is_kept(make_study: MakeStudy) -> None:
    study = make_study(criteria=["clarity", "trust"])
    client = pages.consent(study)
    refused = pages.answer(client, pages.compare(client, study), "a1", criterion_trust="b", reason="my words")
    html = refused.content.decode()
    assert refused.status_code == 400
    assert "still to be answered" in html
    assert "my words" in html
    assert refused.context["form"].errors.keys() == {"criterion_clarity"}
    assert not Judgement.objects.exists()


def test_whoever_cannot_judge_owes_no_criteria(make_study: MakeStudy) -> None:
    study = make_study(criteria=["clarity"])
    client = pages.consent(study)
    pages.answer(client, pages.compare(client, study), "cannot_judge")
    assert Judgement.objects.get().criteria == {}
    assert not Judgement.objects.comparing().exists()


@pytest.mark.parametrize(
    "spans",
    [
        "{",
        "{}",
        "[1]",
        '[{"side": "c", "start": 0, "end": 1}]',
        '[{"side": ["a"], "start": 0, "end": 1}]',
        '[{"side": "a", "start": -1, "end": 1}]',
        '[{"side": "a", "start": 3, "end": 3}]',
        '[{"side": "a", "start": 0, "end": 100000}]',
        '[{"side": "a", "start": 0.5, "end": 1}]',
        '[{"side": "a", "start": true, "end": 2}]',
        '[{"side": "a", "start": 0, "end": 1, "comment": 5}]',
        json.dumps([{"side": "a", "start": 0, "end": 1, "comment": "x" * 501}]),
        json.dumps([{"side": "a", "start": 0, "end": 1}] * 51),
        "[" * 100_000,
    ],
)
def test_spans_out_of_range_are_refused_and_the_words_kept(study: Study, spans: str) -> None:
    client = pages.consent(study)
    refused = pages.answer(client, pages.compare(client, study), "a1", spans=spans, reason="my words")
    assert refused.status_code == 400
    assert "my words" in refused.content.decode()
    assert refused.context["form"].errors.keys() == {"spans"}
    assert not Judgement.objects.exists()


# -- Sent twice, sent late -------------------------------------------------------------------------------------------


def test_the_same_form_twice_is_one_answer_and_no_error(study: Study) -> None:
    client = pages.consent(study)
    page = pages.compare(client, study)
    first, again = pages.answer(client, page, "a1"), pages.answer(client, page, "a1")
    assert first.status_code == again.status_code == 200
    assert again.redirect_chain == first.redirect_chain
    assert Judgement.objects.count() == 1


def test_another_form_for_an_answered_comparison_is_refused(study: Study) -> None:
    """As from a second tab: each page that was shown has a key of its own."""
    client = pages.consent(study)
    tabs = [pages.compare(client, study) for _ in range(2)]
    pages.answer(client, tabs[0], "a1")
    doubled = pages.answer(client, tabs[1], "b1")
    assert doubled.status_code == 409
    assert "already saved" in doubled.content.decode()
    assert reverse("studies:compare", args=[study.token]) in doubled.content.decode()
    assert Judgement.objects.count() == 1


def test_a_key_that_cannot_be_read_costs_no_answer(study: Study) -> None:
    client = pages.consent(study)
    pages.answer(client, pages.compare(client, study), "a1", client_key="nonsense")
    assert Judgement.objects.get().client_key is None


@pytest.mark.django_db(transaction=True)
def test_one_form_sent_in_parallel_is_stored_once() -> None:
    study = cast.make_study()
    client = pages.consent(study)
    address, hidden = pages.form_of(pages.compare(client, study))
    statuses: list[int] = []

    def send() -> None:
        own = Client()
        own.cookies = client.cookies
        try:
            statuses.append(own.post(address, hidden | {"choice": "a1"}).status_code)
        finally:
            connection.close()

    threads = [Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [302] * 6
    assert Judgement.objects.count() == 1


def test_a_place_that_went_to_somebody_else_is_refused(make_study: MakeStudy) -> None:
    study = make_study(problems=1, wanted=1)
    slow = pages.consent(study)
    page = pages.compare(slow, study)
    Assignment.objects.update(assigned_at=timezone.now() - assignment.reserved() - timedelta(minutes=1))
    quick = pages.consent(study)
    pages.answer(quick, pages.compare(quick, study), "tie")
    late = pages.answer(slow, page, "a1")
    assert late.status_code == 409
    assert "given to someone else" in late.content.decode()
    assert Judgement.objects.count() == 1


def test_an_answer_to_a_withdrawn_comparison_is_told_so(study: Study) -> None:
    client = pages.consent(study)
    page = pages.compare(client, study)
    Assignment.objects.get().comparison.delete()
    late = pages.answer(client, page, "a1")
    assert late.status_code == 404
    assert "may have been withdrawn" in late.content.decode()
    assert reverse("studies:compare", args=[study.token]) in late.content.decode()
    assert pages.compare(client, study).context["sheet"]


def test_somebody_elses_assignment_does_not_exist(study: Study) -> None:
    mine, other = pages.consent(study), pages.consent(study)
    page = pages.compare(mine, study)
    assert pages.answer(other, page, "a1").status_code == 404
    assert not Judgement.objects.exists()


def test_an_assignment_of_another_study_does_not_exist(make_study: MakeStudy) -> None:
    here, there = make_study(), make_study(slug="other")
    client = pages.consent(here)
    client.cookies.update(pages.consent(there).cookies)
    pages.compare(client, there)
    row = Assignment.objects.get()
    address = reverse("studies:judge", args=[here.token, row.public_id])
    assert client.post(address, {"choice": "a1", "revision": 1}).status_code == 404


# -- What cannot be read ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"choice": "c"}, "none of the answers"),
        ({"choice": "a"}, "none of the answers"),
        ({"choice": "a3"}, "none of the answers"),
        ({"choice": "undone"}, "none of the answers"),
        ({"choice": ""}, "Choose one of the answers"),
        ({"reason": "x" * 2001}, "at most 2000 characters; this one has 2001"),
        ({"reason": "x" * 1_048_576}, "at most 2000 characters"),
        ({"reason": "nul\0"}, "Null characters"),
        ({"tags": "made up"}, "made up is not one of the available choices"),
        ({"revision": ""}, "required"),
    ],
)
def test_what_the_page_cannot_send_is_not_saved(study: Study, fields: dict[str, str], message: str) -> None:
    client = pages.consent(study)
    address, hidden = pages.form_of(pages.compare(client, study))
    response = client.post(address, hidden | {"choice": "a1", "reason": "kept"} | fields)
    assert response.status_code == 400
    assert message in response.content.decode()
    assert fields.get("reason", "kept") in response.content.decode(), "what was written is still there"
    assert not Judgement.objects.exists()


def test_what_is_larger_than_any_answer_is_refused_in_plain_words(study: Study) -> None:
    client = pages.consent(study)
    response = pages.answer(client, pages.compare(client, study), "a1", reason="x" * 2_600_000)
    assert response.status_code == 400
    assert "could not read what was sent" in response.content.decode()
    assert not Judgement.objects.exists()


def test_new_lines_count_as_the_browser_counts_them(study: Study) -> None:
    client = pages.consent(study)
    pages.answer(client, pages.compare(client, study), "a1", reason="x\r\n" * 999 + "x")
    assert Judgement.objects.get().reason == "x\n" * 999 + "x"


@pytest.mark.parametrize("seconds", ["-1", "nan", "inf", "1e400", "soon", "99999999"])
def test_a_wrong_clock_costs_no_answer_and_is_not_believed(study: Study, seconds: str) -> None:
    client = pages.consent(study)
    given = dict.fromkeys(("seconds", "active_seconds", "first_seconds"), seconds)
    pages.answer(client, pages.compare(client, study), "a1", **given)
    stored = Judgement.objects.get()
    for value in (stored.seconds, stored.active_seconds, stored.first_seconds):
        assert value is None or 0 <= value < 60


def test_active_time_is_no_longer_than_the_time_itself(study: Study) -> None:
    client = pages.consent(study)
    page = pages.compare(client, study)
    Assignment.objects.update(assigned_at=timezone.now() - timedelta(minutes=5))
    pages.answer(client, page, "a1", seconds="120", active_seconds="200", first_seconds="3.5")
    stored = Judgement.objects.get()
    assert (stored.seconds, stored.active_seconds, stored.first_seconds) == (120, 120, 3.5)


@pytest.mark.parametrize(("noted", "stored"), [(True, True), (False, None)])
def test_a_paste_is_stored_only_where_the_study_says_so(make_study: MakeStudy, noted: bool, stored: Any) -> None:
    study = make_study(pastes_noted=noted)
    client = pages.consent(study)
    pages.answer(client, pages.compare(client, study), "a1", pasted="1", viewport="<b>")
    assert (Judgement.objects.get().pasted, Judgement.objects.get().viewport) == (stored, "")


@pytest.mark.parametrize("name", ["judge", "undo"])
def test_the_address_of_a_form_opened_by_hand_leads_back_and_does_nothing(study: Study, name: str) -> None:
    client = pages.consent(study)
    held = pages.compare(client, study).context["sheet"]
    ids = {"judge": [study.token, held.public_id], "undo": [study.token]}
    opened = client.get(reverse(f"studies:{name}", args=ids[name]))
    assert opened.headers["Location"] == reverse("studies:compare", args=[study.token])
    assert not Judgement.objects.exists()


# -- Sent by the script ----------------------------------------------------------------------------------------------


def send(client: Client, page: Any, **fields: str) -> Any:
    address, hidden = pages.form_of(page)
    return client.post(address, hidden | fields, headers={"accept": "application/json"})


def test_the_script_is_told_whether_it_was_saved(study: Study) -> None:
    client = pages.consent(study)
    tabs = [pages.compare(client, study) for _ in range(2)]
    wrong = send(client, tabs[0], choice="c")
    assert (wrong.status_code, wrong.json()["saved"], list(wrong.json()["errors"])) == (400, False, ["choice"])
    address = reverse("studies:compare", args=[study.token])
    for _ in range(2):  # sent again after a lost connection
        assert send(client, tabs[0], choice="a1").json() == {"saved": True, "next": address}
    other = send(client, tabs[1], choice="b1")
    assert (other.status_code, other.json()["saved"]) == (409, False)
    assert "already saved" in other.json()["errors"]["__all__"][0]
    assert Judgement.objects.get().choice in ("first", "second")


# -- Taking back and changing ----------------------------------------------------------------------------------------


def test_taking_back_brings_the_same_comparison_and_counts_once(study: Study) -> None:
    client = pages.consent(study)
    first = pages.compare(client, study)
    pages.answer(client, first, "a1")
    again = pages.undo(client, study)
    assert again.context["sheet"] == first.context["sheet"]
    assert "1 of 4" in again.content.decode()
    pages.answer(client, again, "b1")
    assert Judgement.objects.current().count() == 1


@pytest.mark.parametrize("named", [{}, {"judgement": "1"}, {"judgement": "x"}])
def test_taking_back_what_is_not_the_last_answer_is_refused(study: Study, named: dict[str, str]) -> None:
    client = pages.consent(study)
    refused = client.post(reverse("studies:undo", args=[study.token]), named)
    assert refused.status_code == 409
    assert "no longer your last one" in refused.content.decode()
    assert not Judgement.objects.exists()


def test_a_form_from_before_it_was_taken_back_is_stale(study: Study) -> None:
    client = pages.consent(study)
    old, older = pages.compare(client, study), pages.compare(client, study)
    pages.answer(client, old, "a1")
    pages.undo(client, study)
    assert pages.answer(client, older, "b1").status_code == 409
    assert not Judgement.objects.current().exists()


def test_an_earlier_answer_is_shown_as_given_and_can_be_changed(make_study: MakeStudy) -> None:
    study = make_study(criteria=["trust"])
    client = pages.consent(study)
    page = pages.answer(client, pages.compare(client, study), "b2", criterion_trust="a", reason="first words")
    pages.answer(client, page, "tie", criterion_trust="tie")
    listed = client.get(pages.address(study, "review")).content.decode()
    row = Assignment.objects.order_by("pk").first()
    assert row is not None
    address = pages.address(study, "revise", row.public_id)
    assert address in listed
    shown = client.get(address)
    assert "first words" in shown.content.decode()
    given = {one.value for one in shown.context["scale"] if one.chosen}
    assert given == {"b2"}
    sent, hidden = pages.form_of(shown)
    assert sent == address
    changed = client.post(sent, hidden | {"choice": "a1", "criterion_trust": "b", "reason": "better words"})
    assert changed.headers["Location"] == pages.address(study, "review")
    assert list(row.judgements.values_list("revision", "reason")) == [(1, "first words"), (2, "better words")]
    assert Judgement.objects.current().count() == 2


@pytest.mark.parametrize("over", [{"closed_at": timezone.now()}, {"review_until": timezone.now()}])
def test_after_the_deadline_nothing_can_be_changed(study: Study, over: dict[str, Any]) -> None:
    client = pages.consent(study)
    first = pages.compare(client, study)
    pages.answer(client, first, "a1")
    Study.objects.update(**over)
    undone = client.post(pages.address(study, "undo"), {"judgement": Judgement.objects.get().pk})
    assert "no longer be changed" in undone.content.decode()
    refused = client.get(pages.address(study, "revise", first.context["sheet"].public_id))
    assert (refused.status_code, Judgement.objects.count()) == (409, 1)


def test_answers_can_be_changed_until_the_studys_own_deadline(study: Study) -> None:
    client = pages.consent(study)
    first = pages.compare(client, study)
    pages.answer(client, first, "a1")
    Study.objects.update(closed_at=timezone.now(), review_until=timezone.now() + timedelta(days=1))
    assert client.get(pages.address(study, "revise", first.context["sheet"].public_id)).status_code == 200


def test_nobody_changes_the_answers_of_others(study: Study) -> None:
    mine, other = pages.consent(study), pages.consent(study)
    page = pages.compare(mine, study)
    pages.answer(mine, page, "a1")
    address = pages.address(study, "revise", page.context["sheet"].public_id)
    assert other.get(address).status_code == 404
    assert other.post(address, {"choice": "b1", "revision": 2}).status_code == 404
    assert Judgement.objects.count() == 1


# -- Practice and gold -----------------------------------------------------------------------------------------------


def make_item(study: Study, purpose: str, position: int = 0) -> CheckItem:
    return CheckItem.objects.create(
        study=study,
        purpose=purpose,
        position=position,
        question="What is 1 + 1?",
        answer="2",
        better="One and one more make two.",
        worse="It is two because it is.",
        feedback="It says <b>how</b>.",
    )


@pytest.mark.parametrize("right", [True, False])
def test_practice_comes_first_and_tells_which_was_better(study: Study, right: bool) -> None:
    make_item(study, "practice")
    client = pages.consent(study)
    page = pages.compare(client, study)
    row = CheckAnswer.objects.get()
    better = "a" if row.better_on_left else "b"
    told = pages.answer(client, page, f"{better if right else 'ab'.replace(better, '')}1")
    html = told.content.decode()
    assert ("Yes, that is the better one" if right else f"Here {better.upper()} is the better one") in html
    assert "It says &lt;b&gt;how&lt;/b&gt;." in html
    assert pages.answer(client, page, "tie").status_code == 409, "answered once"
    row.refresh_from_db()
    assert row.passed == right
    pages.compare(client, study)
    assert Assignment.objects.count() == 1


def test_gold_looks_like_the_rest_and_is_not_told(study: Study) -> None:
    make_item(study, "gold")
    client = pages.consent(study)
    page = pages.compare(client, study)
    for _ in range(5):
        assert "Practice" not in page.content.decode()
        assert "gold" not in page.content.decode().lower()
        page = pages.answer(client, page, "a1")
    assert (CheckAnswer.objects.get().choice in ("better", "worse"), Judgement.objects.count()) == (True, 4)
    assert "Thank you" in page.content.decode()


@pytest.mark.parametrize("rejecting", [True, False])
def test_two_failed_gold_comparisons_end_the_study_where_it_says_so(make_study: MakeStudy, rejecting: bool) -> None:
    study = make_study(reject_failed_checks=rejecting)
    for position in range(2):
        make_item(study, "gold", position)
    client = pages.consent(study)
    page = pages.compare(client, study)
    for _ in range(6):
        if b'id="answer"' in page.content:
            page = pages.answer(client, page, "tie")
    assert bool(Rater.objects.get().rejected_at) == rejecting
    assert CheckAnswer.objects.filter(choice="tie").count() == 2


# -- Predictions -----------------------------------------------------------------------------------------------------


def test_a_forward_simulation_asks_before_and_after_reading(make_study: MakeStudy) -> None:
    study = make_study(problems=1, simulation="forward")
    client = pages.consent(study)
    first = pages.compare(client, study)
    assert first.templates[0].name == "rater/predict.html"
    assert cast.TEXTS["inverse"].split("\n")[0] not in first.content.decode()
    address = pages.address(study, "predict", Assignment.objects.get().public_id)
    assert client.post(address, {"option": "7"}).status_code == 400
    for option in ("0", "2"):  # the first one counts
        page = client.post(address, {"option": option}, follow=True)
    assert pages.answer(client, page, "a1").context["form"].errors.keys() == {"prediction"}
    pages.answer(client, page, "a1", prediction="1")
    assert list(Prediction.objects.values_list("when", "option", "truth")) == [("before", 0, 1), ("after", 1, 1)]


def test_where_no_truth_is_known_nothing_is_predicted(make_study: MakeStudy) -> None:
    study = make_study(problems=1, simulation="counterfactual")
    client = pages.consent(study)
    pages.answer(client, pages.compare(client, study), "a1")
    assert Judgement.objects.exists()
    assert not Prediction.objects.exists()


@pytest.mark.parametrize("simulation", ["none", "forward", "counterfactual"])
def test_a_problem_without_options_is_judged_and_nothing_is_predicted(make_study: MakeStudy, simulation: str) -> None:
    study = make_study(problems=1, simulation=simulation)
    study.problem_set.problems.update(asks="number", options=[], gold=None, gold_text="85")
    Trace.objects.update(answer_index=None, answer_text="85")
    client = pages.consent(study)
    page = pages.compare(client, study)
    html = page.content.decode()
    assert 'class="options"' not in html
    assert ("The model answered: <strong>85</strong>" in html) == (simulation == "none")
    pages.answer(client, page, "a1")
    assert Judgement.objects.exists()
    assert not Prediction.objects.exists()


def test_another_raters_prediction_cannot_be_made(make_study: MakeStudy) -> None:
    study = make_study(simulation="forward")
    mine, other = pages.consent(study), pages.consent(study)
    pages.compare(mine, study)
    address = pages.address(study, "predict", Assignment.objects.get().public_id)
    assert other.post(address, {"option": "0"}).status_code == 404
    assert other.post(pages.address(study, "predict", uuid4()), {"option": "0"}).status_code == 404
    assert not Prediction.objects.exists()
