"""Peers on the same model and chain: each in a process of its own, ours timed right before and right after it."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from inference.core import (
    LanguageModel,
    Trace,
    answer_trajectory,
    direct_suppression,
    gradient_times_input,
    invert,
    resolve,
)
from inference.core.spans import answer_span, step_spans, token_ids
from inverse_parts import naive
from inverse_parts.chain import built_trace
from inverse_parts.clock import in_turns
from inverse_parts.table import Row, farthest, spearman

SCRIPT = Path(__file__).with_name("peer.py")
LEAST_NAIVE = 15.0


@dataclass(frozen=True)
class Match:
    """What of ours stands beside a peer. `own` gives our values, one for each step, to compare with the peer's."""

    work: Callable[[LanguageModel, Trace], object]
    own: Callable[[LanguageModel, Trace], Tensor]
    compared: str
    least: float
    runs: int


def attention_to_steps(model: LanguageModel, trace: Trace) -> Tensor:
    """Mean attention over layers and heads from the token that predicts the answer to each step: [S]."""
    inversion = invert(model, trace)
    row = inversion.flow.mean(0)[inversion.segments.answer]
    shares = row.new_zeros(len(trace.steps))
    for segment, step in enumerate(inversion.segments.step_of):
        if step >= 0:
            shares[step] += row[segment]
    return shares


MATCHES = {
    "inseq attention": Match(invert, attention_to_steps, "answer's attention to each step", 1.5, 2),
    "inseq input x gradient": Match(gradient_times_input, gradient_times_input, "each step's value", 4.0, 2),
    "captum ablation": Match(direct_suppression, naive.leave_one_out, "own leave-one-out", 60.0, 1),
}


def measure(model: LanguageModel, options: Any) -> Iterator[Row]:
    """Row by row, because it takes minutes."""
    trace = built_trace(model, options.steps)
    yield from against_naive(model, trace, options)
    if options.peers_python is None:
        print(f"not measured, for want of --peers-python: {', '.join(MATCHES)}", flush=True)
        return
    for name, match in MATCHES.items():
        yield from against(name, match, model, trace, options)


def against_naive(model: LanguageModel, trace: Trace, options: Any) -> list[Row]:
    scores: dict[str, Tensor] = {}

    def keep(name: str, made: Tensor) -> None:
        scores[name] = made

    ours = in_turns(options.runs, {"ours": lambda: keep("ours", answer_trajectory(model, trace).scores)})
    theirs = in_turns(1, {"naive": lambda: keep("naive", naive.trajectory(model, trace))}, warm=0)
    ratio = theirs.fastest("naive") / ours.fastest("ours")
    away = float((scores["ours"] - scores["naive"]).abs().max())
    detail = f"{ours.fastest('ours'):.2f} s to {theirs.fastest('naive'):.2f} s, {scores['ours'].numel()} passes"
    return [
        Row("trajectory, to one forward per cut and option", ratio, "x", least=LEAST_NAIVE, detail=detail),
        Row("  largest difference of a log-probability", away, "nats", most=1e-3),
    ]


def against(name: str, match: Match, model: LanguageModel, trace: Trace, options: Any) -> list[Row]:
    before = in_turns(options.runs, {"ours": lambda: match.work(model, trace)})
    found = run(name, match.runs, model, trace, options)
    after = in_turns(options.runs, {"ours": lambda: match.work(model, trace)})
    ours, theirs = min(before.fastest("ours"), after.fastest("ours")), min(found["seconds"])
    mine, values = match.own(model, trace).tolist(), found["values"]
    shared = min(len(mine), len(values))  # the step that states the answer is no feature of captum's
    versions = found["versions"]
    package = name.split(maxsplit=1)[0]
    answer = answer_span(trace)
    detail = (
        f"{ours:.2f} s to {theirs:.2f} s, best of {match.runs}, {answer.end - answer.start} answer tokens, "
        f"{package} {versions[package]}"
    )
    apart = farthest(mine[:shared], values[:shared])
    agreed = spearman(mine[:shared], values[:shared])
    return [
        Row(f"{match.work.__name__}, to {name}", theirs / ours, "x", least=match.least, detail=detail),
        Row(f"  {match.compared}: rank correlation", agreed, "", detail=f"largest difference {apart:.2g}"),
        *suppression_rank(name, model, trace, values),
    ]


def suppression_rank(name: str, model: LanguageModel, trace: Trace, values: list[float]) -> list[Row]:
    """Ablation takes a step away from all that follows, suppression from the answer: near, but not the same."""
    if name != "captum ablation":
        return []
    direct = direct_suppression(model, trace).tolist()[: len(values)]
    return [Row("  direct suppression and ablation: rank correlation", spearman(direct, values), "")]


def run(name: str, runs: int, model: LanguageModel, trace: Trace, options: Any) -> dict[str, Any]:
    ids, answer, spans = token_ids(trace), answer_span(trace), step_spans(trace)
    given = {
        "model": str(resolve(options.model, options.var, print)),
        "threads": options.threads,
        "runs": runs,
        "prompt": trace.prompt,
        "text": trace.prompt + trace.chain,
        "spans": spans,
        "steps": [model.decode(ids[start:end]) for start, end in spans[:-1]],
        "cue": model.decode(ids[spans[-1][0] : answer.start]),
        "start": answer.start,
        "end": answer.end,
        "value_ids": ids[answer.start : answer.end],
    }
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "given.json"), Path(folder, "found.json")
        source.write_text(json.dumps(given))
        command = [str(options.peers_python), "-W", "ignore", str(SCRIPT), name, str(source), str(target)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{name} failed:\n{done.stdout[-3000:]}")
        found: dict[str, Any] = json.loads(target.read_text())
        return found
