"""A rater's way through the pages, and what happens to whoever leaves it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from studies import access, launch
from studies.models import Rater, Study
from studies.tests import cast, pages

MakeStudy = Callable[..., Study]


def test_opening_the_link_makes_nothing_and_consenting_makes_a_rater(study: Study) -> None:
    client, address = Client(), reverse("studies:consent", args=[study.token])
    page = client.get(address)
    assert "I agree, start" in page.content.decode()
    assert not Rater.objects.exists()
    assert client.post(address).headers["Location"] == reverse("studies:instructions", args=[study.token])
    client.post(address)
    assert Rater.objects.count() == 1, "agreeing again is no second rater"


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
    for here, there in (("title-A", "title-B"), (">A<", ">B<"), ("selected in A", "selected in B"), ('="a"', '="b"')):
        left = left.replace(here, there)
    assert left == right


def test_texts_are_shown_as_text(make_study: MakeStudy) -> None:
    study = make_study(problems=1)
    comparison = study.comparisons.get()
    comparison.first.text = "<script>alert(1)</script>\n\nSecond paragraph."
    comparison.first.save()
    comparison.problem.question = "Is <b>1 < 2</b>?"
    comparison.problem.save()
    html = pages.compare(pages.consent(study), study).content.decode()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;</p>" in html
    assert ">Second paragraph.</p>" in html
    assert "<b>1" not in html


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
