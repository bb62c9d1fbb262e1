"""Time the inverse pass beside a plain forward pass over the same tokens, in one run.

    python benchmarks/inverse_pass.py [--tokens 512] [--threads 1] [--json FILE]

The plain pass computes the same last hidden states and cache, and nothing else. Runs alternate, so that other load on
the machine hits both; the ratio is that of the fastest runs.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from transformers.cache_utils import DynamicCache

from inference.core import Answer, LanguageModel, Problem, ReasonSettings, Token, Trace, invert, resolve
from inference.core.steps import split_steps

GOAL = 1.5
ROOT = Path(__file__).resolve().parent.parent
LINE = "Step {number}: The shelf now holds {number} * 4 = {product} jars, so the next box goes below it.\n"


def trace_of(model: LanguageModel, length: int) -> Trace:
    """A trace of exactly `length` tokens: a short prompt and a chain of many steps, which is the costly case."""
    prompt, prompt_ids = model.encode_chat([{"role": "user", "content": "How many jars are there? Think in steps."}])
    lines = "".join(LINE.format(number=number, product=4 * number) for number in range(1, 1 + length // 20))
    ids = model.encode(lines)[: length - len(prompt_ids)]
    pieces = model.pieces(ids)
    tokens = tuple(Token(token, piece, -0.5, 0.5) for token, piece in zip(ids, pieces, strict=True))
    problem, answer = Problem("How many jars are there?", ("8", "12")), Answer(1, "12", "number")
    chain = "".join(pieces)
    return Trace(problem, prompt, prompt_ids, chain, tokens, split_steps(chain, pieces), answer, ReasonSettings())


def fastest(runs: int, *works: Callable[[], object]) -> list[float]:
    """Seconds of the fastest of `runs` runs of each work, after one run to warm up."""
    best = [float("inf")] * len(works)
    for run in range(runs + 1):
        for index, work in enumerate(works):
            started = time.perf_counter()
            work()
            if run:
                best[index] = min(best[index], time.perf_counter() - started)
    return best


def measure(model: LanguageModel, length: int, runs: int) -> dict[str, float | int | str]:
    trace = trace_of(model, length)
    ids = [*trace.prompt_ids, *(token.id for token in trace.tokens)]

    def plain() -> object:
        cache = DynamicCache(config=model.module.config)
        return model.forward(ids, past_key_values=cache, use_cache=True)

    seconds = fastest(runs, plain, lambda: invert(model, trace))
    return {
        "model": model.name,
        "dtype": model.dtype_name,
        "device": model.device,
        "threads": torch.get_num_threads(),
        "tokens": len(ids),
        "steps": len(trace.steps),
        "runs": runs,
        "plain_seconds": round(seconds[0], 4),
        "inverse_seconds": round(seconds[1], 4),
        "ratio": round(seconds[1] / seconds[0], 3),
        "goal": GOAL,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Time the inverse pass beside a plain forward pass.")
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--var", type=Path, default=ROOT / "var")
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--json", type=Path, help="write the numbers into this file")
    options = parser.parse_args()
    source = resolve(options.model, options.var, print)
    model = LanguageModel.load(source, dtype=options.dtype, device=options.device, threads=options.threads)
    found = measure(model, options.tokens, options.runs)
    print(f"{'pass':<10}{'seconds':>10}{'ratio':>8}")
    print(f"{'plain':<10}{found['plain_seconds']:>10}{1.0:>8}")
    print(f"{'inverse':<10}{found['inverse_seconds']:>10}{found['ratio']:>8}   goal: at most {GOAL}")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0 if float(found["ratio"]) <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
