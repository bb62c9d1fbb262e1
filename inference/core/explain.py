"""Write explanations from an evidence record, for readers who know nothing of language models.

Every sentence is a template over numbers and quotations of the record, so none can claim what was not measured. What
a test confirmed, what it did not, and what was never tested are worded differently.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from inference.core.effect import ALPHA, MIN_SHARE
from inference.core.looks import BUDGET
from inference.core.records import Alternative, Candidate, EvidenceRecord, StepTest
from inference.core.roles import answering, choices
from inference.core.steps import content

LIKELIHOOD = "likelihood"  # how an answer was read that the chain does not state
QUOTED = 160  # characters
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def candidates(record: EvidenceRecord, n: int = 3) -> tuple[Candidate, ...]:
    """The first `n` of the styles brief, contrastive, detailed. Raises ValueError for n below 1."""
    if n < 1:
        raise ValueError(f"n is {n}; give at least 1")
    return tuple(Candidate(text_of(write(record)), style) for style, write in list(STYLES.items())[:n])


Paragraph = list[str]
"""Sentences that stand together."""


def text_of(paragraphs: list[Paragraph]) -> str:
    return "\n\n".join(" ".join(sentences) for sentences in paragraphs if sentences)


def brief(record: EvidenceRecord) -> list[Paragraph]:
    first = record.decision_points[:1]
    return [[answered(record), verdict(record), *(outcome(test, f"at step {test.step + 1}") for test in first)]]


def contrastive(record: EvidenceRecord) -> list[Paragraph]:
    tests = record.decision_points or record.tests[:1]
    at_steps = [
        [f"At step {test.step + 1} the model wrote {quoted_step(record, test.step)}.", *contrast(record, test)]
        for test in tests
    ]
    return [[f"Why {quote(record.answer)} and not something else?"], *at_steps, [verdict(record)]]


def detailed(record: EvidenceRecord) -> list[Paragraph]:
    return [
        [answered(record), *wrote(record)],
        *(
            [tested(test), *contrast(record, test), judged(test), *rested(record, test), *guessed(record, test)]
            for test in record.tests
        ),
        [*untested(record), *closing(record)],
        attended(record),
    ]


STYLES: dict[str, Callable[[EvidenceRecord], list[Paragraph]]] = {
    "brief": brief,
    "contrastive": contrastive,
    "detailed": detailed,
}


def answered(record: EvidenceRecord) -> str:
    if record.read_by == LIKELIHOOD:
        likeliest = f"asked for its answer, it held {quote(record.answer)} the likeliest"
        return f"The model settled on no option by itself; {likeliest}."
    return f"The model answered {quote(record.answer)}."


def wrote(record: EvidenceRecord) -> list[str]:
    """The steps that the model wrote by itself: not the last one, where that is the answer which was put there."""
    count = len(record.steps) - (record.read_by == LIKELIHOOD)
    steps = [f"({index + 1}) {quoted_step(record, index)}" for index in range(count)]
    return ["It wrote these steps:", *steps[:-1], f"{steps[-1]}."] if steps else []


def verdict(record: EvidenceRecord) -> str:
    """The finding in one sentence."""
    points = record.decision_points
    if points:
        return f"Tests showed that {named(record, points)} made a difference to the answer."
    if not record.tests:
        return "No decisive choice was found: none of its steps was tested."
    return f"No decisive choice was found: {reason(record)}."


def reason(record: EvidenceRecord) -> str:
    """Why nothing was found, of the tests that say most: those compared, else those that found other ways."""
    if steps := which(record, like_chance):
        return f"writing {steps} anew did not change the answers more than chance could"
    if steps := which(record, unclear):
        return f"the difference at {steps} was not clear enough for a test that is looked at several times"
    if steps := which(record, cut_short):
        return f"the budget ended the testing of {steps} before it could tell"
    if steps := which(record, too_seldom):
        return f"too seldom was anything else written at {steps}"
    if steps := which(record, mute):
        return f"where it wrote something else at {steps}, it came to no answer"
    if steps := which(record, lone):
        return f"there was no answer to compare with at {steps}"
    return f"whenever {which(record, lambda test: not test.different)} was written anew, it said the same"


def which(record: EvidenceRecord, why: Callable[[StepTest], bool]) -> str:
    """The steps whose tests `why` holds of; "" for none."""
    return named(record, sorted(filter(why, record.tests), key=lambda test: test.step))


def mute(test: StepTest) -> bool:
    """Something else was written, and no answer came of it."""
    return test.different > 0 and not any(count for text, count in test.different_answers.items() if text)


def lone(test: StepTest) -> bool:
    """What was written instead came to answers, and nothing that kept to the step did."""
    return test.different > 0 and test.p_value is None and not mute(test)


def cut_short(test: StepTest) -> bool:
    """Answers were compared, and the budget ended the test while its trend still let it go on.

    Of this function and the next three at most one holds of a test; each is a reason why it did not confirm.
    """
    return compared(test) and test.stopped == BUDGET


def too_seldom(test: StepTest) -> bool:
    """Fewer of the resamples differed than a test needs, whatever p-value their answers have."""
    return compared(test) and test.stopped != BUDGET and test.different < MIN_SHARE * test.rollouts


def unclear(test: StepTest) -> bool:
    """Within the 5% of a single look, but not within the part of it that this look could spend."""
    return often_enough(test) and test.level < (test.p_value or 0) <= ALPHA


def like_chance(test: StepTest) -> bool:
    return often_enough(test) and (test.p_value or 0) > ALPHA


def compared(test: StepTest) -> bool:
    """Whether the answers of both groups were compared, and the step was not confirmed."""
    return test.p_value is not None and not test.confirmed


def often_enough(test: StepTest) -> bool:
    return compared(test) and not cut_short(test) and not too_seldom(test)


def named(record: EvidenceRecord, tests: Sequence[StepTest]) -> str:
    """Steps with their words: a reader may not see the chain."""
    return listed([f"step {test.step + 1} ({quoted_step(record, test.step)})" for test in tests])


def tested(test: StepTest) -> str:
    return f"Step {test.step + 1} was tested: the model wrote on from before it anew, {times(test.rollouts)}."


def contrast(record: EvidenceRecord, test: StepTest) -> list[str]:
    """What else the model could have written at this step, and where that led."""
    if not test.different:
        return [f"In all {test.rollouts} new tries it wrote the same or nearly the same."]
    sentences = [f"In {test.different} of {test.rollouts} new tries it wrote something else there."]
    told = shown(test, record.answer)
    rest = test.different - sum(other.count for other in told)
    others = (
        [f"The other {NUMBERS[rest] if rest < len(NUMBERS) else rest} said something else again."] if rest else []
    )
    return sentences + [instead(test, other) for other in told] + others


def shown(test: StepTest, answer: str) -> tuple[Alternative, ...]:
    """The most frequent alternative, and the contrast if it is another one."""
    first, other = test.alternatives[:1], contrast_of(test, answer)
    return first if other is None or other in first else (*first, other)


def contrast_of(test: StepTest, answer: str) -> Alternative | None:
    """The most frequent alternative that ended in another answer than `answer` more often than in it, else the most
    frequent one; None where nothing else was ever written."""
    elsewhere = [other for other in test.alternatives if left(other, answer) > other.answers.get(answer, 0)]
    return next(iter(elsewhere or test.alternatives), None)


def left(other: Alternative, answer: str) -> int:
    """How many of an alternative's resamples ended in a readable answer other than `answer`."""
    return sum(count for text, count in other.answers.items() if text not in (answer, ""))


def instead(test: StepTest, other: Alternative) -> str:
    written = quote(shortened(content(other.example))) if content(other.example) else "nothing"
    return f"In {other.count} of {test.rollouts} it wrote {written} instead, which {ended(other.answers)}."


def outcome(test: StepTest, where: str = "there") -> str:
    """Where the answers of a confirmed test went with and without the step, and how sure that is."""
    found = (
        f"Where it wrote something else {where} ({test.different} of {test.rollouts} new tries), "
        f"it {ended(test.different_answers)}; where it kept to that step, counting the original, "
        f"it {ended(test.kept_answers)}."
    )
    if test.p_value is None:
        return found
    return f"{found} A difference this clear comes about by chance in {percent(test.p_value)} of cases."


def judged(test: StepTest) -> str:
    if test.confirmed and test.p_value is not None:
        return f"{outcome(test)} So this step made a difference to the answer."
    if test.p_value is None:
        return "So nothing can be said about what another choice would have changed."
    return f"This does not show that the step mattered: {shortfall(test, test.p_value)}."


def shortfall(test: StepTest, p_value: float) -> str:
    """Why a comparison did not confirm the step. Only of one that chance explains is its p-value told."""
    if cut_short(test):
        return "the budget ended the test before it could tell"
    if too_seldom(test):
        return "too seldom was anything else written there"
    if unclear(test):
        return "the difference was not clear enough for a test that is looked at several times"
    return f"a difference as large to where it kept the step comes about by chance in {often(p_value)} of cases"


def rested(record: EvidenceRecord, test: StepTest) -> list[str]:
    """The earlier step that got most of the step's attention, with what that is worth. One alone gets all of it."""
    if test.step < 2:
        return []
    sources = [finding.rested_on[0] for finding in record.findings if finding.step == test.step and finding.rested_on]
    return [
        f"When it wrote step {test.step + 1}, {percent(source.share)} of the attention that it paid to earlier steps "
        f"led back to step {source.step + 1}; that alone does not show that it needed that step."
        for source in sources[:1]
    ]


def guessed(record: EvidenceRecord, test: StepTest) -> list[str]:
    """How sure the head is of the verdict, where it says so: worded so that nobody takes it for a finding."""
    sure = [finding.confidence.claim for finding in record.findings if finding.step == test.step]
    return [
        "A predictor that learned from earlier tests guesses that a new test of this step would come out the same in "
        f"{percent(claim)} of cases; that is a guess, and no finding."
        for claim in sure
        if claim is not None
    ]


def untested(record: EvidenceRecord) -> list[str]:
    done = {test.step for test in record.tests}
    rest = [f"{index + 1}" for index in choices(record.steps) if index not in done]
    if not rest:
        return []
    return [f"Step {rest[0]} was not tested." if len(rest) == 1 else f"Steps {listed(rest)} were not tested."]


def attended(record: EvidenceRecord) -> list[str]:
    """Attention proposes, it shows nothing: the sentence says so."""
    top = most_attended(record, before_answer(record))
    if top is None:
        return []
    return [
        f"When it gave its answer, {percent(record.signals[top].inverse_flow)} of the attention that it paid to its "
        f"own steps led back to step {top + 1}, more than to any other step before the answer; "
        "that alone does not show that this step mattered."
    ]


def most_attended(record: EvidenceRecord, steps: Sequence[int]) -> int | None:
    """Which of two `steps` or more got more of the answer's attention than each of the others; None for none."""
    if len(steps) < 2:
        return None
    *_, second, first = sorted(steps, key=lambda step: record.signals[step].inverse_flow)
    return first if record.signals[first].inverse_flow > record.signals[second].inverse_flow else None


def before_answer(record: EvidenceRecord) -> list[int]:
    """The steps that could be looked at when the answer was given: what stands behind it was not yet written."""
    at = answering(record.steps)
    return list(range(len(record.steps) if at is None else at))


def closing(record: EvidenceRecord) -> list[str]:
    return [] if record.decision_points else ["No decisive choice was found."]


def ended(answers: dict[str, int]) -> str:
    """'ended in "10" (2 times) and "12" (once)'; what could not be read is said to be so."""
    read = [f"{quote(text)} ({times(count)})" for text, count in answers.items() if text]
    unread = f"without a readable answer ({times(answers[''])})" if answers.get("") else ""
    parts = ([f"in {listed(read)}"] if read else []) + ([unread] if unread else [])
    return f"ended {' and '.join(parts)}"


def quoted_step(record: EvidenceRecord, index: int) -> str:
    return quote(shortened(content(record.steps[index]) or record.steps[index]))


def quote(text: str) -> str:
    return f"“{text.strip().rstrip('.')}”"


def shortened(text: str) -> str:
    """At most QUOTED characters, cut at a word."""
    flat = " ".join(text.split())
    return flat if len(flat) <= QUOTED else flat[:QUOTED].rsplit(" ", 1)[0] + " …"


def times(count: int) -> str:
    if count == 1:
        return "once"
    return f"{NUMBERS[count] if count < len(NUMBERS) else count} times"


def percent(share: float) -> str:
    return f"{100 * share:.0f}%" if share >= 0.01 else "less than 1%"


def often(share: float) -> str:
    return percent(share) if share <= 0.5 else "more than half"


def listed(parts: list[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
