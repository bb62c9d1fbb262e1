"""manage.py export_preferences: what raters prefer, as a file for other tools."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from rich.console import Console
from rich.progress import Progress

from studies.access import UnknownStudyError, studies_named
from studies.models import Study
from studies.preference_files import FORMATS, MissingLibraryError, Shape, lines, write
from studies.preferences import TIES, Preference, judged, preferences


class Command(BaseCommand):
    help = (
        "Write the current judgements of studies for TRL (trl, unpaired), in the form of the Chatbot Arena (arena), "
        "or as a table (csv, parquet). Raters are pseudonyms. What became of ties is said and counted."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--study", nargs="+", action="extend", required=True, metavar="SLUG")
        parser.add_argument("--format", choices=FORMATS, required=True)
        parser.add_argument("--out", type=Path, help="file to write, with a codebook beside it; otherwise stdout")
        parser.add_argument(
            "--ties",
            choices=TIES,
            default="",
            help="for trl and unpaired: "
            + "; ".join(f"{name}: {meaning}" for name, meaning in TIES.items())
            + ". Default: drop",
        )
        parser.add_argument(
            "--conversational", action="store_true", help="for trl and unpaired: texts as lists of messages"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            studies = studies_named(options["study"])
            shape = Shape(options["format"], options["ties"], options["conversational"])
            self.export(studies, shape, options["out"])
        except (ValueError, MissingLibraryError, UnknownStudyError) as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(
                f"Could not write {options['out']}: {error}. Nothing was left half-written."
            ) from error
        self.stderr.write(shape.in_words())

    def export(self, studies: list[Study], shape: Shape, out: Path | None) -> None:
        total = judged(studies).count()
        if not total:
            names = ", ".join(study.slug for study in studies)
            raise ValueError(f"There is nothing to export: {names} has no judgement that compares two explanations.")
        rows = shape.rows(told(preferences(studies), total))
        if out is not None:
            about = {"studies": [study.slug for study in studies], "made_at": timezone.now().isoformat()}
            write(rows, shape, out, about)
        elif shape.format == "parquet":
            raise ValueError("Parquet is no text to print; give a file with --out.")
        else:
            for text in lines(rows, shape.format):
                self.stdout.write(text, ending="")


def told(given: Iterator[Preference], total: int) -> Iterator[Preference]:
    """The same, with a bar on stderr."""
    with Progress(console=Console(file=sys.stderr), transient=True) as bar:
        yield from bar.track(given, total=total, description="judgements")
