"""manage.py simulate_raters: robots rate a study through its real pages."""

from __future__ import annotations

import time
from argparse import ArgumentTypeError
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import requests
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection
from django.db.models import F, Sum
from rich.console import Console
from rich.progress import Progress

from studies.assignment import holding
from studies.models import Assignment, Study
from studies.robots import WAIT, Robot, RobotError
from studies.tastes import Habits, UnknownTasteError, taste_of


def share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ArgumentTypeError(f"{text} is not a share; give a number from 0 to 1")
    return value


def at_least_one(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ArgumentTypeError(f"{text} is too few; give a whole number from 1")
    return value


class Command(BaseCommand):
    help = "Robots rate a study over HTTP, from consent to the end. The server must be running."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--study", required=True, help="slug of the study")
        parser.add_argument("--raters", type=at_least_one, default=20)
        parser.add_argument("--prefer", default="shorter", help="the planted truth: shorter, longer, or arm:NAME")
        parser.add_argument(
            "--strength", type=share, default=1.0, help="share of answers that follow it where nothing else does"
        )
        parser.add_argument("--noise", type=share, default=0.1, help="share of answers given at random, 0 to 1")
        parser.add_argument(
            "--bias", "--left-bias", dest="left_bias", type=share, default=0.0, help="share that goes left anyway"
        )
        parser.add_argument(
            "--drop-out", type=share, default=0.0, help="share of robots that leave somewhere in the middle"
        )
        parser.add_argument("--workers", type=at_least_one, default=1, help="how many robots rate at once")
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--url", default="http://127.0.0.1:8000", help="where the server is")
        parser.add_argument(
            "--patience",
            type=float,
            default=600,
            help="seconds to wait for explanations that are being made, and for the places of robots that left",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        study = Study.objects.filter(slug=options["study"], launched_at__isnull=False).first()
        if study is None:
            known = ", ".join(Study.objects.filter(launched_at__isnull=False).values_list("slug", flat=True))
            raise CommandError(f"There is no launched study {options['study']!r}. Launched: {known or 'none yet'}.")
        try:
            robots = robots_for(study, options)
            self.play(study, robots, options)
        except (RobotError, UnknownTasteError) as error:
            raise CommandError(str(error)) from error
        except (requests.ConnectionError, requests.Timeout) as error:
            raise CommandError(
                f"Nothing answers at {options['url']}. Start the server (make run), or give --url."
            ) from error
        self.report(study, robots)

    def play(self, study: Study, robots: list[Robot], options: dict[str, Any]) -> None:
        with Progress(console=Console(stderr=True)) as bar:
            raters, given = bar.add_task("raters", total=len(robots)), bar.add_task("answers", total=None)

            def one(robot: Robot) -> None:
                robot.play(options["patience"], lambda: bar.advance(given))
                bar.advance(raters)

            at_once(options["workers"], one, robots)
            fill(study, robots, options, lambda: bar.advance(given))

    def report(self, study: Study, robots: list[Robot]) -> None:
        left = sum(robot.left for robot in robots)
        gone = f", {left} left in the middle" if left else ""
        answers = sum(robot.answers for robot in robots)
        self.stdout.write(f"{len(robots)} robots gave {answers} answers in {study}{gone}.")
        wanting = study.comparisons.wanting().aggregate(places=Sum(F("wanted") - F("taken")))["places"] or 0
        held = holding(Assignment.objects.filter(comparison__study=study)).count()
        open_places = f"{wanting} places are still free" if wanting else "No place is free"
        waiting = f", {held} are held without an answer" if held else ""
        self.stdout.write(f"{open_places}{waiting}.")


def robots_for(study: Study, options: dict[str, Any]) -> list[Robot]:
    url = f"{options['url'].rstrip('/')}/r/{study.token}/"
    taste = taste_of(options["prefer"], study)
    habits = Habits(taste, options["noise"], options["left_bias"], options["strength"])
    leaving = Random(f"{options['seed']}/leaving")
    quitters = set(leaving.sample(range(options["raters"]), round(options["drop_out"] * options["raters"])))
    most = max(min(study.rater_limit, study.comparisons.count()), 1)
    return [
        Robot(
            study,
            url,
            habits,
            Random(f"{options['seed']}/{number}"),
            leaves_after=leaving.randrange(most) if number in quitters else None,
        )
        for number in range(options["raters"])
    ]


def at_once(workers: int, one: Callable[[Robot], None], robots: list[Robot]) -> None:
    """Each robot in turn, `workers` at a time. The first error ends all that have not begun, and is raised."""

    def in_thread(robot: Robot) -> None:
        try:
            one(robot)
        finally:
            connection.close()

    if workers == 1:
        for robot in robots:
            one(robot)
        return
    pool = ThreadPoolExecutor(workers)
    try:
        for done in [pool.submit(in_thread, robot) for robot in robots]:
            done.result()
    finally:
        pool.shutdown(cancel_futures=True)


def fill(study: Study, robots: list[Robot], options: dict[str, Any], answered: Callable[[], None]) -> None:
    """Robots that stayed come back for the places of those that left, once these are given back."""
    held = holding(Assignment.objects.filter(comparison__study=study))
    if not any(robot.left for robot in robots) or options["patience"] < settings.RESERVATION_SECONDS:
        return
    deadline = time.monotonic() + options["patience"]
    stayed = [robot for robot in robots if not robot.left]
    while held.exists() and time.monotonic() < deadline:
        time.sleep(WAIT)
        at_once(options["workers"], lambda robot: robot.come_back(answered), stayed)
