"""Test a step: let the model write it anew, several times, and see where the answers go.

On-policy resampling after Thought Anchors (Bogdan et al. 2025): replacements are drawn from the model, never edited.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from inference.core import effect
from inference.core.answer import answer_key, find_stated, read_stated
from inference.core.clusters import clustered, typical
from inference.core.inversion import Inversion
from inference.core.kept import Kept
from inference.core.language_model import LanguageModel
from inference.core.looks import BUDGET, LOOKS, Look, looks, why_stop
from inference.core.records import Alternative, Progress, Step, StepTest, Token, Trace
from inference.core.resampling import Resamples
from inference.core.similarity import DEFAULT, Compared, Similarity, loaded
from inference.core.steps import split_spans


@dataclass(frozen=True)
class Resample:
    """One way the chain could have gone on: what stood in the step's place, and the answer (None: none was read)."""

    step: str
    answer: str | None


def test_steps(
    model: LanguageModel,
    trace: Trace,
    steps: Sequence[int],
    rollouts: int,
    seed: int,
    inversion: Inversion | None,
    progress: Progress,
    *,
    similarity: Similarity | None = None,
    most_looks: int = LOOKS,
    budget: int | None = None,
    kept: Kept | None = None,
) -> list[StepTest]:
    """Compare where the answers go with each of `steps` (numbers from 0) and without it, one test for each.

    `rollouts` times at most the model writes on from before a step, and as often from after it, where the step is
    kept. They are drawn in rounds, each for all steps at once; after a round each test is looked at and may end
    (`looks`). `budget` is the number of tokens that all rollouts together may have: no round begins that could exceed
    it, the first of `steps` go first, and a step without a round has no test. `similarity` None is the default
    sentence encoder; `inversion` lends its prefix cache; `kept` has what an earlier run drew, and gets what this one
    draws. Without a budget the same seed gives the same test of a step, whichever others are tested.

    Raises ValueError for a budget, rollouts or looks below 1 and for a step that is not there, SimilarityError where
    the encoder is not installed.
    """
    if budget is not None and budget < 1:
        raise ValueError(f"budget is {budget} tokens; give at least 1, or None for no limit")
    plan = looks(rollouts, most_looks)
    if not steps:
        return []
    if wrong := [step for step in steps if not 0 <= step < len(trace.steps)]:
        raise ValueError(f"steps has {wrong[0]}; the chain has {len(trace.steps)} steps, numbered from 0")
    stage = f"Testing step {steps[0] + 1}" if len(steps) == 1 else f"Testing {len(steps)} steps"
    progress(stage, 0.0)
    rows = Resamples(model, trace, seed, inversion.prefix if inversion else None, kept)
    compared = Compared(similarity or loaded(DEFAULT, model))
    going, tests = dict.fromkeys(steps, 0), dict[int, StepTest]()
    while begun := affordable(rows, going, plan, budget):
        before, share = finished(going, plan, steps), len(begun) / (len(plan) * len(steps))
        wanted = rows_for(trace, {step: plan[going[step]].drawn for step in begun})
        rows.draw(wanted, lambda part, before=before, share=share: progress(stage, before + part * share))  # type: ignore[misc]
        tests |= looked_at(rows, {step: plan[going[step]] for step in begun}, compared)
        going = {
            step: at + (step in begun) for step, at in going.items() if step not in tests or not tests[step].stopped
        }
    progress("Comparing the answers", 1.0)
    return [replace(tests[step], stopped=tests[step].stopped or BUDGET) for step in steps if step in tests]


def finished(going: Mapping[int, int], plan: Sequence[Look], steps: Sequence[int]) -> float:
    """Share of all rounds that are drawn, or need not be drawn any more."""
    return 1 - sum(len(plan) - at for at in going.values()) / (len(plan) * len(steps))


def rows_for(trace: Trace, drawn: Mapping[int, int]) -> dict[int, int]:
    """How many rows are needed from before and after each step, by first token, for so many rollouts of each."""
    wanted: Counter[int] = Counter()
    for step, count in drawn.items():
        for start in (trace.steps[step].token_start, trace.steps[step].token_end):
            wanted[start] = max(wanted[start], count)
    return dict(wanted)


def affordable(rows: Resamples, going: Mapping[int, int], plan: Sequence[Look], budget: int | None) -> list[int]:
    """The first of the steps `going` whose next rounds, however long they get, stay within the budget."""
    chosen: list[int] = []
    for step in going:
        tried = [*chosen, step]
        wanted = rows_for(rows.trace, {one: plan[going[one]].drawn for one in tried})
        if budget is not None and rows.spent + rows.most(wanted) > budget:
            break
        chosen = tried
    return chosen


def looked_at(rows: Resamples, at: Mapping[int, Look], compared: Compared) -> dict[int, StepTest]:
    """What the rollouts so far say of each step. All replacements are embedded in one batch."""
    trace = rows.trace
    made = {
        step: alike(
            trace,
            [read(trace, span.token_start, span, tokens) for tokens in rows.rows[span.token_start][: look.drawn]],
            [read(trace, span.token_end, span, tokens) for tokens in rows.rows[span.token_end][: look.drawn]],
        )
        for step, look, span in ((step, look, trace.steps[step]) for step, look in at.items())
    }
    compared.add(
        [trace.steps[step].text for step in at] + [one.step for before, _ in made.values() for one in before]
    )
    return {step: assessed(trace, step, *made[step], rows.seed, look, compared) for step, look in at.items()}


def read(trace: Trace, start: int, step: Step, tokens: Sequence[Token]) -> Resample:
    """What a continuation of the chain from its token `start` on put where `step` was, and its answer."""
    written = "".join(token.text for token in trace.tokens[:start])
    chain = written + "".join(token.text for token in tokens)
    at = min(step.char_start, len(written))
    spans = [chain[start:end] for start, end in split_spans(chain) if end > at]
    return Resample(spans[0] if spans else "", outcome(trace, chain, len(written)))


def outcome(trace: Trace, chain: str, start: int = 0) -> str | None:
    """The answer that `chain` states last, if it does so from its character `start` on, as worded there.

    What stands before `start` was given to the rollout, and no likelihood is asked for: one that comes to no answer
    of its own says nothing of where the model goes.
    """
    stated = find_stated(chain)
    if stated is None or stated.start < start:
        return None
    answer = read_stated(stated, trace.problem)
    return answer.text if answer else None


def alike(trace: Trace, made: Sequence[Resample], after: Sequence[Resample]) -> tuple[list[Resample], list[Resample]]:
    """The resamples of one test, with the same answers in the same words: the trace's, else those that came first.

    So explanations quote only what was written. Which answers are the same: see `answer_key`.
    """
    asks = trace.problem.asks
    words = {answer_key(trace.answer.text, asks): trace.answer.text}

    def worded(one: Resample) -> Resample:
        if one.answer is None:
            return one
        return replace(one, answer=words.setdefault(answer_key(one.answer, asks), one.answer))

    return [worded(one) for one in made], [worded(one) for one in after]


def assessed(
    trace: Trace,
    step: int,
    made: Sequence[Resample],
    after: Sequence[Resample],
    seed: int,
    look: Look,
    compared: Compared,
) -> StepTest:
    """Everything that the resamples say: `made` from before the step, `after` from where it stands.

    Both come from `alike`. The step was kept in all of `after`, in those of `made` that wrote much the same, and in
    the trace itself. A resample without an answer is counted, but says nothing about the effect: it ran out of room
    or in circles, which those from before the step do more often, having more to write.
    """
    own = trace.steps[step].text
    different = [one for one in made if compared.differs(own, one.step)]
    kept = [Resample(own, trace.answer.text), *after, *(one for one in made if one not in different)]
    # The answer of a greedy trace is the likeliest one and no random draw, which the test takes answers for; nor is
    # one that was read by likelihood, as no rollout's is.
    drawn = kept if not trace.settings.greedy and trace.forced_from is None else kept[1:]
    possible = outcomes(trace, [*kept, *different])
    groups = numbered(drawn, possible), numbered(different, possible)
    measured = effect.measure(*groups, len(possible), seed)
    return StepTest(
        step=step,
        rollouts=len(made),
        different=len(different),
        kept_answers=tally(kept),
        different_answers=tally(different),
        effect=measured.value if measured else None,
        effect_interval=measured.interval if measured else None,
        p_value=measured.p_value if measured else None,
        confirmed=effect.confirmed(measured, len(different), len(made), look.level),
        alternatives=grouped(different, compared),
        excess=measured.excess if measured else None,
        verdict=effect.verdict(measured, len(different), len(made), look.level),
        planned=look.planned,
        level=look.level,
        stopped=why_stop(look, measured, *groups, len(different), len(possible), seed),
    )


def outcomes(trace: Trace, group: Sequence[Resample]) -> tuple[str, ...]:
    """What an answer can be: the options; of a problem without, the answers that were seen."""
    return trace.problem.options or tuple(sorted({one.answer for one in group if one.answer is not None}))


def numbered(group: Sequence[Resample], outcomes: Sequence[str]) -> list[int]:
    """The place of each answer among `outcomes`; what has no answer is left out."""
    place = {outcome: at for at, outcome in enumerate(outcomes)}
    return [place[one.answer] for one in group if one.answer is not None]


def tally(group: Sequence[Resample]) -> dict[str, int]:
    """Answer -> count, most frequent first; "" counts answers that could not be read."""
    found = Counter("" if one.answer is None else one.answer for one in group)
    return dict(found.most_common())


def grouped(different: Sequence[Resample], compared: Compared) -> tuple[Alternative, ...]:
    """Replacements that say much the same are one alternative, told by the most typical of them. Largest first."""
    if not different:
        return ()
    cosines = compared.cosines([one.step for one in different])
    groups = clustered(cosines, compared.similarity.similar)
    return tuple(
        Alternative(different[typical(cosines, group)].step, len(group), tally([different[at] for at in group]))
        for group in groups
    )
