"""A lost connection: it is said, the answer is kept in the browser, and sent once when the connection is back."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from studies.models import Judgement, Study
from studies.tests.test_browser import consent, number

pytestmark = pytest.mark.browser

MakeStudy = Callable[..., Study]
KEPT = "No connection. Your answer is kept in this browser"


@pytest.fixture
def lost(page: Page, console_errors: list[str]) -> Iterator[Page]:
    """A page whose network errors, which the browser reports itself, are expected; anything else is not."""
    yield page
    network = (
        "ERR_INTERNET_DISCONNECTED",
        "ERR_CONNECTION",
        "ERR_FAILED",
        "status of 503",
        "status of 409",
        "WebSocket",
    )
    console_errors[:] = [error for error in console_errors if not any(word in error for word in network)]


def unsent(page: Page) -> int:
    return int(page.evaluate("JSON.parse(localStorage.getItem('sage-unsent') || '[]').length"))


def test_an_answer_given_offline_is_kept_and_sent_when_back(live_app: str, lost: Page, make_study: MakeStudy) -> None:
    study, page = make_study(problems=2), lost
    consent(page, live_app, study)
    number(page, "1 of 2")
    page.context.set_offline(True)
    expect(page.locator("#connection")).to_contain_text("You are offline.")
    page.get_by_text("Say why").click()
    page.get_by_label("In your own words").fill("said on a train")
    page.get_by_role("button", name="A much better").click()
    expect(page.locator("#connection")).to_contain_text(KEPT)
    page.get_by_role("button", name="B much better").click()  # one answer is on its way: this is not a second one
    assert unsent(page) == 1
    assert not Judgement.objects.exists()
    page.context.set_offline(False)
    number(page, "2 of 2")
    row = Judgement.objects.select_related("assignment").get()
    assert row.reason == "said on a train"
    assert row.choice == ("first" if row.assignment.first_on_left else "second")
    assert unsent(page) == 0


def test_a_kept_answer_outlives_the_page(live_app: str, lost: Page, make_study: MakeStudy) -> None:
    study, page = make_study(problems=2), lost
    consent(page, live_app, study)
    number(page, "1 of 2")
    address = page.url
    page.context.set_offline(True)
    page.keyboard.press("3")
    expect(page.locator("#connection")).to_contain_text(KEPT)
    again = page.context.new_page()
    page.close()  # gone before the network is back, else it may send the answer itself in its last moment
    again.context.set_offline(False)
    again.goto(f"{live_app}/r/{study.token}/receipt/")  # any page of the rater sends it
    number(again, "2 of 2")
    assert again.url == address
    assert Judgement.objects.get().choice == "tie"


def test_a_server_that_fails_for_a_moment_costs_no_answer(live_app: str, lost: Page, make_study: MakeStudy) -> None:
    study, page = make_study(problems=2), lost
    failures = []

    def fail_first(route: Route) -> None:
        failures.append(route.request.url)
        if len(failures) == 1:
            route.fulfill(status=503, body="busy")
        else:
            route.continue_()

    page.route("**/judge/**", fail_first)  # before there is a page to race with
    consent(page, live_app, study)
    number(page, "1 of 2")
    page.keyboard.press("x")
    number(page, "2 of 2")
    assert len(failures) == 2
    assert Judgement.objects.get().choice == "both_bad"


def test_an_answer_that_arrived_before_its_reply_was_lost_is_stored_once(
    live_app: str, lost: Page, make_study: MakeStudy
) -> None:
    study, page = make_study(problems=2), lost
    sent = []

    def lose_first_reply(route: Route) -> None:
        sent.append(route.fetch().status)
        if len(sent) == 1:
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route("**/judge/**", lose_first_reply)
    consent(page, live_app, study)
    number(page, "1 of 2")
    page.keyboard.press("1")
    number(page, "2 of 2")
    assert sent[:2] == [200, 200]
    assert Judgement.objects.count() == 1


def test_a_kept_answer_that_came_too_late_is_explained(
    live_app: str, lost: Page, browser: Browser, make_study: MakeStudy
) -> None:
    study, page = make_study(problems=2), lost
    consent(page, live_app, study)
    number(page, "1 of 2")
    page.context.set_offline(True)
    page.keyboard.press("1")
    expect(page.locator("#connection")).to_contain_text(KEPT)
    phone = browser.new_context()
    phone.add_cookies(page.context.cookies())  # type: ignore[arg-type]
    elsewhere = phone.new_page()
    elsewhere.goto(page.url)
    elsewhere.keyboard.press("x")
    number(elsewhere, "2 of 2")
    phone.close()
    page.context.set_offline(False)
    expect(page.get_by_role("heading", level=1)).to_have_text("This answer is already saved")
    assert unsent(page) == 0
    assert Judgement.objects.get().choice == "both_bad"
