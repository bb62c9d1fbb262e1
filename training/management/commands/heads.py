"""manage.py heads: the registry of head versions, on the command line."""

from __future__ import annotations

import io
import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.table import Table

from inference import heads
from inference.models import HeadVersion, Promotion
from training import lineage
from training.attempts import operator
from training.lineage import Line


class Command(BaseCommand):
    help = "List and show head versions, put one into use, roll back to the one before, publish one."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        listing = actions.add_parser("list", help="all head versions, the newest first")
        showing = actions.add_parser("show", help="one head version: its run, its judgements, its promotions")
        promoting = actions.add_parser("promote", help="put a head version into use")
        rolling = actions.add_parser("rollback", help="put the head back into use that was so before")
        pushing = actions.add_parser("push", help="publish a head version on the Hugging Face Hub, privately")
        for one in (showing, promoting, pushing):
            one.add_argument("number", type=int, metavar="NUMBER", help="the head's number, as in the list")
        for one in (listing, showing):
            one.add_argument("--json", action="store_true", help="print JSON and nothing else")
        for one in (promoting, rolling):
            one.add_argument("--reason", required=True, help="why; kept in the log of promotions")
            one.add_argument("--revision", default="", help="the model's revision, if it is not the default one")
        promoting.add_argument(
            "--model", default="", help="for head 0, which belongs to no model (default: SAGE_MODEL)"
        )
        rolling.add_argument("--model", default=settings.SAGE_MODEL, help="of which model (default: SAGE_MODEL)")
        pushing.add_argument("repository", metavar="REPOSITORY", help="such as my-name/my-head")

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        getattr(self, action)(**options)

    def list(self, *, json: bool, **options: Any) -> None:
        found = lineage.lines(HeadVersion.objects.all())
        self.tell([as_json(line) for line in found]) if json else self.draw(table(found))

    def show(self, *, number: int, json: bool, **options: Any) -> None:
        line = lineage.line(self.head(number))
        self.tell(as_json(line) | {"promotions": promotions(line)}) if json else self.draw(*described(line))

    def promote(self, *, number: int, reason: str, model: str, revision: str, **options: Any) -> None:
        head = self.head(number)
        model = model or head.base_model or settings.SAGE_MODEL
        self.moved(heads.promote, head, reason, operator(), model=model, revision=revision or head.base_revision)

    def rollback(self, *, reason: str, model: str, revision: str, **options: Any) -> None:
        self.moved(heads.roll_back, model, revision, reason, operator())

    def push(self, *, number: int, repository: str, **options: Any) -> None:
        from training.hub import PushError, push

        try:
            self.stdout.write(f"Published: {push(self.head(number), repository)}")
        except PushError as error:
            raise CommandError(str(error)) from error

    def moved(self, move: Any, *given: Any, **options: Any) -> None:
        try:
            done: Promotion = move(*given, **options)
        except heads.PromotionError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"{done.get_kind_display()}: {done.base_model} now uses {done.to_head}, before {done.from_head}. "
            "Explanations that were asked for before keep their head."
        )

    def head(self, number: int) -> HeadVersion:
        head: HeadVersion | None = HeadVersion.objects.filter(number=number).first()
        if head is None:
            known = ", ".join(str(known) for known in HeadVersion.objects.values_list("number", flat=True))
            raise CommandError(f"There is no head version {number}. There are: {known}.")
        return head

    def draw(self, *parts: Any) -> None:
        written = io.StringIO()
        console = Console(file=written, width=110)
        for part in parts:
            console.print(part, markup=False) if isinstance(part, str) else console.print(part)
        self.stdout.write(written.getvalue())

    def tell(self, data: Any) -> None:
        self.stdout.write(json.dumps(data, indent=1, ensure_ascii=False))


def table(found: list[Line]) -> Table:
    made = Table()
    for column in ("head", "named", "for", "verdict", "judgements", "withdrawn", "explanations", "made"):
        made.add_column(column, justify="right" if column in {"judgements", "withdrawn", "explanations"} else "left")
    for line in found:
        made.add_row(
            str(line.head),
            line.called,
            line.head.base_model or "any model",
            line.run.verdict if line.run else "",
            str(line.judgements),
            str(line.withdrawn or ""),
            str(line.explanations),
            f"{line.head.created_at:%Y-%m-%d %H:%M}",
        )
    return made


def described(line: Line) -> list[str]:
    head, run = line.head, line.run
    said = [f"{head} for {head.base_model or 'any model'} {head.base_revision}".rstrip()]
    said += [f"Named: {line.called or 'nothing'}."]
    if head.trained:
        said += [f"Files: {heads.folder() / head.sha256}"]
    if run:
        said += [f"Run {run.pk} of {run.started_at:%Y-%m-%d %H:%M} UTC on {line.judgements} judgements. {run.reason}"]
    said += [lineage.flag(line.withdrawn, line.judgements)] if line.withdrawn else []
    said += [f"Explanations asked for with it: {line.explanations}."]
    return said + [f"{row['at'][:16]} {row['kind']} by {row['by']}: {row['reason']}" for row in promotions(line)]


def as_json(line: Line) -> dict[str, Any]:
    head, run = line.head, line.run
    return {
        "number": head.number,
        "sha256": head.sha256,
        "base_model": head.base_model,
        "base_revision": head.base_revision,
        "aliases": list(line.aliases),
        "run": run.pk if run else None,
        "verdict": run.verdict if run else None,
        "judgements": line.judgements,
        "withdrawn": line.withdrawn,
        "explanations": line.explanations,
        "created_at": head.created_at.isoformat(),
    }


def promotions(line: Line) -> list[dict[str, Any]]:
    rows = Promotion.objects.filter(to_head=line.head).select_related("from_head")
    return [
        {"at": row.at.isoformat(), "kind": row.kind, "from": row.from_head.number, "by": row.by, "reason": row.reason}
        for row in rows
    ]
