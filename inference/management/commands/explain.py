"""manage.py explain: explain the problems of a file by an explainer, into a file of JSON lines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console

from inference import queue
from inference.core.out_file import OutFileError
from inference.core.problem_files import ProblemFileError
from inference.core.recipe import UNTRAINED, Recipe
from inference.models import Explainer, HeadVersion

if TYPE_CHECKING:
    from inference.core.batch import Loaded
    from inference.core.endpoint import Endpoint


class Command(BaseCommand):
    help = (
        "Explain the problems of a file by an explainer, one JSON line a problem. Writes no rows. A run that was "
        "stopped or killed goes on with the same command; a file made with other settings is refused."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--problems", type=Path, required=True, metavar="FILE", help="as for import_problems, in any format"
        )
        parser.add_argument(
            "--explainer", required=True, metavar="NAME", help="its newest version, or another as NAME@VERSION"
        )
        parser.add_argument("--limit", type=int, metavar="N", help="Take only the first N usable problems.")
        parser.add_argument(
            "--out", type=Path, metavar="FILE.jsonl", help="Append here; by default lines are printed."
        )
        parser.add_argument("--again", action="store_true", help="Try the next seed for what failed in the file.")

    def handle(self, *args: Any, **options: Any) -> None:
        from inference.core.batch import INTERRUPTED, Batch, explain_file
        from inference.core.conversation import ApiError
        from inference.core.head import HeadMismatchError

        explainer = explainer_called(options["explainer"])
        head = queue.head_of(explainer)
        about = {"explainer": str(explainer)} | ({"head": str(head)} if head else {})
        try:
            server = server_of(explainer)
            recipe = recipe_of(explainer, head, server)
            batch = Batch(options["problems"], recipe, options["out"], options["limit"], options["again"], about)
        except ValueError as error:
            raise CommandError(str(error)) from error
        try:
            tally = explain_file(
                batch, lambda: (server, None) if server else loaded(recipe, head), Console(stderr=True)
            )
        except (ProblemFileError, OutFileError, HeadMismatchError, ApiError, OSError) as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt as interrupt:
            raise CommandError("Interrupted before anything was begun.", returncode=INTERRUPTED) from interrupt
        if tally.interrupted:
            raise CommandError(str(tally), returncode=tally.status)
        self.stderr.write(str(tally), self.style.SUCCESS)


def explainer_called(name: str) -> Explainer:
    """The newest version of an explainer, or the one after an @."""
    slug, at, version = name.partition("@")
    named = Explainer.objects.filter(name=slug).order_by("-version")
    found = named.filter(version=int(version)) if version.isdecimal() else named.none() if at else named
    explainer = found.first()
    if explainer is None:
        have = ", ".join(f"{one.name}@{one.version}" for one in Explainer.objects.order_by("name", "-version"))
        raise CommandError(f"There is no explainer {name}. Allowed: {have or 'none yet; make one in the admin'}.")
    return explainer


def server_of(explainer: Explainer) -> Endpoint | None:
    """The server that an explainer of method api asks. Raises ValueError where the settings name none."""
    from inference import api_worker

    return api_worker.endpoint() if explainer.method == Explainer.Method.API else None


def recipe_of(explainer: Explainer, head: HeadVersion | None, server: Endpoint | None) -> Recipe:
    return Recipe(
        method=explainer.method,
        model=queue.model_name(explainer).removeprefix(queue.API),
        revision=explainer.revision,
        device=settings.SAGE_DEVICE,
        dtype=settings.SAGE_DTYPE,
        seed=explainer.seed,
        max_new_tokens=explainer.max_new_tokens,
        writer=explainer.writer,
        candidates=explainer.candidates,
        tested_steps=explainer.tested_steps,
        rollouts=explainer.rollouts,
        budget=explainer.budget,
        similarity=settings.SAGE_SIMILARITY,
        head=head.sha256 if head and head.trained else UNTRAINED,
        says=explainer.says,
        api_url=server.url if server else "",
        api_sends=server.sends if server else (),
    )


def loaded(recipe: Recipe, head: HeadVersion | None) -> Loaded:
    """The model and the head as the worker loads them."""
    from inference import worker
    from inference.core import similarity
    from inference.core.language_model import LOADING_ERRORS

    try:
        model = worker.language_model(recipe.model, recipe.revision)
    except LOADING_ERRORS as error:
        raise CommandError(f"The model {recipe.model!r} could not be loaded: {error}") from error
    if head:
        similarity.loaded(recipe.similarity, model)
    return model, worker.head_for(head, model) if head else None
