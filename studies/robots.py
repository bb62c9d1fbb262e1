"""Robot raters: they play a study through its real pages over HTTP, and fail where a page lacks a field or button.

For dry runs, demos and tests. A robot sees what a person sees; what its page must have follows from the protocol.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from random import Random
from urllib.parse import urlsplit
from uuid import UUID

import mechanicalsoup
from bs4 import Tag
from django.db import close_old_connections

from studies.models import Study
from studies.tastes import Habits, Shown

WAIT = 2.0  # seconds between two looks at a page that is still preparing
MOST_PAGES = 100_000  # a robot that has seen so many goes round in circles
FIELDS = (
    *("csrfmiddlewaretoken", "revision", "client_key", "page_version", "viewport"),
    *("seconds", "active_seconds", "first_seconds", "pasted", "spans", "reason"),
)
OTHERS = ("tie", "both_bad", "cannot_judge")
SIDES = ("a", "tie", "b", "both_bad")


class RobotError(Exception):
    """A page was not what a rater needs. Says which page and what was missing."""


class Robot:
    """One rater with a browser of its own. With `leaves_after` it is gone after so many answers, without a word."""

    def __init__(
        self, study: Study, url: str, habits: Habits, random: Random, leaves_after: int | None = None
    ) -> None:
        self.study, self.url, self.habits, self.random = study, url, habits, random
        self.leaves_after, self.answers = leaves_after, 0
        self.browser = mechanicalsoup.StatefulBrowser(user_agent="robot rater")

    @property
    def left(self) -> bool:
        return self.leaves_after is not None and self.answers >= self.leaves_after

    def play(self, patience: float, answered: Callable[[], None]) -> None:
        """From consent to the end page, or away. Waits `patience` seconds for explanations that are being made."""
        self.open(self.url)
        self.submit("form#consent")
        self.go_on(patience, answered)

    def come_back(self, answered: Callable[[], None]) -> None:
        """Open the link once more, later, and do what there is by then."""
        self.open(self.url + "compare/")
        self.go_on(0, answered)

    def go_on(self, patience: float, answered: Callable[[], None]) -> None:
        waited = 0.0
        for _ in range(MOST_PAGES):
            page = self.page()
            if self.ended():
                return
            if self.turned(page):
                waited = 0.0
            elif page.select_one("form#answer"):
                if self.left:
                    return
                self.answer(page)
                self.answers, waited = self.answers + 1, 0.0
                answered()
            elif waited > patience:
                raise RobotError(f"{self.browser.url} was still preparing after {patience:.0f} seconds.")
            else:
                time.sleep(WAIT)
                waited += WAIT
                self.open(self.browser.url)
        raise RobotError(f"{self.browser.url} came round and round: {MOST_PAGES} pages without an end.")

    def ended(self) -> bool:
        return str(urlsplit(self.browser.url).path).endswith("/end/")

    def turned(self, page: Tag) -> bool:
        """Whether the page was one around the comparisons, and what it wants was done."""
        if page.select_one("form#start"):
            self.submit("form#start")
        elif page.select_one("form#predict"):
            self.predict(page)
        elif onward := page.select_one("a#continue"):
            self.open(self.browser.absolute_url(str(onward["href"])))
        else:
            return False
        return True

    # -- Forms -------------------------------------------------------------------------------------------------------

    def predict(self, page: Tag) -> None:
        options = [str(radio["value"]) for radio in page.select("form#predict input[name=option]")]
        if len(options) < 2:
            raise RobotError(f"{self.browser.url} has {len(options)} options to predict from.")
        self.submit("form#predict", fields={"option": self.random.choice(options)})

    def answer(self, page: Tag) -> None:
        shown = self.read(page)
        started = time.monotonic()
        side = self.habits.side(shown, self.random)
        close_old_connections()  # fifty robots in threads must not hold more connections than there are
        fields = self.details(page, side or "tie", shown)
        seconds = f"{time.monotonic() - started:.3f}"
        fields |= {"seconds": seconds, "active_seconds": seconds, "first_seconds": "0", "viewport": "1280x800@1"}
        self.submit("form#answer", self.button(page, side), fields)

    def button(self, page: Tag, side: str | None) -> str:
        """One of the page's buttons for that side, or any; all that the study's scale has must be there."""
        values = [str(button["value"]) for button in page.select("form#answer button[name=choice]")]
        strengths = [""] if self.study.strengths == 1 else list(map(str, range(1, self.study.strengths + 1)))
        wanted = [f"{letter}{strength}" for letter in "ab" for strength in strengths] + list(OTHERS)
        self.must_have(wanted, values, "button for the answer")
        if side is None:
            return self.random.choice(wanted)
        return self.random.choice([value for value in wanted if value == side or value.rstrip("123") == side])

    def details(self, page: Tag, side: str, shown: Shown) -> dict[str, str]:
        """What else the study asks, answered in line with `side`."""
        names = {str(field["name"]) for field in page.select("form#answer [name]")}
        self.must_have(FIELDS, names, "field")
        fields = {}
        for key in self.study.criteria:
            self.must_have(SIDES, self.radios(page, f"criterion_{key}"), f"choice for the criterion {key}:")
            fields[f"criterion_{key}"] = side
        if "prediction" in names:
            fields["prediction"] = self.random.choice(self.radios(page, "prediction"))
        if self.study.reason_tags:
            tags = [str(box["value"]) for box in page.select("form#answer input[name=tags]")]
            self.must_have(self.study.reason_tags, tags, "reason to tick:")
            fields["tags"] = self.random.choice(tags)
        if side in "ab" and self.random.random() < 0.2:
            text = shown.left if side == "a" else shown.right
            fields["reason"] = "It says more in fewer words."
            fields["spans"] = json.dumps([{"side": side, "start": 0, "end": min(5, len(text)), "comment": "here"}])
        return fields

    def radios(self, page: Tag, name: str) -> list[str]:
        return [str(radio["value"]) for radio in page.select(f"form#answer input[type=radio][name={name}]")]

    def must_have(self, wanted: object, there: object, what: str) -> None:
        missing = [value for value in wanted if value not in there]  # type: ignore[attr-defined,operator]
        if missing:
            raise RobotError(f"{self.browser.url} has no {what} {', '.join(map(repr, missing))}.")

    def read(self, page: Tag) -> Shown:
        """What the page shows. Raises RobotError when an explanation is missing."""
        texts = [page.select_one(f"article[aria-labelledby=title-{side}] .reading") for side in "AB"]
        form = page.select_one("form#answer")
        if form is None or None in texts or not all(text.get_text(strip=True) for text in texts if text):
            raise RobotError(f"{self.browser.url} lacks an explanation or its form.")
        left, right = (text.get_text("", strip=False).strip() for text in texts if text)
        return Shown(left, right, UUID(str(form["action"]).rstrip("/").split("/")[-1]))

    # -- The browser -------------------------------------------------------------------------------------------------

    def open(self, url: str) -> None:
        self.checked(self.browser.open(url, timeout=60))

    def submit(self, selector: str, choice: str = "", fields: dict[str, str] | None = None) -> None:
        """Send a form with all its fields, by its first button or the one with the value `choice`."""
        try:
            form = self.browser.select_form(selector)
        except mechanicalsoup.LinkNotFoundError as error:
            raise RobotError(f"{self.browser.url} has no {selector}.") from error
        pressable = f"button[name=choice][value={choice}]" if choice else "button:not([disabled]):not([type=button])"
        button = form.form.select_one(pressable)
        if button is None:
            raise RobotError(f"{self.browser.url} has no button to send its {selector} with.")
        for name, value in (fields or {}).items():
            form[name] = value
        form.choose_submit(button)
        self.checked(self.browser.submit_selected(timeout=60))

    def checked(self, response: mechanicalsoup.browser.requests.Response) -> None:
        if not response.ok:
            raise RobotError(f"{response.url} answered with status {response.status_code}.")

    def page(self) -> Tag:
        page: Tag | None = self.browser.page
        if page is None:
            raise RobotError(f"{self.browser.url} is not a page.")
        return page
