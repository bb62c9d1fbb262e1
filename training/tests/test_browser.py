"""The admin's pages of a run and of a head in a real Chromium, under the strict policy, wide and narrow."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.db import connections
from django.urls import reverse
from playwright.sync_api import expect

from inference.models import HeadVersion, Promotion
from training.models import TrainingRun
from training.tests.conftest import judge, retrain, small_study

pytestmark = pytest.mark.browser
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}


@pytest.fixture
def run(live_app, monkeypatch):
    """Made in a thread of its own, as Playwright's loop occupies this one."""

    def make():
        judge(small_study(monkeypatch), raters=8)
        retrain()
        connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(make).result(200)
    return TrainingRun.objects.get()


def sign_in(page, client, address):
    value = client.cookies[settings.SESSION_COOKIE_NAME].value
    page.context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": value, "url": address}])


def check(page, errors, name, width):
    """Nothing of ours scrolls sideways or is a barrier that axe knows; the rest of the page is Django's."""
    page.set_viewport_size({"width": width, "height": 800})
    assert not errors, errors
    found = Axe().run(page, context=".run", options=RULES).response["violations"]
    errors.clear()  # of axe itself, whose inline styles the policy refuses
    assert not found, [(rule["id"], [node["html"][:200] for node in rule["nodes"]]) for rule in found]
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, f"{name} is {wide} pixels too wide at {width}"


def test_a_run_is_read_and_its_head_rolled_back_and_promoted_again(live_app, page, console_errors, admin_client, run):
    sign_in(page, admin_client, live_app)
    page.goto(live_app + reverse("admin:training_trainingrun_change", args=[run.pk]))
    expect(page.locator(".run svg.chart")).to_have_count(5)
    for width in (1280, 360):
        check(page, console_errors, "run", width)

    page.get_by_role("link", name="head v1", exact=True).click()
    for width in (360, 1280):
        check(page, console_errors, "head", width)
    page.get_by_role("link", name="Roll back …").click()
    for width in (360, 1280):
        check(page, console_errors, "rollback", width)
    page.get_by_label("Why?").fill("raters complained")
    page.get_by_role("button", name="Roll back").click()
    expect(page.get_by_text("is now in use for")).to_be_visible()
    assert HeadVersion.objects.current(settings.SAGE_MODEL).number == 0

    page.get_by_role("link", name="Promote …").click()
    page.get_by_label("Why?").fill("they were wrong")
    page.get_by_role("button", name="Promote").click()
    expect(page.get_by_text("Head v1 is now in use for")).to_be_visible()
    assert [row.reason for row in Promotion.objects.all()[:2]] == ["they were wrong", "raters complained"]
