"""Test a step: let the model write it anew, several times, and see where the answers go.

On-policy resampling after Thought Anchors (Bogdan et al. 2025): replacements are drawn from the model, never edited.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from inference.core import effect
from inference.core.answer import numbers, read_answer, words
from inference.core.decode import PrefixCache, Sampling
from inference.core.inversion import Inversion
from inference.core.language_model import LanguageModel
from inference.core.reasoning import answer_is_stated
from inference.core.records import Alternative, Progress, StepTest, Token, Trace
from inference.core.steps import content, split_spans

SIMILAR = 0.8
SHORTEST = 48  # tokens that a resample may always write


@dataclass(frozen=True)
class Resample:
    """One way the chain could have gone on: what stood in the step's place, and the answer's option (None: none)."""

    step: str
    answer: int | None


def test_step(
    model: LanguageModel,
    trace: Trace,
    step: int,
    rollouts: int,
    seed: int,
    inversion: Inversion | None,
    progress: Progress,
) -> StepTest:
    """Resample step number `step` (from 0) `rollouts` times and compare the answers.

    The trace itself counts as one sample that kept the step. `inversion` lends its prefix cache. The same seed gives
    the same resamples.
    """
    stage = f"Testing step {step + 1}"
    progress(stage, 0.0)
    made = resample(model, trace, step, rollouts, seed, inversion.prefix if inversion else None, stage, progress)
    progress(stage, 1.0)
    return assessed(trace, step, made, seed)


def resample(
    model: LanguageModel,
    trace: Trace,
    step: int,
    rollouts: int,
    seed: int,
    prefix: PrefixCache | None,
    stage: str,
    progress: Progress,
) -> list[Resample]:
    """`rollouts` continuations from just before the step, as one batch, each to its answer."""
    start = trace.steps[step].token_start
    before = trace.tokens[:start]
    longest = max(SHORTEST, trace.settings.max_new_tokens - start)
    settings = trace.settings
    written = "".join(token.text for token in before)
    made = model.generate(
        (*trace.prompt_ids, *(token.id for token in before)),
        Sampling(longest, settings.temperature, settings.top_p, seed * 1009 + step + 1),
        rows=rollouts,
        stop=answer_is_stated,
        options=trace.problem.options,
        prefix=prefix,
        tick=lambda share: progress(stage, share),
    )
    return [read(written, tokens, trace) for tokens in made]


def read(written: str, tokens: Sequence[Token], trace: Trace) -> Resample:
    chain = written + "".join(token.text for token in tokens)
    spans = [chain[start:end] for start, end in split_spans(chain) if end > len(written)]
    answer = read_answer(chain, trace.problem.options)
    return Resample(spans[0] if spans else "", answer.index if answer else None)


def assessed(trace: Trace, step: int, made: Sequence[Resample], seed: int) -> StepTest:
    """Everything that the resamples say about the step."""
    own = trace.steps[step].text
    different = [one for one in made if differs(own, one.step)]
    kept = [Resample(own, trace.answer.index), *(one for one in made if not differs(own, one.step))]
    options = trace.problem.options
    codes = [[len(options) if one.answer is None else one.answer for one in group] for group in (kept, different)]
    measured = effect.measure(codes[0], codes[1], len(options) + 1, seed)
    return StepTest(
        step=step,
        rollouts=len(made),
        different=len(different),
        kept_answers=tally(kept, options),
        different_answers=tally(different, options),
        effect=measured.value if measured else None,
        effect_interval=measured.interval if measured else None,
        p_value=measured.p_value if measured else None,
        confirmed=effect.confirmed(measured, len(different), len(made)),
        alternatives=grouped(different, options),
    )


def differs(one: str, other: str) -> bool:
    """Whether two steps say something else: other numbers, or a cosine of their word counts below 0.8.

    A plain lexical stand-in for the similarity of sentence embeddings: it takes a paraphrase for something else, and
    misses an opposite in few words ("taller", "shorter").
    """
    first, second = content(one), content(other)
    return Counter(numbers(first)) != Counter(numbers(second)) or cosine(first, second) < SIMILAR


def cosine(one: str, other: str) -> float:
    """Cosine of word counts, 0 to 1; two texts without words are the same."""
    first, second = Counter(words(one)), Counter(words(other))
    if not first or not second:
        return float(first == second)
    dot = sum(first[word] * second[word] for word in first)
    return dot / math.sqrt(sum(n * n for n in first.values()) * sum(n * n for n in second.values()))


def tally(group: Sequence[Resample], options: Sequence[str]) -> dict[str, int]:
    """Option text -> count, most frequent first; "" counts answers that could not be read."""
    found = Counter("" if one.answer is None else options[one.answer] for one in group)
    return dict(found.most_common())


def grouped(different: Sequence[Resample], options: Sequence[str]) -> tuple[Alternative, ...]:
    """Replacements that do not differ from a group's first member join it. Largest group first."""
    groups: list[list[Resample]] = []
    for one in different:
        home = next((group for group in groups if not differs(group[0].step, one.step)), None)
        if home is None:
            groups.append([one])
        else:
            home.append(one)
    groups.sort(key=len, reverse=True)
    return tuple(Alternative(group[0].step, len(group), tally(group, options)) for group in groups)
