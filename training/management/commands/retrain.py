"""manage.py retrain: preferences in, a new head version out."""

from __future__ import annotations

import io
import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from studies.access import UnknownStudyError, studies_named
from training.attempts import LostAttemptError, RefusedError, operator
from training.models import Attempt


class Command(BaseCommand):
    help = "Fit the metacognitive head on judgements and promote it if it is better than the head in use."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--study",
            nargs="+",
            default=[],
            metavar="STUDY",
            help="slugs of the studies whose judgements to learn from",
        )
        parser.add_argument(
            "--from",
            nargs="+",
            default=[],
            dest="files",
            metavar="FORMAT:FILE",
            help="files of preferences to learn from, alone or beside studies",
        )
        parser.add_argument("--dry-run", action="store_true", help="fit and judge, but register and promote nothing")
        parser.add_argument("--json", action="store_true", help="print the result as JSON and nothing else")
        parser.add_argument(
            "--force",
            metavar="REASON",
            help="promote whatever the gate says; the reason is kept in the log of promotions",
        )
        parser.add_argument(
            "--seed", type=int, default=0, help="fixes every random draw of fit and gate (default: 0)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        self.refuse_unclear(options)
        from training.retraining import Wanted, retrain

        try:
            wanted = Wanted(
                by=operator(),
                studies=tuple(studies_named(options["study"])),
                files=tuple(options["files"]),
                force=(options["force"] or "").strip(),
                dry=options["dry_run"],
                seed=options["seed"],
            )
            with Progress(
                TextColumn("{task.description:<34}"), BarColumn(), TimeElapsedColumn(), console=Console(stderr=True)
            ) as bar:
                task = bar.add_task("starting", total=1.0)
                ended, trained = retrain(
                    wanted, lambda what, share: bar.update(task, description=what, completed=share)
                )
        except (UnknownStudyError, RefusedError, LostAttemptError, OSError) as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt as interrupt:
            raise CommandError("Interrupted; nothing was registered.") from interrupt
        self.stdout.write(told_as_json(ended, trained) if options["json"] else told(ended, trained))

    def refuse_unclear(self, options: dict[str, Any]) -> None:
        if not options["study"] and not options["files"]:
            raise CommandError("Say what to learn from: --study STUDY..., --from FORMAT:FILE..., or both.")
        if options["force"] is not None and not options["force"].strip():
            raise CommandError("--force needs a reason in words, which is kept in the log of promotions.")


def told_as_json(ended: Attempt, trained: Any) -> str:
    run = ended.run
    head = run.head_version if run else None
    return json.dumps(
        {
            "outcome": ended.outcome,
            "verdict": trained.verdict,
            "reason": ended.message,
            "run": run.pk if run else None,
            "head": head.number if head else None,
            "sha256": head.sha256 if head else None,
            "snapshot": run.snapshot_sha256 if run else None,
            "gate": trained.report.to_json(),
            "fit": trained.fitted.to_json(),
            "steps": trained.steps.to_json(),
        },
        indent=1,
        ensure_ascii=False,
    )


def told(ended: Attempt, trained: Any) -> str:
    written = io.StringIO()
    console = Console(file=written, width=100)
    console.print(scores(trained.report))
    for guard in trained.report.guards:
        console.print(f"{'Broken: ' if guard.broken else ''}{guard.said}", markup=False)
    fitted = trained.fitted
    console.print(
        f"Trained on {fitted.judgements} judgements of {fitted.problems} problems ({fitted.recipe}). "
        + steps_in_words(trained.steps),
        markup=False,
    )
    console.print(f"{ended.get_outcome_display()}. {ended.message}", markup=False)
    console.print(in_use(ended), markup=False)
    return written.getvalue()


def scores(report: Any) -> Table:
    table = Table(title=f"Held-out problems: {report.problems}, judgements: {report.judgements}")
    for column in ("scorer", "log-loss (nats)", "accuracy on decided", "90 % interval"):
        table.add_column(column)
    for score in report.scores:
        right = score.accuracy
        known = (f"{right.mean:.3f}", f"{right.low:.3f} to {right.high:.3f}") if right else ("-", "-")
        table.add_row(score.name, f"{score.log_loss:.3f}", *known)
    return table


def in_use(ended: Attempt) -> str:
    if ended.run is None or ended.run.head_version is None:
        return "Nothing was registered."
    if ended.run.promoted:
        return f"Head in use: {ended.run.head_version}. Newly asked-for explanations use it."
    return f"Registered as {ended.run.head_version}. Head in use: still {ended.run.compared_with}."


def steps_in_words(steps: Any) -> str:
    """What the head learned of steps that holds on held-out ones, and who ranks them now."""
    if not steps.scores:
        return "No step of both a training and a held-out problem was tested, so signals go on ranking the steps."
    words = {"effect": "effects", "decision_point": "decision points", "claim": "claims", "mixing": "attention"}
    used = [words[name] for name, holds in steps.used.items() if holds]
    who = "the head ranks the steps" if steps.better else "signals go on ranking the steps"
    return (
        f"Of {steps.held_out_steps} held-out tested steps it predicts, better than without it: "
        f"{', '.join(used) or 'nothing'}; {who}."
    )
