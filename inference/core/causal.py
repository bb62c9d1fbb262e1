"""Test a step: let the model write it anew, several times, and see where the answers go.

On-policy resampling after Thought Anchors (Bogdan et al. 2025): replacements are drawn from the model, never edited.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from inference.core import effect
from inference.core.answer import answer_key, numbers, read_answer, words
from inference.core.cache import PrefixCache
from inference.core.decode import Sampling
from inference.core.inversion import Inversion
from inference.core.language_model import LanguageModel
from inference.core.reasoning import ends
from inference.core.records import Alternative, Progress, Step, StepTest, Token, Trace
from inference.core.rollouts import Start
from inference.core.steps import content, split_spans

SIMILAR = 0.8
SHORTEST = 48  # tokens that a resample may always write


@dataclass(frozen=True)
class Resample:
    """One way the chain could have gone on: what stood in the step's place, and the answer (None: none was read)."""

    step: str
    answer: str | None


def test_step(
    model: LanguageModel,
    trace: Trace,
    step: int,
    rollouts: int,
    seed: int,
    inversion: Inversion | None,
    progress: Progress,
) -> StepTest:
    """Compare where the answers go with step number `step` (from 0) and without it. See `test_steps`."""
    (found,) = test_steps(model, trace, [step], rollouts, seed, inversion, progress)
    return found


def test_steps(
    model: LanguageModel,
    trace: Trace,
    steps: Sequence[int],
    rollouts: int,
    seed: int,
    inversion: Inversion | None,
    progress: Progress,
) -> list[StepTest]:
    """Compare where the answers go with each of `steps` (numbers from 0) and without it, one test for each.

    `rollouts` times the model writes on from before a step, and as often from after it, where the step is kept; for
    all steps at once. `inversion` lends its prefix cache. The same seed gives the same resamples, whichever other
    steps are tested.
    """
    if not steps:
        return []
    stage = f"Testing step {steps[0] + 1}" if len(steps) == 1 else f"Testing {len(steps)} steps"
    progress(stage, 0.0)
    prefix = inversion.prefix if inversion else None
    made = resample(model, trace, steps, rollouts, seed, prefix, lambda share: progress(stage, 0.95 * share))
    tests = []
    for done, step in enumerate(steps):
        progress("Comparing the answers", 0.95 + 0.05 * done / len(steps))
        span = trace.steps[step]
        before, after = (
            [read(trace, start, span, tokens) for tokens in made[start]]
            for start in (span.token_start, span.token_end)
        )
        tests.append(assessed(trace, step, before, after, seed))
    progress("Comparing the answers", 1.0)
    return tests


def resample(
    model: LanguageModel,
    trace: Trace,
    steps: Sequence[int],
    rollouts: int,
    seed: int,
    prefix: PrefixCache | None,
    tick: Callable[[float], None],
) -> dict[int, list[tuple[Token, ...]]]:
    """`rollouts` continuations of the chain, each to its answer, from before and after each step, by first token.

    Where one step's end is another's beginning, they are written once: the test of either would draw the same.
    """
    spans = [trace.steps[step] for step in steps]
    starts = sorted({start for span in spans for start in (span.token_start, span.token_end)})
    made = model.generate_many(
        [start_of(trace, start, seed) for start in starts],
        rows=rollouts,
        stop=ends,
        options=trace.problem.options,
        prefix=prefix,
        tick=tick,
    )
    return dict(zip(starts, made, strict=True))


def affordable(trace: Trace, steps: Sequence[int], rollouts: int, budget: int | None) -> list[int]:
    """The first of `steps` whose rollouts, however long they get, have at most `budget` tokens; None: all steps.

    Raises ValueError for a budget below 1.
    """
    if budget is None:
        return list(steps)
    if budget < 1:
        raise ValueError(f"budget is {budget} tokens; give at least 1, or None for no limit")
    chosen: list[int] = []
    starts: set[int] = set()
    for step in steps:
        starts |= {trace.steps[step].token_start, trace.steps[step].token_end}
        if rollouts * sum(start_of(trace, start, 0).sampling.max_new_tokens for start in starts) > budget:
            break
        chosen.append(step)
    return chosen


def start_of(trace: Trace, start: int, seed: int) -> Start:
    """Where rollouts begin that replace the chain from its token `start` on."""
    before, settings = trace.tokens[:start], trace.settings
    rest = len(trace.tokens) - start
    longest = max(SHORTEST, min(settings.max_new_tokens - start, 2 * rest))
    return Start(
        (*trace.prompt_ids, *(token.id for token in before)),
        Sampling(longest, settings.temperature, settings.top_p, seed * 100_003 + start + 1),
    )


def read(trace: Trace, start: int, step: Step, tokens: Sequence[Token]) -> Resample:
    """What a continuation of the chain from its token `start` on put where `step` was, and its answer."""
    written = "".join(token.text for token in trace.tokens[:start])
    chain = written + "".join(token.text for token in tokens)
    at = min(step.char_start, len(written))
    spans = [chain[start:end] for start, end in split_spans(chain) if end > at]
    return Resample(spans[0] if spans else "", outcome(trace, chain))


def outcome(trace: Trace, chain: str) -> str | None:
    """The answer that `chain` states, if it states one, so that the same answers are the same text.

    Where it is the trace's answer, it is worded as there, else by its key (see `answer_key`). No likelihood is asked
    for: a rollout that comes to no answer of its own says nothing of where the model goes.
    """
    answer, asks = read_answer(chain, trace.problem), trace.problem.asks
    if answer is None:
        return None
    key = answer_key(answer.text, asks)
    return trace.answer.text if key == answer_key(trace.answer.text, asks) else key


def assessed(trace: Trace, step: int, made: Sequence[Resample], after: Sequence[Resample], seed: int) -> StepTest:
    """Everything that the resamples say: `made` from before the step, `after` from where it stands.

    The step was kept in all of `after`, in those of `made` that wrote much the same, and in the trace itself. A
    resample without an answer is counted, but says nothing about the effect: it ran out of room or in circles, which
    those from before the step do more often, having more to write.
    """
    own = trace.steps[step].text
    different = [one for one in made if differs(own, one.step)]
    kept = [Resample(own, trace.answer.text), *after, *(one for one in made if not differs(own, one.step))]
    # The answer of a greedy trace is the likeliest one and no random draw, which the test takes answers for; nor is
    # one that was read by likelihood, as no rollout's is.
    drawn = kept if trace.settings.seed and trace.forced_from is None else kept[1:]
    measured = measure(outcomes(trace, [*kept, *different]), drawn, different, seed)
    return StepTest(
        step=step,
        rollouts=len(made),
        different=len(different),
        kept_answers=tally(kept),
        different_answers=tally(different),
        effect=measured.value if measured else None,
        effect_interval=measured.interval if measured else None,
        p_value=measured.p_value if measured else None,
        confirmed=effect.confirmed(measured, len(different), len(made)),
        alternatives=grouped(different),
        excess=measured.excess if measured else None,
        verdict=effect.verdict(measured, len(different), len(made)),
    )


def outcomes(trace: Trace, group: Sequence[Resample]) -> tuple[str, ...]:
    """What an answer can be: the options; of a problem without, the answers that were seen."""
    return trace.problem.options or tuple(sorted({one.answer for one in group if one.answer is not None}))


def measure(
    outcomes: Sequence[str], kept: Sequence[Resample], different: Sequence[Resample], seed: int
) -> effect.Effect | None:
    number = {outcome: place for place, outcome in enumerate(outcomes)}
    one, other = ([number[r.answer] for r in group if r.answer is not None] for group in (kept, different))
    return effect.measure(one, other, len(outcomes), seed)


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


def tally(group: Sequence[Resample]) -> dict[str, int]:
    """Answer -> count, most frequent first; "" counts answers that could not be read."""
    found = Counter("" if one.answer is None else one.answer for one in group)
    return dict(found.most_common())


def grouped(different: Sequence[Resample]) -> tuple[Alternative, ...]:
    """Replacements that do not differ from a group's first member join it. Largest group first."""
    groups: list[list[Resample]] = []
    for one in different:
        home = next((group for group in groups if not differs(group[0].step, one.step)), None)
        if home is None:
            groups.append([one])
        else:
            home.append(one)
    groups.sort(key=len, reverse=True)
    return tuple(Alternative(group[0].step, len(group), tally(group)) for group in groups)
