"""The whole way in a real Chromium: by keyboard, at 1280 and 360 pixels, with axe on every page."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.db import connections
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Browser, Locator, Page, Response, expect

from inference.events import announce
from inference.models import Trace
from studies import assignment, judging
from studies.criteria import CRITERIA
from studies.models import CheckItem, Judgement, Study
from studies.tests import cast, pages

pytestmark = pytest.mark.browser

MakeStudy = Callable[..., Study]
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
WEIGHT_LIMIT = 100_000  # bytes of the compare page, uncompressed, with scripts and styles


@pytest.fixture(params=[1280, 360])
def sized(request: pytest.FixtureRequest, page: Page) -> Page:
    page.set_viewport_size({"width": request.param, "height": 740})
    return page


def check(page: Page, heading: str) -> None:
    """The page is there, has no barrier that axe knows, and does not scroll sideways.

    Looked at from its end, and from its top with the answer bar in its own place: at the screen's edge it may cover
    half of a target, which axe would take for one that is too small.
    """
    expect(page.get_by_role("heading", level=1)).to_have_text(heading)
    for place, bar in (("0", "static"), ("document.body.scrollHeight", "")):
        page.evaluate(f"document.querySelector('.deck')?.style.setProperty('position', '{bar}')")
        page.evaluate(f"scrollTo({{ top: {place}, behavior: 'instant' }})")
        found = Axe().run(page, options=RULES).response["violations"]
        assert not found, [(rule["id"], [node["html"][:200] for node in rule["nodes"]]) for rule in found]
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide == 0, f"{heading!r} is {wide} pixels too wide"


def sign_in(page: Page, client: Client, address: str) -> None:
    """The test client's session, in the browser."""
    value = client.cookies[settings.SESSION_COOKIE_NAME].value
    page.context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": value, "url": address}])


def consent(page: Page, live_app: str, study: Study) -> None:
    page.goto(f"{live_app}/r/{study.token}/")
    page.get_by_role("button", name="I agree, start").click()
    page.get_by_role("button", name="Start").click()


def elsewhere(work: Callable[..., Any], *given: Any) -> None:
    """What a worker or another rater does: in a thread of its own, as Playwright's loop occupies this one."""

    def run() -> None:
        work(*given)
        connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(run).result(30)


def number(page: Page, words: str) -> None:
    """The page says where the rater is, and its scripts have run: before that, keys do nothing."""
    expect(page.locator(".progress label")).to_have_text(words)
    page.wait_for_load_state("load")


def tab_to(page: Page, target: Locator, limit: int = 60) -> None:
    """By the tabulator alone, as a keyboard has it."""
    for _ in range(limit):
        if target.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{target} cannot be reached by {limit} tabs")


def test_a_rater_by_keyboard_alone(live_app: str, sized: Page, make_study: MakeStudy) -> None:
    study, page = make_study(problems=4, criteria=["clarity"], reason_tags=["shorter"]), sized
    make_practice(study)
    page.goto(f"{live_app}/r/{study.token}/")
    check(page, "Before you start")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    tab_to(page, page.get_by_role("button", name="I agree, start"))
    page.keyboard.press("Enter")
    check(page, "How it works")
    tab_to(page, page.get_by_role("button", name="Start"))
    page.keyboard.press("Enter")

    number(page, "Practice")
    check(page, study.question)
    tab_to(page, page.locator("[name=criterion_clarity]").first)
    page.keyboard.press("Space")
    page.keyboard.press("1")
    expect(page.get_by_role("heading", level=1)).to_contain_text("the better one")
    tab_to(page, page.get_by_role("link", name="Go on"))
    page.keyboard.press("Enter")

    number(page, "1 of 4")
    check(page, study.question)
    page.keyboard.press("c")  # who cannot judge owes no criterion
    number(page, "2 of 4")
    page.keyboard.press("u")
    number(page, "1 of 4")
    page.keyboard.press("2")
    expect(page.locator("[name=criterion_clarity]").first).to_be_focused()  # asked for before anything is sent
    page.keyboard.press("ArrowRight")
    page.keyboard.press("2")
    number(page, "2 of 4")
    tab_to(page, page.locator(".why summary"))
    page.keyboard.press("Enter")
    tab_to(page, page.get_by_role("checkbox", name="shorter"))
    page.keyboard.press("Space")
    tab_to(page, page.get_by_label("In your own words"))
    page.keyboard.type("1, 2 and x: it is clear")
    tab_to(page, page.get_by_role("button", name="Both bad"))
    page.keyboard.press("Shift+Tab")
    page.locator("[name=criterion_clarity]").nth(3).focus()
    page.keyboard.press("Space")
    page.keyboard.press("x")
    number(page, "3 of 4")
    page.locator("[name=criterion_clarity]").nth(1).focus()
    page.keyboard.press("Space")
    tab_to(page, page.get_by_role("button", name="equally good"))
    page.keyboard.press("Enter")
    number(page, "4 of 4")
    page.keyboard.press("c")
    check(page, "Thank you")

    rows = Judgement.objects.current().order_by("pk")
    assert [row.choice for row in rows][1:] == ["both_bad", "tie", "cannot_judge"]
    assert (rows[0].strength, rows[0].criteria) == (1, {"clarity": "tie"})
    assert (rows[1].tags, rows[1].reason) == (["shorter"], "1, 2 and x: it is clear")
    for row in rows:
        assert row.seconds is not None
        assert row.active_seconds is not None
        assert 0 < row.active_seconds <= row.seconds
        assert row.first_seconds is not None
        assert row.viewport == f"{page.viewport_size['width']}x740@1"
        assert len(row.page_version) == 12


def make_practice(study: Study) -> None:
    CheckItem.objects.create(
        study=study,
        purpose=CheckItem.Purpose.PRACTICE,
        question="What is 3 + 4?",
        answer="7",
        better="It counted on from 3: 4, 5, 6, 7.",
        worse="Because it is.",
        feedback="The first says how the answer came about.",
    )


def test_keys_do_nothing_while_typing_with_modifiers_or_switched_off(
    live_app: str, page: Page, make_study: MakeStudy
) -> None:
    study = make_study(problems=2)
    consent(page, live_app, study)
    page.get_by_text("Say why").click()
    page.get_by_label("In your own words").press_sequentially("x bat, u see 1 to 4")
    page.locator("h1").click()
    page.keyboard.press("Control+c")
    page.keyboard.press("Alt+x")
    page.get_by_role("button", name="Keys", exact=True).click()
    page.get_by_label("Single keys answer").uncheck()
    page.get_by_role("button", name="Done").click()
    page.locator("h1").click()
    page.keyboard.press("1")
    number(page, "1 of 2")
    assert page.locator("[aria-keyshortcuts]").count() == 0
    assert not Judgement.objects.exists()

    page.reload()
    page.get_by_role("button", name="Keys", exact=True).click()
    expect(page.get_by_label("Single keys answer")).not_to_be_checked()
    page.keyboard.press("Escape")
    page.get_by_label("In your own words").fill("clearer")
    page.get_by_role("button", name="A much better").click()
    number(page, "2 of 2")
    row = Judgement.objects.get()
    assert (row.reason, row.strength) == ("clearer", 2)


def test_of_two_quick_keys_the_first_counts(live_app: str, page: Page, make_study: MakeStudy) -> None:
    study = make_study(problems=3)
    consent(page, live_app, study)
    number(page, "1 of 3")
    page.evaluate("for (const key of '15') dispatchEvent.call(document, new KeyboardEvent('keydown', { key }))")
    number(page, "2 of 3")
    row = Judgement.objects.select_related("assignment").get()
    assert row.choice == ("first" if row.assignment.first_on_left else "second"), "the key was 1: the left one"


def test_going_back_shows_where_one_is(live_app: str, page: Page, make_study: MakeStudy) -> None:
    study = make_study(problems=3)
    consent(page, live_app, study)
    number(page, "1 of 3")
    page.keyboard.press("1")
    number(page, "2 of 3")
    page.go_back()
    page.go_forward()
    number(page, "2 of 3")
    page.keyboard.press("5")
    number(page, "3 of 3")


def test_without_scripts(live_app: str, browser: Browser, make_study: MakeStudy) -> None:
    study = make_study(problems=2)
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    consent(page, live_app, study)
    expect(page.get_by_role("button", name="Keys", exact=True)).to_be_hidden()
    page.get_by_text("Show where the words differ").click()
    expect(page.locator(".words mark").first).to_be_visible()
    page.get_by_role("button", name="equally good").click()
    page.get_by_role("button", name="Take back my last answer").click()
    page.get_by_role("button", name="Both bad").click()
    page.get_by_role("button", name="B much better").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Thank you")
    context.close()
    assert Judgement.objects.current().count() == 2


def test_a_waiting_page_moves_on_by_itself(live_app: str, sized: Page, make_study: MakeStudy) -> None:
    study, page = make_study(ready=False), sized
    consent(page, live_app, study)
    check(page, "Your next comparison is being prepared")
    Trace.objects.filter(problem__problem_set=study.problem_set).update(worker="w", stage="Testing step 2")
    elsewhere(announce)
    expect(page.get_by_text("Testing step 2")).to_be_visible()
    cast.make_all_ready(study)
    elsewhere(announce)
    number(page, "1 of 4")


def test_a_waiting_page_moves_on_without_a_socket(live_app: str, page: Page, make_study: MakeStudy) -> None:
    study = make_study(ready=False)
    page.route_web_socket(re.compile("/ws/"), lambda socket: socket.close())
    consent(page, live_app, study)
    expect(page.get_by_role("heading", level=1)).to_have_text("Your next comparison is being prepared")
    cast.make_all_ready(study)
    number(page, "1 of 4")


def test_a_stale_form_says_so(live_app: str, sized: Page, make_study: MakeStudy, console_errors: list[str]) -> None:
    study, page = make_study(problems=2), sized
    consent(page, live_app, study)
    number(page, "1 of 2")
    other_tab = page.context.new_page()
    other_tab.goto(page.url)
    number(other_tab, "1 of 2")
    other_tab.keyboard.press("1")
    number(other_tab, "2 of 2")
    page.keyboard.press("5")
    check(page, "This answer is already saved")
    page.get_by_role("link", name="Go on").click()
    number(page, "2 of 2")
    assert len(console_errors) == 2, "the browser reports the status 409, of the script's request and of the page"
    console_errors.clear()


def test_a_researchers_pages(
    live_app: str, sized: Page, make_study: MakeStudy, staff_client: Client, console_errors: list[str]
) -> None:
    study, page = make_study(arms=("inverse", "chain", "self_explain")), sized
    page.goto(live_app)
    check(page, "Which explanation of a machine’s reasoning helps people?")
    sign_in(page, staff_client, live_app)
    page.goto(live_app)
    check(page, "Studies")
    page.get_by_role("link", name=study.title).click()
    check(page, study.title)
    expect(page.get_by_text("No answers yet")).to_be_visible()
    for _ in range(2):
        elsewhere(answer_all, study)
    expect(page.get_by_role("img", name="Preference score")).to_be_visible()
    check(page, study.title)
    fail_one(study)
    elsewhere(announce)
    page.get_by_role("button", name="Make the failed ones again").click()
    expect(page.get_by_text("1 explanation will be made again")).to_be_visible()
    page.goto(f"{live_app}/nowhere/")
    check(page, "We cannot find this page")
    console_errors.clear()


def fail_one(study: Study) -> None:
    explanation = study.comparisons.all()[0].first
    explanation.made_at, explanation.text = None, ""
    explanation.failed_at, explanation.error = timezone.now(), "the chain is empty"
    explanation.save()


def answer_all(study: Study) -> None:
    rater = assignment.enrol(study)
    while (given := assignment.next_for(rater)) is not None:
        judging.record(given, "first" if given.comparison.position % 3 else "second")


@pytest.mark.parametrize("scheme", ["dark", "forced", "reduced"])
def test_dark_forced_colours_and_reduced_motion(live_app: str, browser: Browser, study: Study, scheme: str) -> None:
    kinds: dict[str, dict[str, Any]] = {
        "dark": {"color_scheme": "dark"},
        "forced": {"forced_colors": "active"},
        "reduced": {"reduced_motion": "reduce"},
    }
    context = browser.new_context(**kinds[scheme])
    page = context.new_page()
    consent(page, live_app, study)
    check(page, study.question)
    context.close()


def test_targets_are_large_enough_for_fingers(live_app: str, sized: Page, make_study: MakeStudy) -> None:
    study, page = make_study(problems=2), sized
    consent(page, live_app, study)
    number(page, "1 of 2")
    page.keyboard.press("1")
    number(page, "2 of 2")
    page.get_by_text("Say why").click()
    for target in page.locator("button:visible, summary, .radios label, .part a, .deck button").all():
        box = target.bounding_box()
        assert box, target
        assert box["height"] >= 44, (target.inner_text(), box)


def test_the_compare_page_is_light_and_stays_at_home(live_app: str, page: Page, make_study: MakeStudy) -> None:
    """With everything that a study can ask, and two explanations of 2,000 characters."""
    study = make_study(
        problems=1,
        arms=("inverse", "self_explain"),
        levels=7,
        criteria=list(CRITERIA),
        reason_tags=["clear", "short"],
    )
    study.explanations().update(text="At step 2 the model could have gone on otherwise. " * 40)
    sizes: dict[str, int] = {}
    policies: dict[str, str] = {}

    def note(answer: Response) -> None:
        sizes[answer.url] = len(answer.body())
        policies[answer.url] = answer.headers.get("content-security-policy", "")

    page.on("response", note)
    client = pages.consent(study)
    cookies = [{"name": name, "value": morsel.value, "url": live_app} for name, morsel in client.cookies.items()]
    page.context.add_cookies(cookies)  # type: ignore[arg-type]
    page.goto(live_app + reverse("studies:compare", args=[study.token]))
    page.wait_for_load_state("networkidle")
    assert len(sizes) >= 7, sizes
    assert all(address.startswith(live_app) for address in sizes)
    assert sum(sizes.values()) <= WEIGHT_LIMIT, sizes
    assert "default-src 'none'" in policies[page.url]
    assert "unsafe" not in policies[page.url]
    print(f"{sum(sizes.values())} bytes in {len(sizes)} answers")  # noqa: T201


def test_a_waiting_page_looks_again_without_scripts(live_app: str, browser: Browser, make_study: MakeStudy) -> None:
    study = make_study(ready=False)
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    consent(page, live_app, study)
    assert page.locator("meta[http-equiv=refresh]").get_attribute("content") == "15"
    cast.make_all_ready(study)
    page.get_by_role("link", name="Look again").click()
    number(page, "1 of 4")
    context.close()


def test_the_admin_works_under_the_strict_policy(
    live_app: str, page: Page, make_study: MakeStudy, admin_client: Client
) -> None:
    study = make_study(launched_at=None)
    sign_in(page, admin_client, live_app)
    page.goto(live_app + reverse("admin:studies_study_change", args=[study.pk]))
    page.get_by_role("button", name="Add another Arm").click()
    expect(page.locator("#id_arms-2-name")).to_be_visible()
    page.goto(live_app + reverse("admin:studies_study_changelist"))
    page.locator("#action-toggle").check()
    expect(page.get_by_text("1 of 1 selected")).to_be_visible()
