"""Explain the problems of a file, without Django and without a database.

    python -m inference.core --problems FILE --method METHOD --model SOURCE [--limit N] [--out FILE.jsonl]

FILE holds JSON lines as AQUA-RAT or CommonsenseQA have them, or such as these:

    {"key": "one", "kind": "maths", "question": "What is 2 + 2?", "options": ["3", "4"], "gold": 1}
    {"key": "two", "kind": "maths", "question": "What is 2 + 2?", "asks": "number", "gold": 4}
    {"key": "three", "kind": "logic", "question": "Who is taller?", "asks": "free"}

`kind` is logic, maths, commonsense or ethics; `gold` the right option's place from 0, the right number or text.
METHOD is inverse, chain, self_explain, attention or api, SOURCE a hub name, a folder or a .gguf file. For method
api SOURCE is the model's name at the server of --api-url or SAGE_API_URL; its key is read from SAGE_API_KEY, and
SAGE_API_SENDS, _TIMEOUT, _RETRIES and _BUDGET are as in .env.example. One JSON object a problem is appended to
FILE.jsonl, or printed. A run that was stopped or killed goes on with the same command; a file made with other
settings is refused. Everything else is said on standard error. Exit status: 0 each problem has its line (with
`error` where it failed), 1 refused, 2 wrong options, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from inference.core import similarity
from inference.core.batch import INTERRUPTED, Batch, Loaded, explain_file
from inference.core.conversation import ApiError
from inference.core.endpoint import Endpoint
from inference.core.features import head_config
from inference.core.head import Head, HeadMismatchError
from inference.core.head_files import digest
from inference.core.language_model import DTYPES, LOADING_ERRORS, LanguageModel
from inference.core.out_file import OutFileError
from inference.core.problem_files import ProblemFileError
from inference.core.recipe import BOUNDS, METHODS, SAYS, UNTRAINED, WRITERS, Recipe
from inference.core.weights import resolve


class LoadingError(Exception):
    """The model could not be loaded. Says which, and why."""


def main(arguments: Sequence[str] | None = None) -> int:
    made = parser()
    options = made.parse_args(arguments)
    console = Console(stderr=True)
    try:
        endpoint = endpoint_of(options, made)
        batch = batch_of(options, endpoint, made)
        tally = explain_file(batch, lambda: endpoint_or_model(options, endpoint, batch.recipe, console), console)
    except (ProblemFileError, OutFileError, LoadingError, HeadMismatchError, ApiError, OSError) as error:
        console.print(f"{error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("Interrupted before anything was begun.")
        return INTERRUPTED
    console.print(f"{tally}", markup=False, highlight=False, soft_wrap=True)
    return tally.status


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        "python -m inference.core", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--problems", type=Path, required=True, metavar="FILE")
    made.add_argument("--method", choices=METHODS, required=True)
    made.add_argument("--model", required=True, metavar="SOURCE", help="hub name, folder or .gguf file")
    made.add_argument("--api-url", metavar="URL", help="base address of the server; only for method api")
    made.add_argument("--says", choices=SAYS, help="which text of a run of method api is the explanation")
    made.add_argument("--limit", type=int, metavar="N", help="take only the first N usable problems")
    made.add_argument(
        "--out", type=Path, metavar="FILE.jsonl", help="append lines here, and go on from what is there"
    )
    made.add_argument("--again", action="store_true", help="try the next seed for what failed in the out file")
    made.add_argument("--head", type=Path, metavar="DIR", help="a trained head's folder; only for method inverse")
    made.add_argument("--writer", choices=WRITERS, default="templates", help="who writes; only for method inverse")
    made.add_argument("--revision", default="", help="of a model on the hub")
    made.add_argument("--device", default="cpu", help="cpu, cuda or mps")
    made.add_argument("--dtype", choices=list(DTYPES), default="float32")
    made.add_argument("--threads", type=int, default=0, metavar="N", help="of torch; 0 leaves them to torch")
    made.add_argument(
        "--similarity", default=Recipe.similarity, metavar="SOURCE",
        help="all-minilm-l6-v2, 'own states', words, a folder or a hub name; only for method inverse",
    )  # fmt: skip
    made.add_argument("--seed", type=int, default=0, help="0 writes the chain greedily")
    made.add_argument("--budget", type=int, metavar="N", help="tokens that all rollouts of a problem may have")
    for name, (least, most) in BOUNDS.items():
        option, default = f"--{name.replace('_', '-')}", getattr(Recipe, name)
        made.add_argument(option, type=int, default=default, metavar="N", help=f"{least} to {most}; {default}")
    return made


def endpoint_of(options: argparse.Namespace, made: argparse.ArgumentParser) -> Endpoint | None:
    """The server of method api. Ends the process with status 2 where an option or a variable cannot be taken."""
    if options.method != "api":
        if options.api_url or options.says:
            made.error(f"--api-url and --says are only for method api, not {options.method}")
        return None
    try:
        return Endpoint.from_environment(os.environ, options.api_url or "")
    except ValueError as error:
        made.error(f"{error} (--api-url stands for SAGE_API_URL)")


def batch_of(options: argparse.Namespace, endpoint: Endpoint | None, made: argparse.ArgumentParser) -> Batch:
    """Ends the process with status 2 and a message where an option cannot be taken."""
    if options.head and options.method != "inverse":
        made.error(f"--head is only for method inverse, not {options.method}")
    if options.writer != "templates" and options.method != "inverse":
        made.error(f"--writer is only for method inverse, not {options.method}")
    names = ("method", "model", "revision", "device", "dtype", "seed", "similarity", "writer", "budget", *BOUNDS)
    head = digest(options.head) if options.head else UNTRAINED
    api: dict[str, Any] = {"says": options.says} if options.says else {}
    api |= {"api_url": endpoint.url, "api_sends": endpoint.sends} if endpoint else {}
    try:
        given = {name: getattr(options, name) for name in names} | {"model": spelled(options)}
        recipe = Recipe(**given, head=head, **api)
        return Batch(options.problems, recipe, options.out, options.limit, options.again)
    except ValueError as error:
        made.error(f"{error}")


def spelled(options: argparse.Namespace) -> str:
    """The model's name; of a folder or a file the whole path, however it was named. Raises ValueError for nothing."""
    name: str = options.model
    if not name.strip():
        raise ValueError("model is empty; name a hub name, a folder or a .gguf file")
    path = Path(name).expanduser()
    return str(path.resolve()) if options.method != "api" and path.exists() else name


def endpoint_or_model(
    options: argparse.Namespace, endpoint: Endpoint | None, recipe: Recipe, console: Console
) -> Loaded:
    return (endpoint, None) if endpoint else loaded(options, recipe, console)


def loaded(options: argparse.Namespace, recipe: Recipe, console: Console) -> tuple[LanguageModel, Head | None]:
    try:
        source = resolve(recipe.model, Path(os.environ.get("VAR_DIR", "var")), console.print)
        model = LanguageModel.load(source, recipe.revision, recipe.dtype, recipe.device, options.threads)
    except LOADING_ERRORS as error:
        raise LoadingError(f"The model {recipe.model!r} could not be loaded: {error}") from error
    if recipe.method == "inverse":
        similarity.loaded(recipe.similarity, model)  # now rather than in the middle of the first problem
    return model, head_for(model, options.head) if recipe.method == "inverse" else None


def head_for(model: LanguageModel, folder: Path | None) -> Head:
    """Raises HeadMismatchError for a head that was fitted for another model or other features."""
    expected = head_config(model)
    if folder is None:
        return Head(expected)
    head = Head.read(folder)
    found = head.config.differences(expected)
    if found:
        raise HeadMismatchError(
            f"{folder} was fitted for another model or other features: it has {'; '.join(found)}."
        )
    return head


if __name__ == "__main__":
    sys.exit(main())
