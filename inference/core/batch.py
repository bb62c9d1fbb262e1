"""Explain the problems of a file one after the other: the loop behind both `explain` commands."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from inference.core.api import api_provenance, explain_api
from inference.core.attention_report import explain_attention
from inference.core.conversation import Conversation
from inference.core.endpoint import Endpoint
from inference.core.head import Head
from inference.core.inverse import InverseSettings, explain_inverse
from inference.core.kept import Kept, KeptFile, check_own
from inference.core.language_model import LanguageModel
from inference.core.limits import LimitError
from inference.core.out_file import SCHEMA, OutFile, StandardOut
from inference.core.problem_files import ParsedProblem, ProblemFileError, guess_format, scan
from inference.core.provenance import provenance
from inference.core.reasoning import reason, silent
from inference.core.recipe import Recipe
from inference.core.records import Problem, Progress, ReasoningError, ReasonSettings, Trace
from inference.core.self_explanation import self_explain
from inference.core.similarity import loaded

INTERRUPTED = 130  # exit status, as shells have it for Ctrl-C


@dataclass(frozen=True)
class Batch:
    """What to explain and how. Without `out` lines go to standard output; `about` joins each line's provenance.

    `limit` takes the first so many usable problems, `again` tries the next seed for those that failed before.
    """

    problems: Path
    recipe: Recipe
    out: Path | None = None
    limit: int | None = None
    again: bool = False
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit is {self.limit}; allowed is 1 or more. Leave it out to take all problems.")
        if self.again and self.out is None:
            raise ValueError("again needs an out file: it tries anew what failed in that file.")


@dataclass
class Tally:
    """How a run went, in problems; `before` are those of `explained` and `failed` that an earlier run made."""

    wanted: int
    before: int = 0
    explained: int = 0
    failed: int = 0
    interrupted: bool = False

    def count(self, line: Mapping[str, Any]) -> None:
        if line["error"] is None:
            self.explained += 1
        else:
            self.failed += 1

    def __str__(self) -> str:
        text = f"{self.explained} of {self.wanted} problems explained, {self.failed} failed"
        text += f"; {self.before} of these were in the file before." if self.before else "."
        text += (
            " The lines of those that failed say why; --again tries the next seed for them." if self.failed else ""
        )
        return f"Interrupted. {text} The same command goes on from here." if self.interrupted else text

    @property
    def status(self) -> int:
        return INTERRUPTED if self.interrupted else 0


Loaded = tuple[LanguageModel | Endpoint, Head | None]
"""What explains: a model, or for method api a server; and the head, or None where the method needs none."""


def explain_file(batch: Batch, load: Callable[[], Loaded], console: Console) -> Tally:
    """Explain what is not in the out file yet. `load` is called only if there is anything.

    `console` gets the bar and remarks. An interruption (Ctrl-C) ends the run after the last whole line and is told in
    the tally. Raises ProblemFileError, OutFileError, OSError, ApiError, and what `load` raises.
    """
    problems = {problem.key: problem for problem in read(batch, console)}
    tally = Tally(len(problems))
    try:
        with opened(batch, problems) as out:
            known = [out.known[key] for key in problems if key in out.known]
            tally.before = len(known)
            for line in known:
                tally.count(line)
            todo = [problem for key, problem in problems.items() if key not in out.known]
            if todo:
                work(batch, todo, load, out, tally, console)
    except KeyboardInterrupt:
        tally.interrupted = True
    return tally


def read(batch: Batch, console: Console) -> list[ParsedProblem]:
    """The usable problems, at most `limit`; lines that cannot be used are named on the console and left out."""
    format = guess_format(batch.problems)
    reading = scan(batch.problems, format)
    if not reading.problems:
        raise ProblemFileError(f"{batch.problems}: no usable problem for the format {format}.\n{reading.report()}")
    if reading.faults:
        console.print(f"Left out {reading.count}:\n{reading.report()}", markup=False, highlight=False, soft_wrap=True)
    return reading.problems[: batch.limit]


def opened(batch: Batch, problems: Mapping[str, ParsedProblem]) -> OutFile | StandardOut:
    if batch.out is None:
        return StandardOut()
    posed = {key: posed_as(problem) for key, problem in problems.items()}
    return OutFile(batch.out, batch.recipe.to_json(), posed, batch.again)


def work(
    batch: Batch,
    todo: list[ParsedProblem],
    load: Callable[[], Loaded],
    out: OutFile | StandardOut,
    tally: Tally,
    console: Console,
) -> None:
    with bar(len(todo), console) as (progress, done):
        kept = kept_beside(batch.out) if batch.out else None
        progress("Loading the model", 0.0)
        model, head = load()
        for problem in todo:
            before = out.dropped.get(problem.key)
            told = before["provenance"] if before else {}
            failed_seeds, earlier = told.get("failed_seeds", ()), told.get("transcript", ())
            line = explained(model, head, problem, batch.recipe, batch.about, failed_seeds, progress, kept, earlier)
            out.append(line)
            if kept:
                kept.remove()
            tally.count(line)
            done()


def kept_beside(out: Path) -> KeptFile:
    """The finished rollouts of the problem at hand until its line is written. Raises KeptError for another's file."""
    path = out.with_name(f"{out.name}.rollouts")
    check_own(path)
    return KeptFile(path)


@contextmanager
def bar(total: int, console: Console) -> Iterator[tuple[Progress, Callable[[], None]]]:
    """A bar that shows how many problems are done and the stage of the one at hand."""
    columns = TextColumn("{task.description:<42}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    # Lines may go to standard output, which the bar would otherwise take for remarks of its own.
    with Bar(*columns, console=console, redirect_stdout=False) as shown:
        task = shown.add_task("", total=total)
        yield (
            lambda stage, share: shown.update(task, description=f"{stage} ({share:.0%})"),
            lambda: shown.advance(task),
        )


def explained(
    model: LanguageModel | Endpoint,
    head: Head | None,
    problem: ParsedProblem,
    recipe: Recipe,
    about: Mapping[str, Any] | None = None,
    failed_seeds: Sequence[int] = (),
    progress: Progress = silent,
    kept: Kept | None = None,
    earlier: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """One line of the out file (its fields: docs/inverse-reasoning.md).

    The chain is written with the recipe's seed, or with the one after the last of `failed_seeds`, as the worker does:
    a seed that failed would fail again. What the model wrote and cannot be used makes a line with `error`, which
    quotes it, and so does what is beyond model or device (LimitError); every other error is raised. `kept` has the
    rollouts that an interrupted run left, and gets those of this one. `earlier`: the failed seeds' transcript.
    """
    started = time.monotonic()
    seed = failed_seeds[-1] + 1 if failed_seeds else recipe.seed
    source = Conversation(model, recipe.model, earlier=earlier) if isinstance(model, Endpoint) else model
    trace, text, evidence, failure = None, None, None, None
    try:
        settings = ReasonSettings(max_new_tokens=recipe.max_new_tokens, seed=seed)
        posed = Problem(problem.question, problem.options, problem.asks)
        if isinstance(source, Conversation):
            run = explain_api(source, posed, settings, progress)
            trace, text = run.trace, run.text(recipe.says)
        else:
            trace = reason(source, posed, settings, progress)
            text, evidence = explanation(source, head, trace, recipe, progress, kept)
    except (ReasoningError, LimitError) as error:
        failure, failed_seeds = str(error), [*failed_seeds, seed]
    return {
        "schema": SCHEMA,
        "key": problem.key,
        "problem": posed_as(problem),
        "settings": recipe.to_json(),
        "trace": shortened(trace) if trace else None,
        "text": text,
        "evidence": evidence,
        "error": failure,
        "provenance": {
            **made_by(source, recipe),
            **(about or {}),
            "seed": seed,
            "failed_seeds": list(failed_seeds),
        },
        "seconds": round(time.monotonic() - started, 2),
    }


def made_by(source: LanguageModel | Conversation, recipe: Recipe) -> dict[str, Any]:
    if isinstance(source, Conversation):
        return api_provenance(source)
    similarity = {"similarity": loaded(recipe.similarity, source).name} if recipe.method == "inverse" else {}
    return provenance(source) | similarity


def explanation(
    model: LanguageModel,
    head: Head | None,
    trace: Trace,
    recipe: Recipe,
    progress: Progress,
    kept: Kept | None = None,
) -> tuple[str, dict[str, Any] | None]:
    """The text by the recipe's method, and the evidence record where the method measures anything."""
    if recipe.method == "chain":
        return trace.written, None
    if recipe.method == "self_explain":
        return self_explain(model, trace, progress), None
    if recipe.method == "attention":
        text, record = explain_attention(model, trace, progress)
        return text, record.to_json()
    if head is None:
        raise ValueError("method inverse needs a head; an untrained one is Head(head_config(model))")
    settings = InverseSettings(
        recipe.candidates,
        recipe.tested_steps,
        recipe.rollouts,
        recipe.seed,
        budget=recipe.budget,
        similarity=recipe.similarity,
        writer=recipe.writer,
    )
    made = explain_inverse(model, trace, head, settings, progress, kept)
    return made.text, made.record.to_json()


def posed_as(problem: ParsedProblem) -> dict[str, Any]:
    """As a line tells it. A choice has no `asks`, so that files from before there was anything else go on."""
    asked = {} if problem.asks == "choice" else {"asks": problem.asks}
    return {"question": problem.question, "options": list(problem.options), **asked}


def shortened(trace: Trace) -> dict[str, Any]:
    """Without the tokens, which would make a line many times as long; settings and seed give them again."""
    answer = trace.answer
    return {
        "chain": trace.chain,
        "answer": answer.text,
        "answer_index": answer.index,
        "read_by": answer.read_by,
        "forced": trace.chain[len(trace.written) :].strip() if trace.forced_from is not None else "",
    }
