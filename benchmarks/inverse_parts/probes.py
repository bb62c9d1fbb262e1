"""Each probe of all steps beside one plain forward pass, and all stages of the inverse pass together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from inference.core import (
    Inversion,
    LanguageModel,
    Trace,
    answer_trajectory,
    direct_suppression,
    gradient_times_input,
    invert,
    roll,
)
from inference.core.decode import Sampling
from inference.core.spans import token_ids
from inverse_parts.chain import built_trace
from inverse_parts.clock import in_turns
from inverse_parts.passes import PLAIN, plain
from inverse_parts.rollouts import ROWS, STARTS, never, spread
from inverse_parts.table import Row

Probe = Callable[..., Any]

PROBES: dict[str, tuple[Probe, float]] = {
    "direct suppression of every step": (direct_suppression, 1.6),
    "trajectory, every cut and option": (answer_trajectory, 2.0),
    "gradient x input": (gradient_times_input, 2.5),
}
MOST_WHOLE, MOST_WITH_ROLLOUTS = 5.0, 15.0
NEW = 40


def measure(model: LanguageModel, options: Any) -> list[Row]:
    """From nothing, which the goals are about, and from the keys and values that the inverse pass leaves behind."""
    trace = built_trace(model, options.steps)
    prefix = invert(model, trace).prefix
    works: dict[str, Callable[[], object]] = {PLAIN: lambda: plain(model, token_ids(trace))}
    for name, (probe, _) in PROBES.items():
        works[name] = lambda probe=probe: probe(model, trace)  # type: ignore[misc]
        works[f"{name}, after invert"] = lambda probe=probe: probe(model, trace, prefix)  # type: ignore[misc]
    timed = in_turns(options.runs, works)
    rows = []
    for name, (_, most) in PROBES.items():
        rows.append(Row(name, timed.ratio(name, PLAIN), "x", most=most, detail=timed.both(name, PLAIN)))
        after = f"{name}, after invert"
        rows.append(Row(after, timed.ratio(after, PLAIN), "x", detail=timed.both(after, PLAIN)))
    return rows


def whole(model: LanguageModel, options: Any) -> list[Row]:
    trace = built_trace(model, options.steps)
    works: dict[str, Callable[[], object]] = {
        PLAIN: lambda: plain(model, token_ids(trace)),
        "without": lambda: all_stages(model, trace),
        "with": lambda: rolled(model, trace, all_stages(model, trace), options.new),
    }
    timed = in_turns(options.runs, works)
    size = f"{len(token_ids(trace))} tokens, {len(trace.steps)} steps"
    names = {
        "without": (f"whole inverse pass, {size}", MOST_WHOLE),
        "with": (f"the same with {STARTS * ROWS} rollouts of {options.new} tokens", MOST_WITH_ROLLOUTS),
    }
    return [
        Row(what, timed.ratio(name, PLAIN), "x", most=most, detail=timed.both(name, PLAIN))
        for name, (what, most) in names.items()
    ]


def all_stages(model: LanguageModel, trace: Trace) -> Inversion:
    """Every signal that needs no rollout, as they follow each other: the first pass lends its keys and values."""
    inversion = invert(model, trace)
    for probe, _ in PROBES.values():
        probe(model, trace, inversion.prefix)
    return inversion


def rolled(model: LanguageModel, trace: Trace, inversion: Inversion, new: int) -> object:
    """Rollouts from steps spread over the chain, sampled as the causal test does, all of full length."""
    settings = trace.settings
    starts = spread(trace, lambda place: Sampling(new, settings.temperature, settings.top_p, place))
    return roll(model.module, starts, rows=ROWS, finished=never, prefix=inversion.prefix)
