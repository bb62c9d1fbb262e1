"""Import a file of problems as a new version of a problem set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from inference.core import problem_files
from inference.problem_files import store


class Command(BaseCommand):
    help = "Import a file of problems (JSON lines). One bad line refuses the whole file."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE")
        parser.add_argument("--format", choices=list(problem_files.PARSERS), default="sage")
        parser.add_argument("--slug", required=True, help="Short name of the problem set, as in its address.")
        parser.add_argument("--name", required=True, help="Name of the problem set, as people read it.")
        parser.add_argument("--source", default="", help="Where the problems come from, with their licence.")
        parser.add_argument("--limit", type=int, metavar="N", help="Take only the first N problems.")
        parser.add_argument(
            "--skip-bad-lines",
            action="store_true",
            help="Leave bad lines out, and list them, instead of refusing the file. Public data needs it: "
            "some of its questions have the same option twice.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        limit: int | None = options["limit"]
        if limit is not None and limit < 1:
            raise CommandError(f"--limit {limit}: allowed is 1 or more. Leave it out to take all problems.")
        problems = self.read(options["file"], options["format"], options["skip_bad_lines"])[:limit]
        try:
            problem_set = store(options["slug"], options["name"], options["source"], problems)
        except ValidationError as error:
            report = "; ".join(f"--{name}: {' '.join(texts)}" for name, texts in error.message_dict.items())
            raise CommandError(f"{report} Nothing was imported.") from error
        self.stdout.write(f"{problem_set.slug} version {problem_set.version} holds these {len(problems)} problems.")

    def read(self, path: Path, format: str, skip_bad_lines: bool) -> list[problem_files.ParsedProblem]:
        try:
            reading = problem_files.scan(path, format)
        except problem_files.ProblemFileError as error:
            raise CommandError(f"{error}\nNothing was imported.") from error
        if reading.faults and not (skip_bad_lines and reading.problems):
            way_on = f"; --skip-bad-lines imports the other {len(reading.problems)}" if reading.problems else ""
            raise CommandError(
                f"{path}: {reading.count} for the format {format}.\n{reading.report()}\n"
                f"Nothing was imported. Correct the file{way_on}."
            )
        if reading.faults:
            self.stderr.write(f"Left out {reading.count}:\n{reading.report()}")
        return reading.problems
