"""Fit a head on preference files, and score texts with it, without Django and without a database.

    python -m training.core fit --pairs FORMAT:FILE ... --out DIR [--model MODEL]
    python -m training.core score --head DIR --texts FILE.jsonl

FORMAT is copa-sse, few-shot-explanations, trl or arena; several files make one head. DIR is the head's own folder.
`score` reads {"id", "question", "answer", "explanation"} a line and prints {"id", "score"} a line. A higher score is
better; only scores of explanations of the same answer compare. Everything else is said on standard error. Features
are cached under VAR_DIR (by default ./var), so that a second run reads only what is new.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from inference.core.feature_cache import FeatureCache
from inference.core.features import head_config
from inference.core.head import Head, HeadMismatchError
from inference.core.head_files import check_replaceable, save_as
from inference.core.language_model import LanguageModel
from inference.core.weights import DEFAULT_MODEL, resolve
from training.core import formats
from training.core.checks import check_amount
from training.core.data import Pairs, length_matched, pairs_of
from training.core.davidson import accuracy
from training.core.fit import Fitted, Tell, fit_head

console = Console(stderr=True)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        with progress() as tell:
            options.run(options, tell)
    except (OSError, ValueError, HeadMismatchError) as error:
        console.print(f"{error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("Interrupted. Nothing was written but features that were read already.")
        return 130
    return 0


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        "python -m training.core", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = made.add_subparsers(required=True)
    fit = commands.add_parser("fit", help="fit a head on preference files")
    fit.set_defaults(run=run_fit)
    fit.add_argument("--pairs", nargs="+", action="extend", required=True, metavar="FORMAT:FILE")
    fit.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder, or a head to be replaced")
    fit.add_argument("--seed", type=int, default=0, help="draws the problems of the bootstrap heads")
    score = commands.add_parser("score", help="score texts")
    score.set_defaults(run=run_score)
    score.add_argument("--head", type=Path, required=True, metavar="DIR")
    score.add_argument("--texts", type=Path, required=True, metavar="FILE.jsonl")
    for command in (fit, score):
        command.add_argument("--model", default="", help="hub name, folder or .gguf of the base model")
        command.add_argument("--dtype", default="", help="float32 or bfloat16; by default what is faster here")
    return made


class progress:
    """A bar on standard error; gives the function that moves it."""

    def __enter__(self) -> Tell:
        columns = TextColumn("{task.description:<32}"), BarColumn(), TimeElapsedColumn()
        self.bar = Progress(*columns, console=console)
        self.bar.start()
        task = self.bar.add_task("starting", total=1.0)
        return lambda what, share: self.bar.update(task, description=what, completed=share)

    def __exit__(self, *error: object) -> None:
        self.bar.stop()


def run_fit(options: argparse.Namespace, tell: Tell) -> None:
    check_replaceable(options.out)
    files = [formats.read([named]) for named in options.pairs]
    file = formats.joined(files)
    for reason, count in file.left_out:
        console.print(f"Left out: {count} times {reason}.")
    wanted = file.judged()
    check_amount(pairs_of(torch.zeros(len(file.texts), 1), wanted))
    model = load(options.model or DEFAULT_MODEL, options.dtype, tell)
    pairs = pairs_of(cache_of(model).features(model, file.texts, tell), wanted)
    fitted = fit_head(pairs, head_config(model), seed=options.seed, tell=tell, margins=file.margins(pairs))
    words = [*in_words(fitted), *by_file(fitted, pairs, options.pairs, [len(file.pairs) for file in files])]
    digest = save_as(fitted.head, options.out, card(fitted, options.pairs, words))
    console.print(f"Head {digest[:12]} is in {options.out}.", *words, sep="\n", markup=False, soft_wrap=True)


def run_score(options: argparse.Namespace, tell: Tell) -> None:
    head = Head.read(options.head)
    texts = formats.read_texts(options.texts)
    model = load(options.model or head.config.model, options.dtype, tell)
    check_fits(head, model)
    scores = head.score(cache_of(model).features(model, texts, tell)).tolist()
    for text, score in zip(texts, scores, strict=True):
        sys.stdout.write(json.dumps({"id": text.id, "score": score}) + "\n")


def load(name: str, dtype: str, tell: Tell) -> LanguageModel:
    tell("loading the base model", 0.0)
    say: Callable[[str], None] = console.print
    return LanguageModel.load(resolve(name, var_dir(), say), dtype=dtype or faster_dtype(), name=name)


def faster_dtype() -> str:
    """bfloat16 where the processor multiplies it itself; scores differ by about a hundredth of their spread."""
    return "bfloat16" if torch.ops.mkldnn._is_mkldnn_bf16_supported() else "float32"


def check_fits(head: Head, model: LanguageModel) -> None:
    found = head.config.differences(head_config(model))
    if found:
        raise HeadMismatchError(
            f"The head was fitted for another model or other features: it has {'; '.join(found)}."
        )


def cache_of(model: LanguageModel) -> FeatureCache:
    return FeatureCache(var_dir() / "features" / model.dtype_name, head_config(model))


def var_dir() -> Path:
    return Path(os.environ.get("VAR_DIR", "var"))


def card(fitted: Fitted, named: Sequence[str], words: Sequence[str]) -> str:
    files = "\n".join(f"- {Path(name.partition(':')[2]).name} ({name.partition(':')[0]})" for name in named)
    numbers = "\n".join(f"- {line}" for line in words)
    config = fitted.head.config
    return (
        f"# Preference head for {config.model}\n\n"
        "Scores explanations by what raters are expected to prefer. "
        f"Reads layers {', '.join(map(str, config.layers))} of {config.model} {config.revision}.\n\n"
        f"## Fitted on\n\n{files}\n\n## Numbers\n\n{numbers}\n"
    )


def in_words(fitted: Fitted) -> list[str]:
    right, matched = in_digits(fitted.accuracy), in_digits(fitted.length_matched)
    error = in_digits(fitted.reliability.error if fitted.reliability else None)
    surface = ", ".join(f"{name} {weight:+.2f}" for name, weight in fitted.surface.items())
    return [
        f"{fitted.judgements} judgements, {fitted.decided} of them decided, on {fitted.problems} problems",
        f"chosen by cross-validation over problems: {fitted.recipe}",
        f"on problems that were not fitted on: accuracy {right}, where lengths are within 15 % {matched}, "
        f"log-loss {fitted.log_loss:.3f} nats, calibration error {error}",
        f"weights of the surface numbers: {surface}",
    ]


def by_file(fitted: Fitted, pairs: Pairs, named: Sequence[str], sizes: Sequence[int]) -> list[str]:
    """Accuracy out of fold on each of several files."""
    if len(sizes) < 2:
        return []
    split = (
        torch.split(column, list(sizes)) for column in (fitted.difference, pairs.outcomes, length_matched(pairs))
    )
    return [
        f"of these, {Path(name.partition(':')[2]).name}: accuracy {in_digits(accuracy(d, o))}, "
        f"where lengths are within 15 % {in_digits(accuracy(d[near], o[near]))}"
        for name, d, o, near in zip(named, *split, strict=True)
    ]


def in_digits(share: float | None) -> str:
    return "-" if share is None else f"{share:.3f}"


if __name__ == "__main__":
    sys.exit(main())
