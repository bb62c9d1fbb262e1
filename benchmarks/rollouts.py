"""Time rollouts from many steps in one ragged batch beside the same rollouts made in plainer ways, in one run.

    python benchmarks/rollouts.py [--starts 4] [--rollouts 8] [--new 40] [--threads 1] [--json FILE]

Greedy, and each row of the same length, so that every way has the same work: 32 calls of Transformers' `generate` on
full prompts, one batch for each start, and all in one batch. The continuations have to be identical token for token.
Memory is the growth of the process's peak, each way in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from transformers.cache_utils import DynamicCache

from inference.core import LanguageModel, Start, resolve, roll
from inference.core.cache import PrefixCache
from inference.core.decode import Sampling, decode

GOAL = 8.0
ROOT = Path(__file__).resolve().parent.parent
LINE = "Step {number}: The shelf now holds {number} * 4 = {product} jars, so the next box goes below it.\n"
SHARES = (0.375, 0.554, 0.716, 0.902)  # of the text before each of the first four starts

Rows = list[list[list[int]]]
Way = Callable[[LanguageModel, PrefixCache, list[Start], int], Rows]


def never(new: object) -> bool:
    return False


def generate_calls(model: LanguageModel, prefix: PrefixCache, starts: list[Start], rows: int) -> Rows:
    return [[whole_call(model, start) for _ in range(rows)] for start in starts]


def whole_call(model: LanguageModel, start: Start) -> list[int]:
    prompt, new = torch.tensor([start.ids], device=model.device), start.sampling.max_new_tokens
    made = model.module.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=new,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    return made[0, len(start.ids) :].tolist()


def batch_per_start(model: LanguageModel, prefix: PrefixCache, starts: list[Start], rows: int) -> Rows:
    made = [
        decode(model.module, one.ids, rows=rows, sampling=one.sampling, finished=never, prefix=prefix)
        for one in starts
    ]
    return [[row.ids for row in group] for group in made]


def one_batch(model: LanguageModel, prefix: PrefixCache, starts: list[Start], rows: int) -> Rows:
    made = roll(model.module, starts, rows=rows, finished=never, prefix=prefix)
    return [[row.ids for row in group] for group in made]


WAYS: dict[str, Way] = {
    "generate calls on full prompts": generate_calls,
    "one batch for each start": batch_per_start,
    "all in one ragged batch": one_batch,
}


def prepared(options: argparse.Namespace) -> tuple[LanguageModel, PrefixCache, list[Start]]:
    source = resolve(options.model, options.var, print)
    model = LanguageModel.load(source, dtype=options.dtype, device=options.device, threads=options.threads)
    lines = "".join(LINE.format(number=n, product=4 * n) for n in range(1, 2 + options.tokens // 20))
    _, prompt = model.encode_chat([{"role": "user", "content": "How many jars are there? Think in steps."}])
    ids = (*prompt, *model.encode(lines))[: options.tokens]
    cache = DynamicCache(config=model.module.config)
    model.forward(ids, past_key_values=cache, use_cache=True)
    shares = [SHARES[at % 4] for at in range(options.starts)]
    starts = [Start(ids[: max(1, int(share * len(ids)))], Sampling(options.new)) for share in shares]
    return model, PrefixCache(ids, cache), starts


def measured(name: str, options: argparse.Namespace) -> tuple[float, float, Rows]:
    """Seconds of the fastest run, MiB that the peak grew by, and what was written."""
    model, prefix, starts = prepared(options)
    WAYS[name](model, prefix, starts[:1], 1)  # warm up
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = float("inf")
    for _ in range(options.runs):
        started = time.perf_counter()
        made = WAYS[name](model, prefix, starts, options.rollouts)
        seconds = min(seconds, time.perf_counter() - started)
    return seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, made


def main() -> int:
    parser = argparse.ArgumentParser(description="Time rollouts in one batch beside plainer ways.")
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--var", type=Path, default=ROOT / "var")
    parser.add_argument("--tokens", type=int, default=450, help="of the prefix that all starts share")
    parser.add_argument("--starts", type=int, default=4)
    parser.add_argument("--rollouts", type=int, default=8)
    parser.add_argument("--new", type=int, default=40, help="tokens of each rollout")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--json", type=Path, help="write the numbers into this file")
    options = parser.parse_args()
    found = {}
    for name in WAYS:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found[name] = pool.apply(measured, (name, options))
    slowest, _, expected = found["generate calls on full prompts"]
    same = all(made == expected for _, _, made in found.values())
    print(f"{'way':<34}{'seconds':>9}{'faster':>8}{'MiB':>7}")
    for name, (seconds, mebibytes, _) in found.items():
        print(f"{name:<34}{seconds:>9.2f}{slowest / seconds:>8.2f}{mebibytes:>7.0f}")
    ratio = slowest / found["all in one ragged batch"][0]
    print(f"identical continuations: {same}; goal: at least {GOAL:.0f} times as fast, identical")
    if options.json:
        figures = {name: {"seconds": seconds, "mebibytes": size} for name, (seconds, size, _) in found.items()}
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"ways": figures, "ratio": ratio, "identical": same}, indent=1) + "\n")
    return 0 if same and ratio >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
