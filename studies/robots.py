"""Robot raters: they play a study through its real pages over HTTP, and fail where a page lacks a field or button.

For dry runs, demos and tests. A robot sees what a person sees; only the preference for an arm, which no page shows,
is looked up in the database.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from urllib.parse import urlsplit
from uuid import UUID

import mechanicalsoup
from bs4 import Tag

from studies.models import Assignment, Study

CHOICES = ("a", "b", "tie", "both_bad")
WAIT = 2.0  # seconds between two looks at a page that is still preparing


class RobotError(Exception):
    """A page was not what a rater needs. Says which page and what was missing."""


@dataclass(frozen=True)
class Shown:
    """What a compare page shows: the two texts, and which assignment it is."""

    left: str
    right: str
    assignment: UUID


Taste = Callable[[Shown], str]
"""What a robot answers to a page: one of CHOICES."""


def shorter(shown: Shown) -> str:
    difference = len(shown.left) - len(shown.right)
    return "tie" if difference == 0 else "a" if difference < 0 else "b"


def longer(shown: Shown) -> str:
    return {"a": "b", "b": "a", "tie": "tie"}[shorter(shown)]


def for_arm(name: str) -> Taste:
    """Prefers the explanation of arm `name`; a comparison without that arm is a tie."""

    def taste(shown: Shown) -> str:
        row = Assignment.objects.select_related("comparison__first_arm", "comparison__second_arm").get(
            public_id=shown.assignment
        )
        names = (row.comparison.first_arm.name, row.comparison.second_arm.name)
        if name not in names:
            return "tie"
        return "a" if (names.index(name) == 0) == row.first_on_left else "b"

    return taste


def taste_of(prefer: str, study: Study) -> Taste:
    """The taste that `prefer` names. Raises RobotError for an unknown one."""
    known: dict[str, Taste] = {"shorter": shorter, "longer": longer}
    arms = list(study.arms.values_list("name", flat=True))
    known |= {f"arm:{name}": for_arm(name) for name in arms}
    if prefer not in known:
        raise RobotError(f"A robot cannot prefer {prefer!r}. It can prefer: {', '.join(known)}.")
    return known[prefer]


class Robot:
    """One rater with a browser of its own. `noise` is the share of answers given at random."""

    def __init__(self, url: str, taste: Taste, noise: float, random: Random) -> None:
        self.url, self.taste, self.noise, self.random = url, taste, noise, random
        self.browser = mechanicalsoup.StatefulBrowser(raise_on_404=True, user_agent="robot rater")

    def play(self, patience: float, answered: Callable[[], None]) -> int:
        """From consent to the end page; returns the answers given. Waits `patience` seconds for explanations."""
        self.open(self.url)
        self.submit("form[method=post]")
        answers, waited = 0, 0.0
        while True:
            page = self.page()
            if page.select_one("form#answer"):
                self.answer(page)
                answers, waited = answers + 1, 0.0
                answered()
            elif urlsplit(self.browser.url).path.endswith("/end/"):
                return answers
            elif waited > patience:
                raise RobotError(f"{self.browser.url} was still preparing after {patience:.0f} seconds.")
            else:
                time.sleep(WAIT)
                waited += WAIT
                self.open(self.browser.url)

    def answer(self, page: Tag) -> None:
        shown = read(page)
        choice = self.random.choice(CHOICES) if self.random.random() < self.noise else self.taste(shown)
        self.submit("form#answer", choice)

    def open(self, url: str) -> None:
        self.checked(self.browser.open(url, timeout=30))

    def submit(self, selector: str, choice: str = "") -> None:
        """Send a form with all its fields, by its button with the value `choice`."""
        try:
            form = self.browser.select_form(selector)
        except mechanicalsoup.LinkNotFoundError as error:
            raise RobotError(f"{self.browser.url} has no {selector}.") from error
        if choice:
            button = form.form.select_one(f"button[name=choice][value={choice}]")
            if button is None:
                raise RobotError(f"{self.browser.url} has no button for the answer {choice!r}.")
            form.choose_submit(button)
        self.checked(self.browser.submit_selected(timeout=30))

    def checked(self, response: mechanicalsoup.browser.requests.Response) -> None:
        if not response.ok:
            raise RobotError(f"{response.url} answered with status {response.status_code}.")

    def page(self) -> Tag:
        page: Tag | None = self.browser.page
        if page is None:
            raise RobotError(f"{self.browser.url} is not a page.")
        return page


def read(page: Tag) -> Shown:
    """What the page shows. Raises RobotError when an explanation is missing."""
    texts = [page.select_one(f"article[aria-labelledby=title-{side}] .reading") for side in "ab"]
    form = page.select_one("form#answer")
    if form is None or None in texts:
        raise RobotError("The compare page lacks an explanation or its form.")
    left, right = (text.get_text("\n", strip=True) for text in texts if text)
    return Shown(left, right, UUID(str(form["action"]).rstrip("/").split("/")[-1]))
