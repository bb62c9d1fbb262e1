"""manage.py judge_scores: scores from elsewhere, through the same gate as a head."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.progress import Progress

from studies.access import UnknownStudyError, studies_named
from training.attempts import LostAttemptError, RefusedError, operator
from training.management.commands.retrain import scores as table


class Command(BaseCommand):
    help = (
        "Judge scores of a study's explanations that were made elsewhere, such as by training.core.reward, on "
        "held-out problems against the head in use. Nothing is put into use; the run log keeps the verdict."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--scores", type=Path, required=True, help='JSON lines {"id": explanation, "score": number}'
        )
        parser.add_argument("--study", nargs="+", action="extend", required=True, metavar="SLUG")
        parser.add_argument("--json", action="store_true", help="print the report as JSON and nothing else")
        parser.add_argument("--seed", type=int, default=0, help="fixes the resampling (default: 0)")

    def handle(self, *args: Any, **options: Any) -> None:
        from training.outside import judge_scores

        try:
            studies = studies_named(options["study"])
            with Progress(console=Console(stderr=True)) as bar:
                task = bar.add_task("starting", total=1.0)
                report = judge_scores(
                    options["scores"],
                    studies,
                    operator(),
                    lambda what, share: bar.update(task, description=what, completed=share),
                    options["seed"],
                )
        except (UnknownStudyError, RefusedError, LostAttemptError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(json.dumps(report.to_json(), indent=1) if options["json"] else told(report))


def told(report: Any) -> str:
    written = io.StringIO()
    console = Console(file=written, width=100)
    console.print(table(report))
    for guard in report.guards:
        console.print(f"{'Broken: ' if guard.broken else ''}{guard.said}", markup=False)
    console.print(f"A head would get the verdict: {report.verdict}. {report.reason}", markup=False)
    console.print("These scores cannot be put into use, since workers score by a head. The run log has the verdict.")
    return written.getvalue()
