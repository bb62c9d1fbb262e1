"""Every page of a rater: no barrier that axe knows, in both colour schemes and at both widths.

With the folder in SAGE_PICTURES set, each page is also kept there as a picture: `make pictures` renews docs/images.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from studies.models import CheckItem, Study
from studies.tests import cast
from studies.tests.test_browser import check
from studies.tests.test_browser_compare import rich

pytestmark = pytest.mark.browser

MakeStudy = Callable[..., Study]
PICTURES = os.environ.get("SAGE_PICTURES", "")
EXPLAINED = (
    "The model answered “85 min”. Tests showed that step 2 (“From what is given, only one option can still be true”) "
    "made a difference to the answer.\n\nWhere it wrote something else there (4 of 6 new tries), it ended in "
    "“65 min” (three times). Steps 1 and 3 were not tested."
)
OTHER = {"example": "From 9 to 10 it is an hour, and then 5 minutes more.", "count": 4, "answers": {"65 min": 3}}
ASKED = "I chose “85 min” because it fits the question best: from 9:40 to 11:05 an hour and a bit has gone by."


def seen(page: Page, name: str, heading: str) -> None:
    check(page, heading)
    if PICTURES and page.evaluate("matchMedia('(prefers-color-scheme: light)').matches"):
        assert page.viewport_size
        page.evaluate("scrollTo(0, 0)")
        page.mouse.move(0, 0)
        page.screenshot(path=Path(PICTURES) / f"{name}-{page.viewport_size['width']}.png")


@pytest.fixture(params=[(1280, 800), (360, 740)], ids=["1280", "360"])
def sized(request: pytest.FixtureRequest, page: Page) -> Page:
    width, height = request.param
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(reduced_motion="reduce")
    return page


@pytest.fixture(params=["light", "dark"])
def coloured(request: pytest.FixtureRequest, sized: Page) -> Page:
    sized.emulate_media(color_scheme=request.param, reduced_motion="reduce")
    return sized


def whole_study(make_study: MakeStudy) -> Study:
    """With every page that a study can have but those of the other protocols."""
    study = rich(make_study, problems=2, levels=5, pay="£3.00", code_complete="C1A2B3", return_url="")
    for comparison in study.comparisons.select_related("first"):
        comparison.first.evidence = {
            "tests": [{"step": 1, "confirmed": True, "rollouts": 6, "alternatives": [OTHER]}]
        }
        comparison.first.save()
    texts = {"inverse": EXPLAINED, "self_explain": ASKED}
    for explanation in study.explanations().select_related("explainer"):
        explanation.text = texts[explanation.explainer.method]
        explanation.save()
    CheckItem.objects.create(
        study=study,
        purpose=CheckItem.Purpose.PRACTICE,
        question="Tom has 3 apples and buys 4 more. How many has he now?",
        answer="7",
        better="It started from the 3 apples and counted the 4 new ones on: 4, 5, 6, 7.",
        worse="The answer is 7 because that is the right answer.",
        feedback="The better one says how the answer came about; the other only repeats it.",
    )
    return study


def test_the_whole_way(live_app: str, coloured: Page, make_study: MakeStudy) -> None:
    study, page = whole_study(make_study), coloured
    page.goto(f"{live_app}/r/{study.token}/")
    seen(page, "consent", "Before you start")
    page.get_by_role("button", name="I agree, start").click()
    seen(page, "instructions", "How it works")
    page.get_by_role("button", name="Start").click()
    seen(page, "practice", study.question)
    answer(page, "A much better")
    expect(page.get_by_role("heading", level=1)).to_contain_text("the better one")
    seen(page, "feedback", page.get_by_role("heading", level=1).inner_text())
    page.get_by_role("link", name="Go on").click()
    seen(page, "compare", study.question)
    answer(page, "B better")
    expect(page.locator(".progress label")).to_have_text("2 of 2")
    page.get_by_role("link", name="Your answers").click()
    seen(page, "review", "Your answers")
    page.get_by_role("link", name="Change").click()
    seen(page, "revise", study.question)
    page.get_by_role("link", name="Leave it as it is").click()
    page.get_by_role("link", name="Stop for now").click()
    seen(page, "leave", "Your answers so far")
    page.get_by_role("link", name="What you agreed to").click()
    seen(page, "receipt", "What you agreed to")
    page.get_by_role("link", name="Go on", exact=True).click()
    answer(page, "equally good")
    seen(page, "end", "Thank you")
    page.get_by_role("link", name="Withdraw").click()
    seen(page, "withdraw", "Withdraw from the study?")
    page.get_by_role("button", name="Withdraw").click()
    seen(page, "withdrawn", "You have withdrawn")


def answer(page: Page, button: str) -> None:
    for group in page.locator(".criteria fieldset").all():
        group.get_by_role("radio", name="equal").check()
    page.get_by_role("button", name=button, exact=False).first.click()


def test_predicting(live_app: str, coloured: Page, make_study: MakeStudy) -> None:
    study, page = rich(make_study, simulation="forward", criteria=[], levels=3), coloured
    page.goto(f"{live_app}/r/{study.token}/")
    page.get_by_role("button", name="I agree, start").click()
    page.get_by_role("button", name="Start").click()
    seen(page, "predict", "What do you think the model answered?")
    page.get_by_role("radio").first.check()
    page.get_by_role("button", name="Go on to the explanations").click()
    seen(page, "predict-after", study.question)


def test_predicting_what_would_have_been(live_app: str, sized: Page, make_study: MakeStudy) -> None:
    study, page = rich(make_study, simulation="counterfactual", criteria=[], problems=1), sized
    page.goto(f"{live_app}/r/{study.token}/")
    page.get_by_role("button", name="I agree, start").click()
    page.get_by_role("button", name="Start").click()
    seen(page, "predict-otherwise", "What would the model have answered?")
    page.get_by_role("radio").first.check()
    page.get_by_role("button", name="Go on to the explanations").click()
    check(page, study.question)


def test_waiting_refusing_and_coming_too_late(
    live_app: str, coloured: Page, make_study: MakeStudy, console_errors: list[str]
) -> None:
    study, page = make_study(ready=False), coloured
    page.goto(f"{live_app}/r/{study.token}/")
    page.get_by_role("button", name="I do not agree").click()
    seen(page, "refused", "You did not agree")
    page.goto(f"{live_app}/r/{study.token}/")
    page.get_by_role("button", name="I agree, start").click()
    page.get_by_role("button", name="Start").click()
    seen(page, "preparing", "Your next comparison is being prepared")
    cast.make_all_ready(study)
    page.goto(f"{live_app}/r/{study.token}/i/forged/")
    check(page, "We cannot find this page")
    console_errors.clear()  # the browser reports the status 404


def test_the_pages_speak_the_studys_language(live_app: str, sized: Page, make_study: MakeStudy) -> None:
    study, page = rich(make_study, language="de", criteria=["clarity"], levels=5), sized
    page.goto(f"{live_app}/r/{study.token}/")
    page.get_by_role("button", name="Ich stimme zu und beginne").click()
    page.get_by_role("button", name="Beginnen").click()
    expect(page.get_by_role("button", name="A viel besser")).to_be_visible()
    seen(page, "german", study.question)
