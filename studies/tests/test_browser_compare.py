"""The comparison page in a real Chromium: steps, marked passages, own keys, drafts, the answer bar, sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from studies.models import Judgement, Study
from studies.tests import pages
from studies.tests.test_browser import check, number
from studies.tests.test_sheet import EVIDENCE

pytestmark = pytest.mark.browser

MakeStudy = Callable[..., Study]
TEXT = "The model answered “85 min” 𝑥.\n\nTests showed that step 2 made a difference, steps 1 and 3 were not tested."


@pytest.fixture(params=[1280, 360])
def sized(request: pytest.FixtureRequest, page: Page) -> Page:
    page.set_viewport_size({"width": request.param, "height": 740})
    return page


def rich(make_study: MakeStudy, **fields: Any) -> Study:
    """A study that asks everything, with a confirmed decision point and texts of several paragraphs."""
    fields = {"levels": 7, "criteria": ["clarity", "trust"], "reason_tags": ["clearer"], "problems": 2} | fields
    study = make_study(arms=("inverse", "self_explain"), **fields)
    for comparison in study.comparisons.all():
        comparison.first.evidence, comparison.first.text = EVIDENCE, TEXT
        comparison.first.save()
        comparison.second.text = TEXT.replace("showed", "suggested")
        comparison.second.save()
    return study


def open_page(page: Page, live_app: str, study: Study) -> None:
    """The comparison page of somebody who has consented."""
    client = pages.consent(study)
    cookies = [{"name": name, "value": morsel.value, "url": live_app} for name, morsel in client.cookies.items()]
    page.context.add_cookies(cookies)  # type: ignore[arg-type]
    page.goto(live_app + pages.address(study, "compare"))


def answer_all_criteria(page: Page) -> None:
    for group in page.locator(".criteria fieldset").all():
        group.get_by_role("radio", name="equal").check()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_that_asks_everything_has_no_barriers(
    live_app: str, sized: Page, make_study: MakeStudy, scheme: Any
) -> None:
    study, page = rich(make_study), sized
    page.emulate_media(color_scheme=scheme)
    open_page(page, live_app, study)
    for summary in (page.locator(".difference summary"), page.locator(".why summary")):
        summary.click()
    check(page, study.question)
    page.get_by_role("button", name="Keys", exact=True).click()
    check(page, study.question)


def test_a_mention_of_a_step_points_to_it(live_app: str, sized: Page, make_study: MakeStudy) -> None:
    page = sized
    open_page(page, live_app, rich(make_study))
    link, step = page.locator('.card a[href="#step-2"]').first, page.locator("#step-2")
    link.focus()
    expect(step).to_have_class("decisive pointed")
    page.keyboard.press("Enter")
    expect(step).to_be_in_viewport()
    assert page.evaluate("location.hash") == "#step-2"
    assert step.evaluate("element => element.matches(':target')")
    expect(step).to_contain_text("decision point")
    expect(step).to_contain_text("Instead it could have written: Count <b>down</b>.")


def test_passages_are_marked_with_the_mouse_and_counted_in_characters(
    live_app: str, page: Page, make_study: MakeStudy
) -> None:
    open_page(page, live_app, rich(make_study))
    page.locator(".text[data-side=b] p").nth(1).evaluate(
        "paragraph => getSelection().setBaseAndExtent(paragraph.firstChild, 6, paragraph.firstChild, 12)"
    )
    page.get_by_role("button", name="Mark what is selected in B").click()
    page.get_by_label("Comment:").fill("how <i>so</i>?")
    answer_all_criteria(page)
    page.get_by_role("button", name="B slightly better").click()
    number(page, "2 of 2")
    row = Judgement.objects.select_related("assignment__comparison__first", "assignment__comparison__second").get()
    (span,) = row.spans
    right = "second" if row.assignment.first_on_left else "first"
    text = getattr(row.assignment.comparison, right).text
    assert (span["arm"], span["comment"]) == (right, "how <i>so</i>?")
    assert text[span["start"] : span["end"]] in ("showed", "sugges")
    assert row.strength == 1


def test_passages_are_marked_by_keyboard_and_removed(live_app: str, page: Page, make_study: MakeStudy) -> None:
    open_page(page, live_app, rich(make_study))
    text = page.locator(".text[data-side=a]")
    text.focus()
    for key in ("ArrowRight", "ArrowRight", "Shift+ArrowRight"):
        page.keyboard.press(key)
    expect(page.locator("#mark-status")).to_have_text("model answered")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Comment: model answered")).to_be_focused()
    page.keyboard.type("yes")
    assert page.locator("[name=spans]").input_value() == '[{"side":"a","start":4,"end":18,"comment":"yes"}]'
    assert page.evaluate("CSS.highlights.get('marked').size") == 1
    page.get_by_role("button", name="Remove: model answered").click()
    expect(text).to_be_focused()
    assert page.locator("[name=spans]").input_value() == ""
    page.keyboard.press("Escape")
    page.evaluate("getSelection().removeAllRanges()")
    page.keyboard.press("Enter")
    expect(page.locator("#mark-status")).to_have_text("Select some words of this explanation first.")
    assert not Judgement.objects.exists(), "Enter in a text answers nothing"


def test_enter_in_a_field_answers_nothing(live_app: str, page: Page, make_study: MakeStudy) -> None:
    open_page(page, live_app, rich(make_study))
    answer_all_criteria(page)
    page.get_by_role("radio", name="equal").first.press("Enter")
    page.wait_for_timeout(200)
    number(page, "1 of 2")
    assert not Judgement.objects.exists()


def test_keys_can_be_chosen_anew(live_app: str, page: Page, make_study: MakeStudy) -> None:
    study = rich(make_study, criteria=[])
    open_page(page, live_app, study)
    page.get_by_role("button", name="Keys", exact=True).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="equally good").click()
    page.keyboard.press("1")
    expect(page.locator("#key-note")).to_have_text("This key is taken: A much better")
    page.keyboard.press("/")
    expect(page.locator("#key-note")).to_have_text("Use one letter or digit.")
    page.keyboard.press("g")
    expect(dialog.get_by_role("button", name="equally good")).to_contain_text("G")
    check(page, study.question)
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Keys", exact=True)).to_be_focused()
    page.reload()
    expect(page.locator(".deck button[value=tie]")).to_have_attribute("aria-keyshortcuts", "g")
    page.keyboard.press("4")
    page.keyboard.press("g")
    number(page, "2 of 2")
    assert Judgement.objects.get().choice == "tie"
    page.get_by_role("button", name="Keys", exact=True).click()
    page.get_by_role("button", name="Back to the first keys").click()
    expect(page.locator(".deck button[value=tie]")).to_have_attribute("aria-keyshortcuts", "4")


def test_what_was_typed_outlives_a_reload(live_app: str, page: Page, make_study: MakeStudy) -> None:
    open_page(page, live_app, rich(make_study))
    page.locator(".text[data-side=a]").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.locator(".why summary").click()
    page.get_by_label("In your own words").fill("half a rea")
    page.get_by_role("checkbox", name="clearer").check()
    page.get_by_role("radio", name="both bad").first.check()
    page.reload()
    expect(page.get_by_label("In your own words")).to_have_value("half a rea")
    expect(page.get_by_role("checkbox", name="clearer")).to_be_checked()
    expect(page.get_by_role("radio", name="both bad").first).to_be_checked()
    expect(page.locator(".marks q").first).to_have_text("The")
    answer_all_criteria(page)
    page.get_by_role("button", name="A better", exact=False).first.click()
    number(page, "2 of 2")
    expect(page.get_by_label("In your own words")).to_have_value("")


def test_a_missing_criterion_is_asked_for_before_anything_is_sent(
    live_app: str, page: Page, make_study: MakeStudy
) -> None:
    open_page(page, live_app, rich(make_study))
    page.keyboard.press("1")
    expect(page.locator("[name=criterion_clarity]").first).to_be_focused()
    page.keyboard.press("c")
    number(page, "2 of 2")
    assert Judgement.objects.get().choice == "cannot_judge"


def test_what_the_server_refuses_is_said_and_kept_without_scripts(
    live_app: str, browser: Browser, make_study: MakeStudy
) -> None:
    study = rich(make_study)
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    open_page(page, live_app, study)
    page.locator(".why summary").click()
    page.get_by_label("In your own words").fill("kept")
    page.locator("#reason").evaluate("area => area.removeAttribute('maxlength')")
    page.get_by_label("In your own words").fill("kept" + "x" * 2000)
    answer_all_criteria(page)
    page.get_by_role("button", name="A much better").click()
    expect(page.get_by_role("alert")).to_contain_text("at most 2000 characters")
    assert page.get_by_label("In your own words").input_value().startswith("keptx")
    expect(page.get_by_role("radio", name="equal").first).to_be_checked()
    page.get_by_role("link", name="Your reason").click()
    context.close()
    assert not Judgement.objects.exists()


FOCUSED = """() => {
  const element = document.activeElement, deck = document.getElementById("choices");
  if (element === document.body || deck.contains(element)) return null;
  const box = element.getBoundingClientRect(), bar = deck.getBoundingClientRect();
  const stuck = getComputedStyle(deck).position === "sticky";
  return {
    name: element.outerHTML.slice(0, 80),
    hidden: stuck && box.top >= bar.top && box.bottom <= bar.bottom,
    seen: box.top < innerHeight && box.bottom > 0,
    order: [...document.querySelectorAll("*")].indexOf(element),
  };
}"""


def test_the_focus_goes_down_the_page_and_never_hides_behind_the_answer_bar(
    live_app: str, sized: Page, make_study: MakeStudy
) -> None:
    page = sized
    open_page(page, live_app, rich(make_study))
    page.emulate_media(reduced_motion="reduce")  # so that scrolling has ended when the place is looked at
    page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
    seen: list[dict[str, Any]] = []
    for _ in range(60):
        page.keyboard.press("Tab")
        found = page.evaluate(FOCUSED)
        if found is None:
            continue
        if seen and found["order"] < seen[-1]["order"]:
            break  # round again
        seen.append(found)
    assert len(seen) > 20
    assert not [one["name"] for one in seen if one["hidden"] or not one["seen"]]


def test_live_regions_are_there_before_they_speak(live_app: str, page: Page, make_study: MakeStudy) -> None:
    open_page(page, live_app, rich(make_study))
    for region in ("#connection", "#mark-status", "#key-note"):
        expect(page.locator(region)).to_have_attribute("role", "status")
        expect(page.locator(region)).to_have_text("")


@pytest.mark.parametrize(("width", "height"), [(320, 256), (360, 740), (768, 1024), (1920, 1080), (3840, 2160)])
def test_every_size_from_a_zoomed_phone_to_4k(
    live_app: str, page: Page, make_study: MakeStudy, width: int, height: int
) -> None:
    """320 x 256 is 1280 x 1024 at 400 % (WCAG 1.4.10). The bar then no longer stays in place."""
    study = rich(make_study)
    page.set_viewport_size({"width": width, "height": height})
    open_page(page, live_app, study)
    check(page, study.question)
    stuck = page.locator("#choices").evaluate("deck => getComputedStyle(deck).position === 'sticky'")
    assert stuck == (height >= 600)
    for button in page.locator(".deck button").all():
        box = button.bounding_box()
        assert box
        assert min(box["width"], box["height"]) >= 44, (button.inner_text(), box)
        assert button.evaluate("button => button.scrollWidth <= button.clientWidth + 1"), button.inner_text()


def test_german_words_fit_their_buttons(live_app: str, page: Page, make_study: MakeStudy) -> None:
    study = rich(make_study, language="de")
    page.set_viewport_size({"width": 360, "height": 740})
    open_page(page, live_app, study)
    check(page, study.question)
    for button in page.locator(".deck button").all():
        assert button.evaluate("button => button.scrollWidth <= button.clientWidth + 1"), button.inner_text()


@pytest.mark.parametrize("pasted", [True, False])
def test_a_pasted_reason_is_noted(live_app: str, page: Page, make_study: MakeStudy, pasted: bool) -> None:
    open_page(page, live_app, rich(make_study, criteria=[], pastes_noted=True))
    page.locator(".why summary").click()
    page.get_by_label("In your own words").fill("a reason")
    if pasted:
        page.keyboard.press("ControlOrMeta+a")
        page.keyboard.press("ControlOrMeta+c")
        page.keyboard.press("ControlOrMeta+v")
    page.get_by_role("button", name="equally good").click()
    number(page, "2 of 2")
    assert Judgement.objects.get().pasted is pasted
