"""Retraining the head beside TRL's RewardTrainer: seconds and held-out accuracy on the same pairs, in one run.

    python benchmarks/retrain.py [--pairs FORMAT:FILE ...] [--limit 10000] [--threads 1] [--json FILE]

Both sides get the same base model, the same pairs on training problems, and the same held-out problems. Retraining is
timed with the features in the cache: reading them, cross-validation, all fits and the gate. TRL is timed for one
epoch of its linear output layer on the frozen base model, without loading and tokenizing. It gets what makes it fast:
the base model in bfloat16 and without gradients, and pairs grouped by length. It has no cache and reads every pair
anew; how long it took to fill the cache is said beside.

Without --pairs a rater with a known taste judges generated explanations of generated problems.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from rich.console import Console
from rich.progress import Progress

from inference.core import LanguageModel, resolve
from inference.core.feature_cache import FeatureCache
from inference.core.features import Text, head_config
from inference.core.head import Head
from inference.core.weights import DEFAULT_MODEL
from training.core import formats
from training.core.data import held_out, pairs_of, split
from training.core.fit import Tell, fit_head
from training.core.formats import Pair, PreferenceFile
from training.core.gate import judge_head
from training.core.reward_model import FROZEN, Settings, rows_of, scores, tokenizer_of, trainer_of

ROOT = Path(__file__).resolve().parent.parent
GOAL_SECONDS, GOAL_TIMES = 10.0, 50.0
PROBLEMS, TEXTS_EACH = 400, 8
GOODS = ("pens", "apples", "cups", "stamps", "candles", "nails", "postcards", "lamps")
PARTS = {  # what an explanation may say, and how much the rater likes it
    "{a} boxes of {b} make {whole}, and giving {c} away leaves {left}.": 2.0,
    "Adding {c} to {left} gives {whole} again, which confirms it.": 1.0,
    "The other options do not fit what is asked.": 0.3,
    "The question talks about a shop and its {goods}.": -0.3,
    "It is hard to say for sure.": -1.0,
}
TIES = 0.4  # Davidson's nu of the rater


def planted(seed: int = 0) -> PreferenceFile:
    """Pairs of generated explanations, judged by Davidson's model of a rater who likes some of the PARTS more."""
    draw = random.Random(seed)
    texts, pairs = [], []
    for problem in range(PROBLEMS):
        numbers = {"a": draw.randint(3, 9), "b": draw.randint(4, 12), "c": draw.randint(2, 9)}
        here = [explained(draw, f"{problem}/{i}", numbers) for i in range(TEXTS_EACH)]
        texts += [text for text, _ in here]
        both = [(one, other) for i, one in enumerate(here) for other in here[:i]]
        pairs += [judged(draw, f"generated/{problem}", *pair) for pair in both]
    return PreferenceFile(tuple(texts), tuple(pairs))


def explained(draw: random.Random, name: str, numbers: dict[str, int]) -> tuple[Text, float]:
    """An explanation of some of the PARTS, and how much the rater likes it."""
    whole = numbers["a"] * numbers["b"]
    words = {**numbers, "whole": whole, "left": whole - numbers["c"], "goods": draw.choice(GOODS)}
    parts = draw.sample(sorted(PARTS), draw.randint(1, 4))
    question = "A shop has {a} boxes of {b} {goods} and gives {c} away. How many are left?".format(**words)
    text = Text(name, question, str(words["left"]), " ".join(parts).format(**words))
    return text, sum(PARTS[part] for part in parts)


def judged(draw: random.Random, problem: str, one: tuple[Text, float], other: tuple[Text, float]) -> Pair:
    difference = one[1] - other[1]
    odds = (math.exp(difference / 2), math.exp(-difference / 2), TIES)
    choice = draw.choices(("first", "second", "tie"), odds)[0]
    return Pair(first_id=one[0].id, second_id=other[0].id, choice=choice, problem=problem)


def limited(file: PreferenceFile, limit: int) -> PreferenceFile:
    """`limit` of the pairs, drawn at random but always the same, with their texts."""
    pairs = random.Random(0).sample(file.pairs, min(limit, len(file.pairs)))
    used = {name for pair in pairs for name in (pair.first_id, pair.second_id)}
    return PreferenceFile(tuple(text for text in file.texts if text.id in used), tuple(pairs))


@contextmanager
def bar(what: str) -> Iterator[Tell]:
    """Progress on stderr."""
    with Progress(console=Console(stderr=True)) as shown:
        task = shown.add_task(what, total=1.0)
        yield lambda said, share: shown.update(task, description=said, completed=share)


def measure_head(file: PreferenceFile, folder: str) -> dict[str, Any]:
    """Fills a cache, then retrains from it, up to the gate's verdict against the untrained head."""
    model = LanguageModel.load(folder, dtype="bfloat16", name=DEFAULT_MODEL)
    config, testing = head_config(model), [held_out(pair.problem) for pair in file.pairs]
    with tempfile.TemporaryDirectory() as place:
        cache = FeatureCache(Path(place), config)
        started = time.perf_counter()
        with bar("reading explanations") as tell:
            cache.features(model, file.texts, tell)
        filled = time.perf_counter() - started
        started = time.perf_counter()
        with bar("retraining") as tell:
            training, unseen = split(pairs_of(cache.features(None, file.texts), file.judged()), testing)
            head = fit_head(training, config, tell=tell).head
            report = judge_head(head, Head(config), unseen)
        seconds = time.perf_counter() - started
        found = head.score(cache.features(None, file.texts)).tolist()
    by_name = {text.id: score for text, score in zip(file.texts, found, strict=True)}
    numbers = {"seconds": seconds, "pairs": len(training), "accuracy": accuracy(file, by_name)}
    return {**numbers, "filling_the_cache_seconds": filled, "texts": len(file.texts), "verdict": report.verdict}


def measure_trl(file: PreferenceFile, folder: str) -> dict[str, Any]:
    """One epoch of TRL's RewardTrainer on the frozen base model, then its scores of the held-out texts."""
    settings = Settings(folder, FROZEN, longest=4096)
    rows = rows_of(file, testing=False)
    with tempfile.TemporaryDirectory() as out:
        trainer = trainer_of(settings, rows, Path(out))
        started = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - started
    model, tokenizer = trainer.model.eval(), tokenizer_of(folder)
    with bar("scoring with TRL's model") as tell, torch.autocast("cpu", torch.bfloat16):
        by_name = dict(scores(model, tokenizer, testing_texts(file), settings.longest, tell))
    return {"seconds": seconds, "pairs": len(rows), "accuracy": accuracy(file, by_name)}


def testing_texts(file: PreferenceFile) -> list[Text]:
    used = {name for pair in file.pairs if held_out(pair.problem) for name in (pair.first_id, pair.second_id)}
    return [text for text in file.texts if text.id in used]


def accuracy(file: PreferenceFile, found: dict[str, float]) -> float:
    """Share of decided held-out pairs whose preferred explanation has the higher score."""
    pairs = [pair for pair in file.pairs if held_out(pair.problem) and pair.choice in ("first", "second")]
    right = [(found[pair.first_id] > found[pair.second_id]) == (pair.choice == "first") for pair in pairs]
    return sum(right) / len(right)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    given = formats.read(options.pairs) if options.pairs else planted()
    file = limited(given, options.limit)
    folder = str(resolve(DEFAULT_MODEL, ROOT / "var", print))
    head, trl = measure_head(file, folder), measure_trl(file, folder)
    held = [pair for pair in file.pairs if held_out(pair.problem)]
    return {
        "pairs": len(file.pairs),
        "held_out_pairs": len(held),
        "held_out_decided": sum(pair.choice in ("first", "second") for pair in held),
        "threads": options.threads,
        "head": head,
        "trl": trl,
        "times": trl["seconds"] / head["seconds"],
        "goals": {"seconds": GOAL_SECONDS, "times": GOAL_TIMES},
    }


def report(found: dict[str, Any]) -> None:
    head, trl = found["head"], found["trl"]
    print(f"{found['pairs']:,} pairs, {found['held_out_pairs']:,} of them on held-out problems")
    print(f"{'':<28}{'seconds':>10}{'held-out accuracy':>20}")
    print(f"{'retrain, warm cache':<28}{head['seconds']:>10.1f}{head['accuracy']:>20.3f}")
    print(f"{'TRL RewardTrainer, 1 epoch':<28}{trl['seconds']:>10.1f}{trl['accuracy']:>20.3f}")
    print(
        f"TRL took {found['times']:.0f} times as long; goals: at most {GOAL_SECONDS:.0f} s, {GOAL_TIMES:.0f} times, "
    )
    print("and no lower accuracy. ", end="")
    print(f"The cache of {head['texts']:,} texts had been filled in {head['filling_the_cache_seconds']:.0f} s.")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", nargs="+", metavar="FORMAT:FILE")
    parser.add_argument("--limit", type=int, default=10_000, help="pairs that both sides get")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    found = measure(options)
    report(found)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    fast = found["head"]["seconds"] <= GOAL_SECONDS and found["times"] >= GOAL_TIMES
    return 0 if fast and found["head"]["accuracy"] >= found["trl"]["accuracy"] else 1


if __name__ == "__main__":
    sys.exit(main())
