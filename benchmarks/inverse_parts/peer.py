"""One peer's run, in its own interpreter: `python peer.py NAME GIVEN.json FOUND.json`. Knows nothing of this project.

GIVEN holds the model's folder, the text, and the token spans of its steps; FOUND gets the seconds of every run, one
value for each step, and the versions.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

Run = Callable[[], list[float]]


def inseq_model(given: dict[str, Any], method: str) -> Any:
    import inseq

    return inseq.load_model(given["model"], method, device="cpu")


def inseq_attributed(model: Any, given: dict[str, Any], **options: Any) -> Any:
    """What inseq gives for the answer's tokens: target_attributions [tokens of the text, answer tokens, ...]."""
    found = model.attribute(
        input_texts=given["prompt"],
        generated_texts=given["text"],
        attr_pos_start=given["start"],
        attr_pos_end=given["end"],
        show_progress=False,
        **options,
    ).sequence_attributions[0]
    size = len(found.target)
    if size != given["end"]:
        raise SystemExit(f"inseq sees {size} tokens, and the text has {given['end']}: the spans do not match")
    return found


def inseq_attention(given: dict[str, Any]) -> Run:
    model = inseq_model(given, "attention")

    def run() -> list[float]:
        maps = inseq_attributed(model, given).target_attributions  # [tokens, answer tokens, layers, heads]
        return by_step(maps[:, 0].nan_to_num().flatten(1).mean(1), given)  # NaN where a token cannot look

    return run


def inseq_input_x_gradient(given: dict[str, Any]) -> Run:
    model = inseq_model(given, "input_x_gradient")

    def run() -> list[float]:
        # Of the probability p, inseq's default: what it calls crossentropy it cannot attribute. d log p = dp / p.
        found = inseq_attributed(model, given, step_scores=["probability"])
        values = found.target_attributions.sum(-1).nan_to_num() / found.step_scores["probability"]
        return by_step(values.sum(1), given)

    return run


def captum_ablation(given: dict[str, Any]) -> Run:
    from captum.attr import FeatureAblation, LLMAttribution, TextTemplateInput
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(given["model"])
    model = AutoModelForCausalLM.from_pretrained(given["model"], dtype=torch.float32).eval()
    method = LLMAttribution(FeatureAblation(model), tokenizer)
    steps = given["steps"]
    template = given["prompt"] + "{}" * len(steps) + given["cue"]
    asked = TextTemplateInput(template, values=steps, baselines=[""] * len(steps))

    def run() -> list[float]:
        found = method.attribute(asked, target=torch.tensor(given["value_ids"]), use_cached_outputs=False)
        return found.seq_attr.flatten().tolist()

    return run


def by_step(values: torch.Tensor, given: dict[str, Any]) -> list[float]:
    return [float(values[start:end].sum()) for start, end in given["spans"]]


PEERS: dict[str, Callable[[dict[str, Any]], Run]] = {
    "inseq attention": inseq_attention,
    "inseq input x gradient": inseq_input_x_gradient,
    "captum ablation": captum_ablation,
}


def main() -> None:
    name, source, target = sys.argv[1:]
    given = json.loads(Path(source).read_text())
    torch.set_num_threads(given["threads"])
    run, seconds, values = PEERS[name](given), [], []
    for _ in range(given["runs"]):
        started = time.perf_counter()
        values = run()
        seconds.append(time.perf_counter() - started)
    packages = {package: version(package) for package in ("inseq", "captum", "torch", "transformers")}
    Path(target).write_text(json.dumps({"seconds": seconds, "values": values, "versions": packages}))


if __name__ == "__main__":
    main()
