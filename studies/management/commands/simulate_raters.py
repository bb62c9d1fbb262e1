"""manage.py simulate_raters: robots rate a study through its real pages."""

from __future__ import annotations

from argparse import ArgumentTypeError
from random import Random
from typing import Any

import requests
from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.progress import Progress

from studies.models import Study
from studies.robots import Robot, RobotError, taste_of


def share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ArgumentTypeError(f"{text} is not a share; give a number from 0 to 1")
    return value


class Command(BaseCommand):
    help = "Robots rate a study over HTTP, from consent to the end. The server must be running."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--study", required=True, help="slug of the study")
        parser.add_argument("--raters", type=int, default=20)
        parser.add_argument("--prefer", default="shorter", help="shorter, longer, or arm:NAME")
        parser.add_argument("--noise", type=share, default=0.1, help="share of answers given at random, 0 to 1")
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--url", default="http://127.0.0.1:8000", help="where the server is")
        parser.add_argument(
            "--patience", type=float, default=600, help="seconds to wait for explanations that are being made"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        study = Study.objects.filter(slug=options["study"], launched_at__isnull=False).first()
        if study is None:
            known = ", ".join(Study.objects.filter(launched_at__isnull=False).values_list("slug", flat=True))
            raise CommandError(f"There is no launched study {options['study']!r}. Launched: {known or 'none yet'}.")
        try:
            answers = self.play(study, options)
        except RobotError as error:
            raise CommandError(str(error)) from error
        except (requests.ConnectionError, requests.Timeout) as error:
            raise CommandError(
                f"Nothing answers at {options['url']}. Start the server (make run), or give --url."
            ) from error
        self.stdout.write(f"{options['raters']} robots gave {answers} answers in {study}.")

    def play(self, study: Study, options: dict[str, Any]) -> int:
        taste = taste_of(options["prefer"], study)
        url = f"{options['url'].rstrip('/')}/r/{study.token}/"
        answers = 0
        with Progress(console=Console(stderr=True)) as bar:
            raters = bar.add_task("raters", total=options["raters"])
            given = bar.add_task("answers", total=None)
            for number in range(options["raters"]):
                robot = Robot(url, taste, options["noise"], Random(f"{options['seed']}/{number}"))
                answers += robot.play(options["patience"], lambda: bar.advance(given))
                bar.advance(raters)
        return answers
