"""Check an explanation against its evidence record: a sentence stands only with what the record holds for it.

A sentence is taken apart into claims, each of a known form: "In 3 of 6 new tries it wrote something else there".
Every number and quotation of it has to be the record's, at the place that the claim is about. What is left of the
sentence when its claims are taken out has to be words that claim nothing; one word more, and the whole sentence is
rejected. "There" and "this step" are the step that was last named alone in the same paragraph.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from inference.core.explain import LIKELIHOOD, NUMBERS, choices, often, percent, quote, shortened
from inference.core.records import Alternative, Candidate, Claim, EvidenceRecord, StepTest
from inference.core.steps import content

OPEN, CLOSE = "\ue000", "\ue001"  # private use: they stand around the number of a quotation
PRIVATE = str.maketrans("", "", OPEN + CLOSE)
ANY = f"{OPEN}\\d+{CLOSE}"
Q = f"{OPEN}(\\d+){CLOSE}"
WORDS = rf"\d+|{'|'.join(NUMBERS)}"
TIMES = rf"(?:({WORDS}) times|once)"
STEP = rf"step (\d+)(?: \({Q}\))?"
STEPS = rf"(?P<steps>step \d+(?: \({ANY}\))?(?:(?:, | and )step \d+(?: \({ANY}\))?)*)"
SHARE = r"(less than 1%|more than half|\d+%)"
ENDED = rf"(?:in |without a readable answer|and |, |{ANY}|\((?:(?:{WORDS}) times|once)\)|\s)+"
FILLER = frozenset(
    [
        "a",
        "and",
        "also",
        "at",
        "but",
        "finally",
        "first",
        "here",
        "however",
        "in",
        "it",
        "its",
        "model",
        "so",
        "still",
        "the",
        "then",
        "there",
        "while",
        "yet",
    ]
)
END = re.compile(r"(?<=[.!?])\s+")


class UnsupportedError(Exception):
    """The record does not hold this. Says what."""


@dataclass
class Reader:
    """Goes through a text sentence by sentence; remembers which step a paragraph speaks of and what it has told."""

    record: EvidenceRecord
    quotations: list[str] = field(default_factory=list)
    step: int | None = None
    told: list[int] = field(default_factory=list)  # of the step's alternatives

    # -- what a sentence says in its parts -------------------------------------------------------------------------

    def quoted(self, number: str) -> str:
        return self.quotations[int(number)]

    def same(self, number: str, text: str) -> bool:
        return self.quoted(number) in forms(text)

    def pointed(self, number: str) -> int:
        """The step "step 3" names, from 0."""
        step = int(number) - 1
        if not 0 <= step < len(self.record.steps):
            raise UnsupportedError(f"there is no step {number}")
        return step

    def steps(self, listed: str) -> list[int]:
        found = [self.stated(number, words) for number, words in re.findall(STEP, listed, re.IGNORECASE)]
        if len(set(found)) < len(found):
            raise UnsupportedError("it names a step twice")
        return found

    def stated(self, number: str, words: str | None) -> int:
        """A step by number and, where they are given, its words."""
        step = self.pointed(number)
        if words and not self.same(words, self.record.steps[step]):
            raise UnsupportedError(f"step {number} does not say “{self.quoted(words)}”")
        return step

    def test(self, step: int | None) -> tuple[int, StepTest]:
        if step is None:
            raise UnsupportedError("it does not say which step it means")
        for index, test in enumerate(self.record.tests):
            if test.step == step:
                return index, test
        raise UnsupportedError(f"step {step + 1} was not tested")

    def answers(self, said: str, held: dict[str, int]) -> None:
        """'in “10” (2 times) and “12” (once)' has to be all the answers of `held`, each with its count."""
        parts = re.findall(rf"(?:{Q}|(without a readable answer)) \({TIMES}\)", said)
        found = [("" if unread else self.quoted(text), number(count)) for text, unread, count in parts]
        if sorted(found) != sorted((clean(text), count) for text, count in held.items()):
            raise UnsupportedError("the answers or their counts are not those of the record")


def forms(text: str) -> set[str]:
    """The ways in which a text of the record may be quoted: whole or without its label, or cut short."""
    return {clean(made) for whole in (text, content(text)) for made in (whole, shortened(whole))}


def clean(text: str) -> str:
    return " ".join(text.translate(PRIVATE).split()).rstrip(" .")


def number(word: str | None) -> int:
    """A count in digits or in words; none stands for "once"."""
    if not word:
        return 1
    return NUMBERS.index(word.lower()) if word.lower() in NUMBERS else int(word)


def need(held: bool, otherwise: str) -> None:
    if not held:
        raise UnsupportedError(otherwise)


# -- the claims: what each needs of the record, and where that stands -----------------------------------------------

Found = re.Match[str]


def answered(reader: Reader, found: Found) -> list[str]:
    need(reader.same(found[1], reader.record.answer), f"the answer is not “{reader.quoted(found[1])}”")
    need(reader.record.read_by != LIKELIHOOD, "it settled on no option by itself")
    return ["/answer"]


def held_likeliest(reader: Reader, found: Found) -> list[str]:
    need(reader.same(found[1], reader.record.answer), f"the answer is not “{reader.quoted(found[1])}”")
    need(reader.record.read_by == LIKELIHOOD, "it stated its answer")
    return ["/answer", "/read_by"]


def why(reader: Reader, found: Found) -> list[str]:
    need(reader.same(found[1], reader.record.answer), f"the answer is not “{reader.quoted(found[1])}”")
    return ["/answer"]


def wrote(reader: Reader, found: Found) -> list[str]:
    step = reader.stated(found[1], found[2])
    forced = reader.record.read_by == LIKELIHOOD and step == len(reader.record.steps) - 1
    need(not forced, "the model did not write that step: it is the answer that was put there")
    return [f"/steps/{step}"]


def mattered(reader: Reader, found: Found) -> list[str]:
    tests = [reader.test(step) for step in reader.steps(found["steps"])]
    need(all(test.confirmed for _, test in tests), "no test confirmed that")
    return [f"/tests/{index}/confirmed" for index, _ in tests]


def this_mattered(reader: Reader, found: Found) -> list[str]:
    index, test = reader.test(reader.step)
    need(test.confirmed, "no test confirmed that")
    return [f"/tests/{index}/confirmed"]


def nothing_found(reader: Reader, found: Found) -> list[str]:
    need(not reader.record.decision_points, "a decision point was found")
    return [f"/tests/{index}/confirmed" for index in range(len(reader.record.tests))] or ["/tests"]


def none_tested(reader: Reader, found: Found) -> list[str]:
    need(not reader.record.tests, "steps were tested")
    return ["/tests"]


def reason_for(field: str, holds: Callable[[StepTest], bool], otherwise: str) -> Callable[[Reader, Found], list[str]]:
    """A reason why nothing was found, which has to hold for each of the steps that it names."""

    def check(reader: Reader, found: Found) -> list[str]:
        tests = [reader.test(step) for step in reader.steps(found["steps"])]
        need(all(holds(test) and not test.confirmed for _, test in tests), otherwise)
        return [f"/tests/{index}/{field}" for index, _ in tests]

    return check


def mute(test: StepTest) -> bool:
    return test.different > 0 and not any(test.different_answers.get(text) for text in test.different_answers if text)


def was_tested(reader: Reader, found: Found) -> list[str]:
    index, test = reader.test(reader.pointed(found[1]))
    need(test.rollouts == number(found[2]), f"step {found[1]} was resampled {test.rollouts} times")
    return [f"/tests/{index}/rollouts"]


def was_not_tested(reader: Reader, found: Found) -> list[str]:
    steps = [reader.pointed(one) for one in re.findall(r"\d+", found[0])]
    done = {test.step for test in reader.record.tests}
    need(len(set(steps)) == len(steps), "it names a step twice")
    need(all(step in choices(reader.record) and step not in done for step in steps), "it was tested, or is no choice")
    return ["/tests", *(f"/steps/{step}" for step in steps)]


def something_else(reader: Reader, found: Found) -> list[str]:
    index, test = reader.test(reader.step)
    need((test.different, test.rollouts) == (int(found[1]), int(found[2])), "these are not the counts of the test")
    return [f"/tests/{index}/different", f"/tests/{index}/rollouts"]


def always_same(reader: Reader, found: Found) -> list[str]:
    index, test = reader.test(reader.step)
    need((test.different, test.rollouts) == (0, int(found[1])), "these are not the counts of the test")
    return [f"/tests/{index}/different", f"/tests/{index}/rollouts"]


def instead(reader: Reader, found: Found) -> list[str]:
    index, test = reader.test(reader.step)
    need(test.rollouts == int(found[2]), f"there were {test.rollouts} tries")
    at = alternative(reader, test, found)
    reader.told.append(at)
    return [f"/tests/{index}/alternatives/{at}"]


def alternative(reader: Reader, test: StepTest, found: Found) -> int:
    for at, other in enumerate(test.alternatives):
        if other.count == int(found[1]) and says(reader, other, found[3]) and at not in reader.told:
            reader.answers(found["ended"], other.answers)
            return at
    raise UnsupportedError("no alternative of that step has these words and this count")


def says(reader: Reader, other: Alternative, words: str | None) -> bool:
    return reader.same(words, other.example) if words else not content(other.example)


def others(reader: Reader, found: Found) -> list[str]:
    index, test = reader.test(reader.step)
    rest = test.different - sum(test.alternatives[at].count for at in reader.told)
    need(bool(reader.told) and rest == number(found[1]), f"{rest} others are left")
    return [f"/tests/{index}/different", f"/tests/{index}/alternatives"]


def outcome(reader: Reader, found: Found) -> list[str]:
    reader.step = reader.pointed(found[1]) if found[1] else reader.step
    index, test = reader.test(reader.step)
    need((test.different, test.rollouts) == (int(found[2]), int(found[3])), "these are not the counts of the test")
    reader.answers(found["without"], test.different_answers)
    reader.answers(found["with"], test.kept_answers)
    return [f"/tests/{index}/{name}" for name in ("different", "rollouts", "different_answers", "kept_answers")]


def by_chance(reader: Reader, found: Found) -> list[str]:
    index, test = reader.test(reader.step)
    need(test.confirmed and test.p_value is not None and percent(test.p_value) == found[1], "not the test's p-value")
    return [f"/tests/{index}/p_value"]


def not_shown(reader: Reader, found: Found) -> list[str]:
    index, test = reader.test(reader.step)
    need(not test.confirmed, "a test confirmed that it did")
    need(test.p_value is not None and often(test.p_value) == found[1], "not the test's p-value")
    return [f"/tests/{index}/confirmed", f"/tests/{index}/p_value"]


def nothing_said(reader: Reader, found: Found) -> list[str]:
    index, test = reader.test(reader.step)
    need(not test.confirmed and (not test.different or test.p_value is None), "the answers could be compared")
    return [f"/tests/{index}/p_value"]


def attended(reader: Reader, found: Found) -> list[str]:
    signals, step = reader.record.signals, reader.pointed(found[2])
    need(percent(signals[step].inverse_flow) == found[1], f"not the share of step {found[2]}")
    top = max(signals[other].inverse_flow for other in choices(reader.record))
    need(step in choices(reader.record) and signals[step].inverse_flow == top, f"step {found[2]} is not the first")
    return [f"/signals/{step}/inverse_flow"]


def rested(reader: Reader, found: Found) -> list[str]:
    step, source = reader.pointed(found[1]), reader.pointed(found[3])
    for index, finding in enumerate(reader.record.findings):
        for at, held in enumerate(finding.rested_on):
            if (finding.step, held.step, percent(held.share)) == (step, source, found[2]):
                return [f"/findings/{index}/rested_on/{at}"]
    raise UnsupportedError(f"the record does not say that of steps {found[1]} and {found[3]}")


SAYS: tuple[tuple[str, Callable[[Reader, Found], list[str]]], ...] = (
    (rf"(?:(?:the model|it) answered|(?:the|its) answer (?:is|was)) {Q}", answered),
    (
        rf"the model settled on no option by itself; asked for its answer, it held {Q} the likeliest",
        held_likeliest,
    ),
    (rf"^Why {Q} and not something else", why),
    (rf"(?:Tests showed that )?{STEPS} made a difference to the answer", mattered),
    (r"this step made a difference to the answer", this_mattered),
    (r"no decisive choice was found", nothing_found),
    (r"none of its steps was tested", none_tested),
    (
        rf"writing {STEPS} anew did not change the answers more than chance could",
        reason_for("p_value", lambda test: (test.p_value or 0) > test.level, "chance is no explanation of it"),
    ),
    (
        rf"too seldom was anything else written at {STEPS}",
        reason_for(
            "different", lambda test: test.p_value is not None and test.p_value <= test.level, "not the reason"
        ),
    ),
    (
        rf"where it wrote something else at {STEPS}, it came to no answer",
        reason_for("different_answers", mute, "it came to answers, or wrote nothing else"),
    ),
    (
        rf"whenever {STEPS} was written anew, it said the same",
        reason_for("different", lambda test: not test.different, "it wrote something else"),
    ),
    (rf"at step (\d+),? (?:the model|it) wrote {Q}", wrote),
    (rf"\((\d+)\) {Q}", wrote),
    (rf"step (\d+) (?:says|said|reads) {Q}", wrote),
    (rf"step (\d+) was tested: the model wrote on from before it anew, {TIMES}", was_tested),
    (r"step \d+ was not tested|steps \d+(?:, \d+)*(?: and \d+)? were not tested", was_not_tested),
    (r"in (\d+) of (\d+) (?:new )?tries,? (?:the model|it) wrote something else(?: there)?", something_else),
    (r"in all (\d+) new tries it wrote the same or nearly the same", always_same),
    (
        rf"in (\d+) of (\d+)(?: (?:new )?tries)?,? it wrote (?:{Q}|nothing) instead, which ended (?P<ended>{ENDED})",
        instead,
    ),
    (rf"the other ({WORDS}) said something else again", others),
    (
        rf"where it wrote something else (?:there|at step (\d+)) \((\d+) of (\d+) new tries\), "
        rf"it ended (?P<without>{ENDED}); where it kept to that step, counting the original, "
        rf"it ended (?P<with>{ENDED})",
        outcome,
    ),
    (rf"a difference this clear comes about by chance in {SHARE} of cases", by_chance),
    (
        r"this does not show that the step mattered: a difference as large to where it kept the step comes about by "
        rf"chance in {SHARE} of cases",
        not_shown,
    ),
    (r"nothing can be said about what another choice would have changed", nothing_said),
    (
        rf"when it gave its answer, {SHARE} of the attention that it paid to its own steps led back to step (\d+), "
        r"more than to any other step before the answer; that alone does not show that this step mattered",
        attended,
    ),
    (
        rf"when it wrote step (\d+), {SHARE} of the attention that it paid to earlier steps led back to step (\d+); "
        r"that alone does not show that it needed that step",
        rested,
    ),
)
FORMS = tuple((re.compile(pattern, re.IGNORECASE), check) for pattern, check in SAYS)
INTRODUCTION = re.compile(r"It wrote these steps:")


# -- the text -------------------------------------------------------------------------------------------------------


def check_claims(record: EvidenceRecord, text: str) -> list[list[Claim]]:
    """Every sentence of every paragraph of `text`, in order, with where it stands in `record` or why it does not."""
    masked, quotations = mask(record, text)
    reader = Reader(record, [clean(quotation) for quotation in quotations])
    checked = []
    for paragraph in re.split(r"\n\s*\n", masked):
        reader.step, reader.told = None, []
        checked.append([check_sentence(reader, sentence, quotations) for sentence in END.split(paragraph.strip())])
    return checked


def supported(record: EvidenceRecord, text: str) -> tuple[str, list[Claim], int]:
    """`text` without the sentences that `record` does not support; the claims left; how many were dropped."""
    checked = check_claims(record, text)
    kept = [[claim for claim in paragraph if claim.accepted] for paragraph in checked]
    left = "\n\n".join(" ".join(claim.sentence for claim in paragraph) for paragraph in kept if paragraph)
    claims = [claim for paragraph in kept for claim in paragraph]
    return left, claims, sum(len(paragraph) for paragraph in checked) - len(claims)


def supported_only(record: EvidenceRecord, candidate: Candidate) -> Candidate:
    """The candidate without the sentences that `record` does not support, and with their count."""
    text, _, rejected = supported(record, candidate.text)
    return replace(candidate, text=text, rejected=candidate.rejected + rejected)


def mask(record: EvidenceRecord, text: str) -> tuple[str, list[str]]:
    """The text with its quotations numbered, and these: what they hold neither ends a sentence nor claims anything.

    A quotation may have quotation marks inside, if the record has them.
    """
    known = sorted(known_texts(record), key=len, reverse=True)
    text, at = text.translate(PRIVATE), 0
    quotations: list[str] = []
    parts: list[str] = []
    while (start := text.find("“", at)) >= 0:
        inside = next((one for one in known if text.startswith(f"{one}”", start + 1)), None)
        if inside is None:
            end = text.find("”", start)
            if end < 0:
                break
            inside = text[start + 1 : end]
        parts += [text[at:start], f"{OPEN}{len(quotations)}{CLOSE}"]
        quotations.append(inside)
        at = start + len(inside) + 2
    return "".join([*parts, text[at:]]), quotations


def known_texts(record: EvidenceRecord) -> Iterator[str]:
    """All texts of the record as they may stand between quotation marks."""
    answers = [answer for test in record.tests for answer in (*test.kept_answers, *test.different_answers)]
    examples = [other.example for test in record.tests for other in test.alternatives]
    nested = [answer for test in record.tests for other in test.alternatives for answer in other.answers]
    for text in {record.answer, *record.steps, *answers, *examples, *nested}:
        for whole in (text, content(text)):
            for made in (whole, shortened(whole)):
                yield quote(made)[1:-1].translate(PRIVATE)


def check_sentence(reader: Reader, masked: str, quotations: list[str]) -> Claim:
    """Takes the claims out of the sentence one after the other, and looks at what is left."""
    sentence = re.sub(Q, lambda found: f"“{quotations[int(found[1])]}”", masked)
    named = {int(step) - 1 for step in re.findall(r"\bsteps? (\d+)", masked, re.IGNORECASE)}
    attention = "attention" in masked
    if named and not attention and named != {reader.step}:
        reader.step, reader.told = (named.pop() if len(named) == 1 else None), []
    try:
        return Claim(sentence, tuple(dict.fromkeys(pointers(reader, masked))))
    except UnsupportedError as error:
        reader.step, reader.told = None, []  # without this sentence nobody knows what "there" is
        return Claim(sentence, (), f"{error}")


def pointers(reader: Reader, masked: str) -> list[str]:
    found: list[str] = []
    rest = INTRODUCTION.sub(" ", masked)
    for form, check in FORMS:
        while said := form.search(rest):
            found += check(reader, said)
            rest = f"{rest[: said.start()]} {rest[said.end() :]}"
    unknown = [word for word in re.findall(rf"{OPEN}|%|[^\W_]+", rest) if word.lower() not in FILLER]
    if unknown:
        shown = re.sub(Q, "a quotation", rest.strip(" .,;:"))
        raise UnsupportedError(f"the record decides nothing about: {shortened(shown)}")
    need(bool(found), "it claims nothing that the record holds")
    return found
