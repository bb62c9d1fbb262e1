"""Trains a whole reward model by TRL and writes its score of every explanation.

    accelerate launch -m training.core.reward fit --pairs FORMAT:FILE … --out DIR [--lora] [--model …]
    python -m training.core.reward score --model DIR --texts FILE.jsonl > scores.jsonl

`fit` trains on the training problems only, and leaves in DIR the model or its adapters, `scores.jsonl` with
{"id", "score"} of every text in the files, and `reward.json` with settings and numbers. `score` is for other texts.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress

from inference.core.features import Text
from inference.core.weights import DEFAULT_MODEL, resolve
from training.core import formats
from training.core.data import held_out
from training.core.formats import PreferenceFile
from training.core.reward_model import FROZEN, FULL, LORA, Settings, load, rows_of, scores, trainer_of

SCORES, RECORD = "scores.jsonl", "reward.json"


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    try:
        options.run(options)
    except (OSError, ValueError) as error:
        raise SystemExit(f"{error}") from error


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = made.add_subparsers(required=True)
    fit = commands.add_parser("fit", help="train on pairs, then score their texts")
    fit.set_defaults(run=run_fit, part=FULL)
    fit.add_argument("--pairs", nargs="+", action="extend", required=True, metavar="FORMAT:FILE")
    fit.add_argument("--out", type=Path, required=True, help="a new folder")
    fit.add_argument("--model", default=DEFAULT_MODEL, help="folder, .gguf or hub name")
    fit.add_argument("--lora", dest="part", action="store_const", const=LORA, help="train adapters, not every weight")
    fit.add_argument("--frozen", dest="part", action="store_const", const=FROZEN, help="train only the output layer")
    fit.add_argument("--ties", choices=("drop", "split"), default="drop", help="split: each tie once each way round")
    fit.add_argument("--epochs", type=float, default=1.0)
    fit.add_argument("--steps", type=int, default=-1, help="stop after so many steps")
    fit.add_argument("--batch", type=int, default=8, help="pairs per step and process")
    fit.add_argument("--rate", type=float, default=0.0, help="learning rate; 0: by what is trained")
    fit.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=True, help="for devices without it")
    fit.add_argument("--seed", type=int, default=0)
    score = commands.add_parser("score", help="score texts with a trained model")
    score.set_defaults(run=run_score)
    score.add_argument("--model", type=Path, required=True, help="a folder that fit wrote")
    score.add_argument("--texts", type=Path, required=True, help='JSON lines {"id", "question", "answer", …}')
    for command in (fit, score):
        command.add_argument(
            "--longest", type=int, default=1024, help="tokens; longer pairs are left out and counted"
        )
    return made


def run_fit(options: argparse.Namespace) -> None:
    """On every process that accelerate launched; the first one writes."""
    from accelerate import PartialState

    state = PartialState(cpu=not torch.accelerator.is_available())
    file = formats.read(options.pairs)
    settings = settings_of(options)
    with new_folder(options.out, state.is_main_process) as folder:
        numbers = train(file, settings, options.ties == "split", folder)
        state.wait_for_everyone()
        if state.is_main_process:
            found = dict(scored(folder, file.texts, settings.longest))
            (folder / SCORES).write_text("".join(lines(found.items())))
            record = {"settings": asdict(settings), "ties": options.ties, **numbers, **held_out_numbers(file, found)}
            (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n")
            Console(stderr=True).print_json(data=record)
    state.destroy_process_group()  # a process that ends while its threads still wait for others aborts


def settings_of(options: argparse.Namespace) -> Settings:
    var = Path(os.environ.get("VAR_DIR", "var"))
    found = resolve(options.model, var, Console(stderr=True).print)
    model = str(found.resolve() if isinstance(found, Path) else found)  # adapters keep the name of their base model
    names = ("part", "epochs", "steps", "batch", "rate", "longest", "bf16", "seed")
    return Settings(model, **{name: getattr(options, name) for name in names})


def train(file: PreferenceFile, settings: Settings, split_ties: bool, folder: Path) -> dict[str, int]:
    rows = rows_of(file, testing=False, split_ties=split_ties)
    if not rows:
        raise ValueError("There is no decided pair on a training problem, so nothing can be learned.")
    trainer = trainer_of(settings, rows, folder)
    kept = len(trainer.train_dataset)
    if not kept:
        raise ValueError(f"All {len(rows)} pairs are longer than {settings.longest} tokens; raise --longest.")
    trainer.train()
    trainer.save_model(str(folder))
    (folder / "training_args.bin").unlink(missing_ok=True)  # a pickle, and reward.json says the same
    return {"rows": len(rows), "too_long": len(rows) - kept, "steps": trainer.state.global_step}


def held_out_numbers(file: PreferenceFile, found: dict[str, float]) -> dict[str, Any]:
    """Accuracy on the decided pairs of held-out problems; the gate says what it is worth."""
    pairs = [pair for pair in file.pairs if held_out(pair.problem) and pair.choice in ("first", "second")]
    right = sum((found[pair.first_id] > found[pair.second_id]) == (pair.choice == "first") for pair in pairs)
    return {"held_out_pairs": len(pairs), "held_out_accuracy": right / len(pairs) if pairs else None}


@contextmanager
def new_folder(path: Path, mine: bool) -> Iterator[Path]:
    """A folder beside `path` that takes its name at the end; of a failed or interrupted training nothing is left."""
    if path.exists():
        raise ValueError(f"{path} is there already; name a new folder.")
    partial = path.with_name(f".{path.name}.partial")
    if mine:
        shutil.rmtree(partial, ignore_errors=True)  # of a training that was killed
        partial.mkdir(parents=True)
    try:
        yield partial
        if mine:
            partial.rename(path)
    finally:
        if mine:
            shutil.rmtree(partial, ignore_errors=True)


def run_score(options: argparse.Namespace) -> None:
    texts = formats.read_texts(options.texts)
    sys.stdout.writelines(lines(scored(options.model, texts, options.longest)))


def scored(folder: Path, texts: Sequence[Text], longest: int) -> Iterator[tuple[str, float]]:
    """(id, score) of each text by the model in `folder`, with a bar on stderr."""
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("scoring", total=1.0)
        yield from scores(*load(folder), texts, longest, lambda _, share: bar.update(task, completed=share))


def lines(found: Iterable[tuple[str, float]]) -> Iterator[str]:
    yield from (json.dumps({"id": name, "score": score}) + "\n" for name, score in found)


if __name__ == "__main__":
    main()
