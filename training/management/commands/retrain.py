"""manage.py retrain: preferences in, a new head version out."""

from __future__ import annotations

import io
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from studies.models import Study
from training.models import TrainingRun


class Command(BaseCommand):
    help = "Fit the metacognitive head on a study's judgements and promote it if it is better than the head in use."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--study", required=True, help="slug of the study whose judgements to learn from")
        parser.add_argument(
            "--force",
            metavar="REASON",
            default="",
            help="promote even if the new head is not better; the reason is kept with the run",
        )
        parser.add_argument("--seed", type=int, default=0, help="fixes the bootstrap of the comparison")

    def handle(self, *args: Any, **options: Any) -> None:
        from inference.core.head import HeadMismatchError
        from training.retraining import retrain
        from training.snapshot import TooLittleDataError

        study = self.study(options["study"])
        bar = Progress(
            TextColumn("{task.description:<32}"), BarColumn(), TimeElapsedColumn(), console=Console(stderr=True)
        )
        with bar:
            task = bar.add_task("starting", total=1.0)
            try:
                run = retrain(
                    study,
                    options["force"].strip(),
                    lambda what, share: bar.update(task, description=what, completed=share),
                    options["seed"],
                )
            except (TooLittleDataError, HeadMismatchError) as error:
                raise CommandError(str(error)) from error
        self.report(run)

    def study(self, slug: str) -> Study:
        study = Study.objects.filter(slug=slug).first()
        if study is None:
            known = ", ".join(Study.objects.values_list("slug", flat=True)) or "none yet"
            raise CommandError(f"There is no study {slug!r}. Studies: {known}.")
        return study

    def report(self, run: TrainingRun) -> None:
        written = io.StringIO()
        console = Console(file=written, width=100)
        metrics = run.metrics
        table = Table(title=f"Held-out problems: {metrics['problems']}, judgements: {metrics['judgements']}")
        for column in ("scorer", "log-loss (nats)", "accuracy on decided"):
            table.add_column(column)
        for score in metrics["scores"]:
            right = score["accuracy"]
            table.add_row(score["name"], f"{score['log_loss']:.3f}", "-" if right is None else f"{right:.3f}")
        console.print(table)
        console.print(
            f"Trained on {metrics['training_judgements']} judgements of {metrics['training_problems']} problems. "
            + steps_in_words(metrics["steps"])
        )
        console.print(f"{run.get_verdict_display()}. {run.reason}", markup=False)
        in_use = run.head_version if run.verdict != run.Verdict.HOLD else run.compared_with
        console.print(f"Head in use: {in_use}. Newly asked-for explanations use it.")
        self.stdout.write(written.getvalue())


def steps_in_words(steps: dict[str, Any]) -> str:
    if steps["squared_error"] is None:
        return "No step of both a training and a held-out problem was tested, so signals go on ranking the steps."
    found = (
        f"squared error {steps['squared_error']:.3f} against {steps['squared_error_of_mean']:.3f} for the mean effect"
    )
    who = "the head ranks the steps" if steps["used"] else "signals go on ranking the steps"
    return f"Its step scores, on {steps['held_out_steps']} held-out tested steps: {found}; {who}."
