"""A real headless Chromium through Playwright, failing the test on any error that the page reports."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",  # root in a container has no user namespace; the pages are our own
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


def chromium() -> str:
    """The browser's program. Without one: a failure in CI, a named skip elsewhere."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found:
        return found
    missing = f"No Chromium on the PATH (looked for {', '.join(NAMES)}): install the system package `chromium`."
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser per module. Not per session: Playwright keeps a loop running in the main thread while it is open,
    which asynchronous tests cannot stand, and which Django takes for asynchronous code unless told otherwise.
    """
    from playwright.sync_api import sync_playwright

    program = chromium()
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield opened
        opened.close()
    if before is None:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def console_errors() -> list[str]:
    """What the pages of this test complained about. A test that provokes an error checks and clears the list."""
    return []


@pytest.fixture
def page(browser: Browser, console_errors: list[str]) -> Iterator[Page]:
    """A page of 1280 × 800 in a fresh profile. Any console error or uncaught exception fails the test at its end."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    opened = context.new_page()

    def listen(message: ConsoleMessage) -> None:
        if message.type == "error":
            console_errors.append(f"{message.text} ({message.location.get('url', '')})")

    opened.on("console", listen)
    opened.on("pageerror", lambda error: console_errors.append(str(error)))
    yield opened
    context.close()
    assert not console_errors, "the page reported errors: " + "; ".join(console_errors)
