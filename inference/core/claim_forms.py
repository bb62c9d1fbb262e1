"""The claims that can be checked: how each reads once it is folded, and what it needs of the record.

A claim's check returns JSON pointers to what supports it, or raises UnsupportedError. The order of `FORMS` matters:
a form that is part of another comes after it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from inference.core.claim_reader import ENDED, Reader, UnsupportedError, is_percent, need, part_is
from inference.core.effect import ALPHA
from inference.core.explain import (
    LIKELIHOOD,
    before_answer,
    cut_short,
    like_chance,
    lone,
    most_attended,
    mute,
    often,
    percent,
    too_seldom,
    unclear,
)
from inference.core.quotations import Q, clean
from inference.core.records import StepTest
from inference.core.roles import choices
from inference.core.wording import PART, SHARE

Found = re.Match[str]
Check = Callable[[Reader, Found], list[str]]

STEPS = r"(?P<steps>steps? \d+(?: (?:and )?(?:step )?\d+)*)"
LISTED = STEPS.replace("steps>", "listed>")
RIVAL = "(?:something else|(?:answered )?\ue000(?P<rival>\\d+)\ue001)"
THERE = r"(?: there| at step (?P<at>\d+))?"
SO = r"(?:^so )?"


def the_answer(reader: Reader, found: Found) -> list[str]:
    said = reader.quotations[int(found[1] or found[2])]
    need(clean(said) == clean(reader.record.answer), f"the answer is not “{said}”")
    return ["/answer"]


def answered(reader: Reader, found: Found) -> list[str]:
    need(reader.record.read_by != LIKELIHOOD, "it settled on no option by itself")
    return the_answer(reader, found)


def held_likeliest(reader: Reader, found: Found) -> list[str]:
    need(reader.record.read_by == LIKELIHOOD, "it stated its answer")
    return [*the_answer(reader, found), "/read_by"]


def why(reader: Reader, found: Found) -> list[str]:
    """A question claims the answer, and that the other one was an answer at all."""
    pointers = the_answer(reader, found)
    if found["rival"]:
        rival = clean(reader.quotations[int(found["rival"])])
        held = [
            f"/tests/{index}/different_answers"
            for index, test in enumerate(reader.record.tests)
            if rival in map(clean, test.different_answers)
        ]
        need(bool(held) and rival != clean(reader.record.answer), f"no try came to “{rival}”")
        pointers += held
    return pointers


def wrote(reader: Reader, found: Found) -> list[str]:
    number, words = (group for group in found.groups() if group is not None)
    return written(reader, number, words)


def wrote_before(reader: Reader, found: Found) -> list[str]:
    return written(reader, found[2], found[1])


def written(reader: Reader, number: str, words: str) -> list[str]:
    step = reader.stated(number, words)
    forced = reader.record.read_by == LIKELIHOOD and step == len(reader.record.steps) - 1
    need(not forced, "the model did not write that step: it is the answer that was put there")
    return [f"/steps/{step}"]


def mattered(reader: Reader, found: Found) -> list[str]:
    tests = [reader.test(step) for step in reader.steps(found["steps"])]
    need(all(test.confirmed for _, test in tests), "no test confirmed that")
    return [f"/tests/{index}/confirmed" for index, _ in tests]


def this_mattered(reader: Reader, found: Found) -> list[str]:
    index, test = reader.tested(found)
    need(test.confirmed, "no test confirmed that")
    return [f"/tests/{index}/confirmed"]


def not_shown(reader: Reader, found: Found) -> list[str]:
    listed = found.groupdict().get("steps")
    tests = [reader.test(step) for step in (reader.steps(listed) if listed else [reader.step])]
    need(not any(test.confirmed for _, test in tests), "a test confirmed that it did")
    return [f"/tests/{index}/confirmed" for index, _ in tests]


def nothing_found(reader: Reader, found: Found) -> list[str]:
    need(not reader.record.decision_points, "a decision point was found")
    need(bool(reader.record.tests) or "tests found" not in found[0], "nothing was tested")
    return [f"/tests/{index}/confirmed" for index in range(len(reader.record.tests))] or ["/tests"]


def none_tested(reader: Reader, found: Found) -> list[str]:
    need(not reader.record.tests, "steps were tested")
    return ["/tests"]


def reason_for(field: str, holds: Callable[[StepTest], bool], otherwise: str) -> Check:
    """Why a test did not confirm; has to hold for each of the steps that it names, or that the paragraph is about."""

    def check(reader: Reader, found: Found) -> list[str]:
        listed = found["steps"] or found.groupdict().get("listed")
        tests = [reader.test(step) for step in (reader.steps(listed) if listed else [reader.step])]
        need(all(holds(test) and not test.confirmed for _, test in tests), otherwise)
        return [f"/tests/{index}/{field}" for index, _ in tests]

    return check


def was_tested(reader: Reader, found: Found) -> list[str]:
    index, test = reader.tested(found)
    need(found[2] is None or test.rollouts == int(found[2]), f"step {found[1]} was resampled {test.rollouts} times")
    return [f"/tests/{index}/rollouts"]


def was_not_tested(reader: Reader, found: Found) -> list[str]:
    steps = reader.steps(found["steps"])
    done = {test.step for test in reader.record.tests}
    free = set(choices(reader.record.steps)) - done
    need(free.issuperset(steps), "it was tested, or is no choice")
    return ["/tests", *(f"/steps/{step}" for step in steps)]


def something_else(reader: Reader, found: Found) -> list[str]:
    index, test = reader.tested(found)
    reader.share(found["share"], test.different, test)
    return [f"/tests/{index}/different", f"/tests/{index}/rollouts"]


def much_the_same(reader: Reader, found: Found) -> list[str]:
    index, test = reader.tested(found)
    reader.share(found["share"], test.rollouts - test.different, test)
    return [f"/tests/{index}/different", f"/tests/{index}/rollouts"]


def instead(reader: Reader, found: Found) -> list[str]:
    index, test = reader.tested(found)
    at = reader.alternative(test, found["share"], found["words"], found["ended"])
    reader.told.append(at)
    return [f"/tests/{index}/alternatives/{at}"]


def others(reader: Reader, found: Found) -> list[str]:
    index, test = reader.tested(found)
    rest = test.different - sum(test.alternatives[at].count for at in reader.told)
    need(bool(reader.told) and rest == int(found[1]), f"{rest} others are left")
    return [f"/tests/{index}/different", f"/tests/{index}/alternatives"]


def ended_without(reader: Reader, found: Found) -> list[str]:
    """Where the tries ended that wrote something else."""
    index, test = reader.tested(found)
    for share in (found["share"], found["share2"]):
        reader.share(share, test.different, test)
    reader.answers(found["ended"], test.different_answers)
    return [f"/tests/{index}/{name}" for name in ("different", "rollouts", "different_answers")]


def ended_with(reader: Reader, found: Found) -> list[str]:
    """Where the tries ended that kept to the step, the trace among them."""
    index, test = reader.tested(found)
    reader.answers(found["ended"], test.kept_answers)
    return [f"/tests/{index}/kept_answers"]


def by_chance(reader: Reader, found: Found) -> list[str]:
    """A small p-value is told of a confirmed test only: elsewhere it would pass for a finding."""
    index, test = reader.tested(found)
    p = test.p_value
    need(test.confirmed or p is None or p > ALPHA, "chance is not why that test did not confirm the step")
    need(p is not None and part_is(found[1], percent(p), often(p)), "not the test's p-value")
    return [f"/tests/{index}/p_value"]


def nothing_said(reader: Reader, found: Found) -> list[str]:
    index, test = reader.tested(found)
    need(not test.confirmed and (not test.different or test.p_value is None), "the answers could be compared")
    return [f"/tests/{index}/p_value"]


def attended(reader: Reader, found: Found) -> list[str]:
    signals, step = reader.record.signals, reader.pointed(found[2])
    need(is_percent(found[1], signals[step].inverse_flow), f"not the share of step {found[2]}")
    if found["top"]:
        steps = before_answer(reader.record) if "before" in found["top"] else range(len(signals))
        need(step == most_attended(reader.record, steps), f"step {found[2]} is not the first")
    return [f"/signals/{step}/inverse_flow"]


def rested(reader: Reader, found: Found) -> list[str]:
    step, source = reader.pointed(found[1]), reader.pointed(found[3])
    for index, finding in enumerate(reader.record.findings):
        for at, held in enumerate(finding.rested_on):
            if (finding.step, held.step) == (step, source) and is_percent(found[2], held.share):
                return [f"/findings/{index}/rested_on/{at}"]
    raise UnsupportedError(f"the record does not say that of steps {found[1]} and {found[3]}")


def guessed(reader: Reader, found: Found) -> list[str]:
    for index, finding in enumerate(reader.record.findings):
        sure = finding.confidence.claim
        if finding.step == reader.step and sure is not None and is_percent(found[1], sure):
            return [f"/findings/{index}/confidence/claim"]
    raise UnsupportedError("the record holds no such guess")


@dataclass(frozen=True)
class Form:
    """A claim as folded. `leaves` stays of it in the sentence; `of_attention`: it proposes, and proves nothing."""

    pattern: re.Pattern[str]
    check: Check
    leaves: str = " "
    of_attention: bool = False


def form(pattern: str, check: Check, leaves: str = " ", of_attention: bool = False) -> Form:
    """Whole words only."""
    return Form(re.compile(rf"(?<![\w/~.])(?:{pattern})(?![\w/%~])"), check, leaves, of_attention)


LED = "(?:led|went|goes) back to"
ALONE = "(?:but |and )?that alone does not show that"
FORMS = (
    form(rf"step (\d+)(?: where it wrote)? {Q}", wrote, leaves=r"step \1"),
    form(
        f"(?:when it gave its answer )?{PART} of (?:the|its) attention (?:that it paid )?to its own steps {LED} "
        rf"step (\d+)(?P<top> more than to any other step(?: before the answer)?)? {ALONE} "
        "(?:this|that|the) step made a difference to the answer",
        attended,
        of_attention=True,
    ),
    form(
        rf"when it wrote step (\d+) {PART} of (?:the|its) attention (?:that it paid )?to earlier steps {LED} "
        rf"step (\d+) {ALONE} it needed (?:this|that|the) step",
        rested,
        of_attention=True,
    ),
    form(rf"^why (?:(?:did it|it) answer(?:ed)? )?{Q}()(?: and not| rather than| instead of) {RIVAL}", why),
    form(rf"it answered no option by itself asked for its answer it held {Q}() the likeliest", held_likeliest),
    form(rf"it answered {Q}|(?:the|its) answer (?:is|was) {Q}", answered),
    form(rf"{Q}() was (?:the|its) answer", answered),
    form(rf"tests did not show that {STEPS} made a difference to the answer", not_shown),
    form("this does not show that (?:the|this|that) step made a difference to the answer", not_shown),
    form(rf"{SO}(?:tests showed that )?{STEPS} made a difference to the answer", mattered),
    form(rf"{SO}the answer depended on {STEPS}", mattered),
    form(rf"{SO}(?:tests showed that )?(?:this|that|the) step made a difference to the answer", this_mattered),
    form(rf"{SO}(?:no decisive choice was found|tests found no decisive choice)", nothing_found),
    form("(?:none of (?:its|the) steps|no steps?) (?:was|were) tested", none_tested),
    form(
        rf"writing {STEPS} anew did not change the answers? more than chance (?:could|would)",
        reason_for("p_value", like_chance, "chance is no explanation of it"),
    ),
    form(
        rf"the difference(?: at {STEPS})? was not clear enough for a test that is looked at several times",
        reason_for("level", unclear, "its looks are not the reason"),
    ),
    form(
        rf"the budget ended the test(?:ing)?(?: of {STEPS})? before it could tell",
        reason_for("stopped", cut_short, "the budget did not end that test"),
    ),
    form(
        rf"too seldom was something else written (?:there|at {STEPS})"
        rf"|it wrote something else too seldom (?:there|at {LISTED})",
        reason_for("different", too_seldom, "something else was written often enough, or it is not the reason"),
    ),
    form(
        rf"where it wrote something else at {STEPS} it ended without a readable answer(?! (?:\d|all))",
        reason_for("different_answers", mute, "it came to answers, or wrote nothing else"),
    ),
    form(
        rf"there was no answer to compare with at {STEPS}",
        reason_for("p_value", lone, "the answers were compared, or there was none"),
    ),
    form(
        rf"whenever {STEPS} (?:was|were) written anew it wrote the same(?: or nearly the same)?",
        reason_for("different", lambda test: not test.different, "it wrote something else"),
    ),
    form(
        r"step (?P<at>\d+) was (?:tested|written anew)(?: it wrote on from before it anew)?"
        r"(?:(?: (?:in|with|by))? (\d+) (?:times|tries))?",
        was_tested,
    ),
    form(rf"{STEPS} (?:was|were) not tested", was_not_tested),
    form(
        rf"where (?:in (?P<share>{SHARE}) )?it wrote something else{THERE}(?: (?P<share2>{SHARE}))?"
        rf" it (?P<ended>{ENDED})",
        ended_without,
    ),
    form(rf"where it kept to (?:that step|step (?P<at>\d+)) counting the original it (?P<ended>{ENDED})", ended_with),
    form(rf"in (?P<share>{SHARE}) it wrote something else{THERE}", something_else),
    form(rf"in (?P<share>{SHARE}) it wrote the same or nearly the same{THERE}", much_the_same),
    form(
        rf"in (?P<share>{SHARE}) it wrote (?:\ue000(?P<words>\d+)\ue001|nothing)(?: instead)?{THERE}(?: instead)?"
        rf"(?:(?: which| and| that| this)?(?: it)? (?P<ended>{ENDED}))?",
        instead,
    ),
    form(r"the other (\d+)(?: tries)? wrote something else(?: again)?", others),
    form(rf"(?:at )?step (\d+) (?:it )?wrote {Q}", wrote),
    form(rf"it wrote {Q} at step (\d+)", wrote_before),
    form(rf"#(\d+) {Q}", wrote),
    form(
        "a difference (?:this clear|as large(?: to where it kept to that step)?) comes about by chance "
        f"in {PART} of cases",
        by_chance,
    ),
    form(f"by chance a difference (?:this clear|as large) comes about in {PART} of cases", by_chance),
    form(f"{SO}nothing can be said about what another choice would have changed", nothing_said),
    form(
        "a predictor that learned from earlier tests guesses that a new test of (?:this|that|the) step would come "
        f"out the same in {PART} of cases that is (?:only )?a guess and no finding",
        guessed,
    ),
)
