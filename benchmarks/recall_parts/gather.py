"""What the model has to do: the chain, the signals of its steps, and R continuations from every boundary of steps."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from torch import Tensor

from inference.core import LanguageModel, LimitError, Problem, ReasoningError, ReasonSettings, Trace, invert, reason
from inference.core.inversion import Inversion
from inference.core.problem_files import ParsedProblem, guess_format, scan
from inference.core.ranking import probed
from inference.core.reasoning import ends, worked_examples
from inference.core.resampling import start_of
from inference.core.roles import choices
from inference.core.step_features import step_features
from recall_parts.work import Continuation, Worked, WorkFile

SEEDS = 4  # tried in turn, greedy first, until a chain states an answer

Named = tuple[str, ParsedProblem]


def problems_of(paths: Sequence[Path]) -> list[list[Named]]:
    """The usable lines of each file, with names that tell the files apart."""
    return [
        [(f"{path.stem}/{problem.key}", problem) for problem in scan(path, guess_format(path)).problems]
        for path in paths
    ]


def gather(model: LanguageModel, files: Sequence[Sequence[Named]], limit: int, rollouts: int, work: WorkFile) -> None:
    """Bring into `work` the first `limit` problems of each file that have a step to test, a file's turn at a time."""
    columns = [wanted(file, limit, work) for file in files]
    for row in zip_longest(*columns):
        for named in row:
            if named is not None:
                work.append(worked(model, *named, rollouts))
                told(work.known[named[0]])


def wanted(file: Sequence[Named], limit: int, work: WorkFile) -> Iterator[Named | None]:
    """What is missing of the file's first `limit` usable problems; None where the next one is known already.

    Asks for the next only after the one before is in the work file, where it is seen whether that was usable.
    """
    usable = 0
    for name, problem in file:
        if usable == limit:
            return
        yield None if name in work.known else (name, problem)
        usable += not work.known[name].failure


def worked(model: LanguageModel, name: str, problem: ParsedProblem, rollouts: int) -> Worked:
    """One problem; a chain that cannot be used becomes a `failure`, which other problems go on after."""
    started = time.monotonic()
    try:
        made = measured(model, name, chain(model, Problem(problem.question, problem.options, problem.asks)), rollouts)
    except (ReasoningError, LimitError) as error:
        made = Worked(name, failure=str(error))
    return replace(made, seconds=time.monotonic() - started)


def chain(model: LanguageModel, problem: Problem) -> Trace:
    """Greedy, else with the first seed that comes to an answer. Raises the last seed's ReasoningError."""
    for seed in range(SEEDS - 1):
        try:
            return reason(model, problem, ReasonSettings(seed=seed))
        except ReasoningError:
            continue
    return reason(model, problem, ReasonSettings(seed=SEEDS - 1))


def measured(model: LanguageModel, name: str, trace: Trace, rollouts: int) -> Worked:
    if not tested(trace):
        return Worked(name, failure="No step stands before the one that states the answer.")
    inversion = inverted(model, trace)
    starts = boundaries(trace)
    made = model.generate_many(
        [start_of(model, trace, start, seed=0) for start in starts],
        rows=rollouts,
        stop=ends,
        options=trace.problem.options,
        prefix=inversion.prefix,
    )
    written = {
        start: [Continuation("".join(token.text for token in row), len(row)) for row in rows]
        for start, rows in zip(starts, made, strict=True)
    }
    return Worked(name, trace, inversion.signals, features_of(inversion), written)


def inverted(model: LanguageModel, trace: Trace) -> Inversion:
    """With the signals of the probes."""
    inversion = invert(model, trace, prefix=worked_examples(model, trace.problem.asks))
    return replace(inversion, signals=probed(model, trace, inversion))


def remeasured(model: LanguageModel, one: Worked) -> Worked:
    """The same with signals and features measured anew, for where these have become others since."""
    if one.trace is None:
        return one
    inversion = inverted(model, one.trace)
    return replace(one, signals=inversion.signals, features=features_of(inversion))


def features_of(inversion: Inversion) -> Tensor:
    """[S, F] float32, what a head reads of each step."""
    return step_features(inversion.step_states, inversion.signals)


def tested(trace: Trace) -> list[int]:
    """The steps that can be tested: all but the one that only states the answer."""
    return choices([step.text for step in trace.steps])


def boundaries(trace: Trace) -> list[int]:
    """Where continuations begin, as numbers of the chain's tokens: before and behind every step that is tested."""
    return sorted({at for step in tested(trace) for at in (trace.steps[step].token_start, behind(trace, step))})


def behind(trace: Trace, step: int) -> int:
    """Where the next step begins. White space behind a step goes with it, so that neighbours share a boundary."""
    return trace.steps[step + 1].token_start if step + 1 < len(trace.steps) else trace.steps[step].token_end


def told(one: Worked) -> None:
    steps = f"{len(tested(one.trace))} steps" if one.trace else f"left out: {one.failure[:80]!r}"
    print(f"{one.name:<50} {steps:<14} {one.seconds:6.1f} s", flush=True)


def settings(options: Any, model: LanguageModel) -> dict[str, Any]:
    """What decides what is written: a file made with others is not gone on with."""
    return {"model": model.name, "dtype": model.dtype_name, "rollouts": options.rollouts}
