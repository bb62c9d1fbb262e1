"""A model of 4 billion parameters on a GPU: tokens a second, what inversion costs, rollouts a second, peak memory.

    python benchmarks/gpu.py [--tokens 1024] [--runs 5] [--json FILE]
    python benchmarks/gpu.py --small

Needs torch and Transformers alone: the weights are random, since speed does not depend on them, and the trace is made
of random tokens. `--small` is a tiny configuration on the CPU, which shows that the script works and nothing else.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM
from transformers.cache_utils import DynamicCache

from inference.core import Answer, LanguageModel, Problem, ReasonSettings, Start, Token, Trace, invert, roll
from inference.core.decode import Sampling
from inference.core.steps import split_steps

LARGE = {  # as in Qwen3-4B: 4.0 billion parameters
    "num_hidden_layers": 36,
    "hidden_size": 2560,
    "intermediate_size": 9728,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151936,
}
SMALL = {
    "num_hidden_layers": 2,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "vocab_size": 512,
}
PROMPT, STEP = 64, 24  # tokens of the prompt and of each step
STARTS, ROWS, NEW = 4, 8, 40


class NoTokenizer:
    """Stands where a tokenizer is asked for; no text goes in or out here."""

    chat_template = ""
    eos_token_id = None


def random_module(shape: dict[str, int], device: str, dtype: torch.dtype) -> torch.nn.Module:
    torch.manual_seed(1)
    with torch.device(device):
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        module = Qwen3ForCausalLM(Qwen3Config(**shape, max_position_embeddings=32768, tie_word_embeddings=True))
        torch.set_default_dtype(before)
    return module


def random_trace(vocabulary: int, length: int) -> Trace:
    """`length` tokens: a prompt, and a chain whose steps are lines."""
    draw = random.Random(1)
    ids = [draw.randrange(vocabulary) for _ in range(length)]
    pieces = [".\n" if at % STEP == STEP - 1 else " word" for at in range(length - PROMPT)]
    tokens = tuple(Token(token, piece, -0.5, 0.5) for token, piece in zip(ids[PROMPT:], pieces, strict=True))
    chain = "".join(pieces)
    problem, answer = Problem("", ("yes", "no")), Answer(0, "yes", "stated value")
    steps = split_steps(chain, pieces)
    return Trace(problem, "", tuple(ids[:PROMPT]), chain, tokens, steps, answer, ReasonSettings())


def timed(device: str, runs: int, works: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Seconds of each run of each work, in turns, after one of each to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for run in range(runs + 1):
        for name, work in works.items():
            settle(device)
            started = time.perf_counter()
            work()
            settle(device)
            if run:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def settle(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def peak(device: str, work: Callable[[], object]) -> float:
    """MiB at most in use while `work` runs, the weights included; on the CPU of the whole process so far."""
    if device != "cuda":
        work()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    work()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() / 2**20


def rollouts(model: LanguageModel, starts: list[Start], rows: int, prefix: Any) -> object:
    return roll(model.module, starts, rows=rows, finished=lambda new: False, prefix=prefix)


def works(model: LanguageModel, trace: Trace, new: int) -> dict[str, Callable[[], object]]:
    ids = (*trace.prompt_ids, *(token.id for token in trace.tokens))
    prefix = invert(model, trace).prefix
    places = [len(ids) * (2 * at + 1) // (2 * STARTS) for at in range(STARTS)]
    starts = [Start(ids[:place], Sampling(new, temperature=0.7, top_p=0.95, seed=place)) for place in places]
    whole = [Start(ids, Sampling(new))]
    return {
        "plain": lambda: model.forward(ids, past_key_values=DynamicCache(config=model.module.config), use_cache=True),
        "invert": lambda: invert(model, trace),
        "decode 1 row": lambda: rollouts(model, whole, 1, prefix),
        "decode 32 rows": lambda: rollouts(model, whole, 32, prefix),
        "rollouts": lambda: rollouts(model, starts, ROWS, prefix),
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    device, dtype = ("cpu", torch.float32) if options.small else ("cuda", torch.bfloat16)
    module = random_module(SMALL if options.small else LARGE, device, dtype)
    parameters = sum(one.numel() for one in module.parameters())
    model = LanguageModel(module, NoTokenizer(), "random weights")
    made = works(model, random_trace(model.module.config.vocab_size, options.tokens), options.new)
    seconds = timed(device, options.runs, made)
    best = {name: min(runs) for name, runs in seconds.items()}
    pairs = zip(seconds["invert"], seconds["plain"], strict=True)
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else "CPU",
        "dtype": model.dtype_name,
        "parameters": parameters,
        "tokens": options.tokens,
        "runs": options.runs,
        "plain_seconds": best["plain"],
        "read_tokens_per_second": options.tokens / best["plain"],
        "invert_to_plain": best["invert"] / best["plain"],
        "invert_to_plain_median": statistics.median(one / other for one, other in pairs),
        "written_tokens_per_second_1_row": options.new / best["decode 1 row"],
        "written_tokens_per_second_32_rows": 32 * options.new / best["decode 32 rows"],
        "rollouts_per_second": STARTS * ROWS / best["rollouts"],
        "peak_mebibytes": {name: peak(device, made[name]) for name in ("plain", "invert", "rollouts")},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a tiny configuration on the CPU")
    parser.add_argument("--tokens", type=int, default=1024, help="of the trace, prompt included")
    parser.add_argument("--new", type=int, default=NEW, help="tokens of each rollout")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the numbers into this file")
    options = parser.parse_args()
    if options.tokens < PROMPT + 2 * STEP or options.new < 1 or options.runs < 1:
        parser.error(f"--tokens is at least {PROMPT + 2 * STEP}, --new and --runs at least 1")
    if not options.small and not torch.cuda.is_available():
        print(
            "No GPU that PyTorch can use was found, and on a CPU 4 billion parameters would say nothing. "
            "Run this on a machine with a CUDA GPU of at least 16 GiB, or try the script itself with --small.",
            file=sys.stderr,
        )
        return 2
    found = measure(options)
    for name, value in found.items():
        print(f"{name:<36}{json.dumps(value)}")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
