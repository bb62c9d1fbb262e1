"""What robot raters like: the truth that a simulation plants, and the ways in which people stray from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from uuid import UUID

from studies.models import Assignment, CheckAnswer, Study

NOTICED = 1.1  # nobody sees which of two texts of nearly the same length is the shorter one


class UnknownTasteError(Exception):
    """No robot can prefer this. Says what they can."""


@dataclass(frozen=True)
class Shown:
    """What a compare page shows: the two texts, and which assignment or check answer it is."""

    left: str
    right: str
    assignment: UUID


Taste = Callable[[Shown], str]
"""The side that a robot likes better: a, b or tie."""


@dataclass(frozen=True)
class Habits:
    """How a robot answers; all are shares from 0 to 1.

    Of its answers `noise` are drawn from all buttons, and of the others `left_bias` take the left side whatever
    stands there. What remains follows the taste with probability `strength`, else takes the other side.
    """

    taste: Taste
    noise: float = 0.0
    left_bias: float = 0.0
    strength: float = 1.0

    def side(self, shown: Shown, random: Random) -> str | None:
        """a, b or tie; None for any button."""
        if random.random() < self.noise:
            return None
        better = known_better(shown.assignment)
        if better:
            return better
        if random.random() < self.left_bias:
            return "a"
        liked = self.taste(shown)
        return liked if liked == "tie" or random.random() < self.strength else "ab".replace(liked, "")


def known_better(public_id: UUID) -> str:
    """An attentive person sees which text of a check item is the better one. Empty for comparisons."""
    left = CheckAnswer.objects.filter(public_id=public_id).values_list("better_on_left", flat=True).first()
    return "" if left is None else "a" if left else "b"


def shorter(shown: Shown) -> str:
    """The side with fewer characters; a tie where the longer one is longer by less than a tenth."""
    left, right = len(shown.left), len(shown.right)
    if max(left, right) < NOTICED * min(left, right):
        return "tie"
    return "a" if left < right else "b"


def longer(shown: Shown) -> str:
    return {"a": "b", "b": "a", "tie": "tie"}[shorter(shown)]


def for_arm(name: str) -> Taste:
    """Prefers the explanation of arm `name`, which no page shows; a comparison without that arm is a tie."""

    def taste(shown: Shown) -> str:
        row = Assignment.objects.select_related("comparison__first_arm", "comparison__second_arm").get(
            public_id=shown.assignment
        )
        names = (row.comparison.first_arm.name, row.comparison.second_arm.name)
        if name not in names:
            return "tie"
        return "a" if (names.index(name) == 0) == row.first_on_left else "b"

    return taste


def taste_of(prefer: str, study: Study) -> Taste:
    """The taste that `prefer` names. Raises UnknownTasteError for an unknown one."""
    known: dict[str, Taste] = {"shorter": shorter, "longer": longer}
    known |= {f"arm:{name}": for_arm(name) for name in study.arms.values_list("name", flat=True)}
    if prefer not in known:
        raise UnknownTasteError(f"A robot cannot prefer {prefer!r}. It can prefer: {', '.join(known)}.")
    return known[prefer]
