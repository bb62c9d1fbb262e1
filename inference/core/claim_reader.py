"""What a claim needs to be read: the record, the quotations of the text, and which step a paragraph speaks of."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from inference.core.explain import percent
from inference.core.quotations import ANY, Q, clean, forms
from inference.core.records import Alternative, EvidenceRecord, StepTest
from inference.core.steps import content
from inference.core.wording import folded, share_is

UNREAD = "without a readable answer"
COUNT = r"(?:\d+|all(?: \d+)?) times"
ITEM = rf"(?:(?:in )?(?:{ANY}|{UNREAD})(?: {COUNT})?|{COUNT} (?:in )?(?:{ANY}|{UNREAD}))"
ENDED = rf"ended {ITEM}(?: (?:and )?{ITEM})*"
"""Answers, each with how often it came; one alone may stand without a number."""


class UnsupportedError(Exception):
    """The record does not hold this. Says what."""


def need(held: bool, otherwise: str) -> None:
    if not held:
        raise UnsupportedError(otherwise)


@dataclass
class Reader:
    """Goes through a text sentence by sentence; remembers which step a paragraph speaks of and what it has told."""

    record: EvidenceRecord
    quotations: list[str] = field(default_factory=list)
    step: int | None = None
    told: list[int] = field(default_factory=list)  # of the step's alternatives

    def enter(self, step: int | None) -> None:
        """From here on the text speaks of `step`; None: nobody knows which."""
        if step != self.step or step is None:
            self.step, self.told = step, []

    def same(self, number: str, text: str) -> bool:
        return clean(self.quotations[int(number)]) in forms(text)

    def pointed(self, number: str) -> int:
        """The step "step 3" names, from 0."""
        step = int(number) - 1
        need(0 <= step < len(self.record.steps), f"there is no step {number}")
        return step

    def steps(self, listed: str) -> list[int]:
        found = [self.pointed(number) for number in re.findall(r"\d+", listed)]
        need(len(set(found)) == len(found), "it names a step twice")
        return found

    def stated(self, number: str, words: str) -> int:
        """A step by number and words."""
        step = self.pointed(number)
        said = self.quotations[int(words)]
        need(self.same(words, self.record.steps[step]), f"step {number} does not say “{said}”")
        return step

    def test(self, step: int | None) -> tuple[int, StepTest]:
        if step is None:
            raise UnsupportedError("it does not say which step it means")
        for index, test in enumerate(self.record.tests):
            if test.step == step:
                return index, test
        raise UnsupportedError(f"step {step + 1} was not tested")

    def tested(self, found: re.Match[str], group: str = "at") -> tuple[int, StepTest]:
        """The test of the step that a claim names, or else of the one that the paragraph speaks of."""
        named = found.groupdict().get(group)
        return self.test(self.pointed(named) if named else self.step)

    def share(self, said: str | None, count: int, test: StepTest) -> None:
        """`said` as "7 of 12 tries" has to be `count`; what is not said claims nothing."""
        held = said is None or share_is(said, count, test.rollouts, test.different)
        need(held, "these are not the counts of the test")

    def answers(self, said: str, held: dict[str, int]) -> None:
        """'ended in “10” 2 times and “12” 1 times' has to be all the answers of `held`, each with its count."""
        found = [self.answer(item) for item in re.findall(ITEM, said)]
        wanted = sorted((clean(text), count) for text, count in held.items())
        total = sum(held.values())
        alone = len(found) == 1 and [(found[0][0], total)] == wanted and found[0][1] in (None, -1, total)
        need(alone or sorted_or_none(found) == wanted, "the answers or their counts are not those of the record")

    def answer(self, item: str) -> tuple[str, int | None]:
        """An answer and its count: None where none is given, -1 for "all times"."""
        text = re.search(Q, item)
        count = re.search(r"(all)?(?: ?(\d+))? times", re.sub(Q, "", item))
        times = None if count is None else int(count[2]) if count[2] else -1
        return clean(self.quotations[int(text[1])]) if text else "", times

    def alternative(self, test: StepTest, share: str, words: str | None, ended: str | None) -> int:
        """Where an alternative with these words, count and answers stands in the test, untold so far."""
        for at, other in enumerate(test.alternatives):
            counted = share_is(share, other.count, test.rollouts, test.different)
            if counted and self.says(other, words) and at not in self.told:
                if ended is not None:
                    self.answers(ended, other.answers)
                return at
        raise UnsupportedError("no alternative of that step has these words and this count")

    def says(self, other: Alternative, words: str | None) -> bool:
        return self.same(words, other.example) if words else not content(other.example)


def sorted_or_none(found: list[tuple[str, int | None]]) -> list[tuple[str, int]] | None:
    """Sorted, where each has its own count."""
    counted = [(text, count) for text, count in found if count is not None and count >= 0]
    return sorted(counted) if len(counted) == len(found) else None


def part_is(said: str, *shares: str) -> bool:
    """Whether "58%" or "less than 1%", as folded, is one of `shares` as the templates write them."""
    return said in {folded(share) for share in shares}


def is_percent(said: str, share: float) -> bool:
    return part_is(said, percent(share))
