"""Keep the answer line to the options: after "Answer:" the model can only write one of them.

Guided choice, as servers of language models offer it. The chain before that line is free, and so are think blocks;
the tokens of the answer keep the log-probabilities that the model gave them unguided: a forced answer can be told
from a willing one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence

from inference.core.steps import spoken

CUE = re.compile(r"^\W*(?:final\s+)?answer\s*:[ \t]*", re.IGNORECASE | re.MULTILINE)
CUE_ENDS = re.compile(CUE.pattern + r"\Z", re.IGNORECASE | re.MULTILINE)


class AnswerGuide:
    """Called with the tokens of a row so far, returns those that may come next; None where all may."""

    def __init__(
        self, options: Sequence[Sequence[int]], end_ids: Collection[int], decode: Callable[[Sequence[int]], str]
    ) -> None:
        """`options` are token ids, with the space that follows the colon."""
        self.options = [tuple(option) for option in options]
        self.longest = max(map(len, self.options), default=0)
        self.end_ids = frozenset(end_ids)
        self.decode = decode

    def __call__(self, ids: Sequence[int]) -> frozenset[int] | None:
        if not self.options or not CUE.search(spoken(self.decode(ids))):
            return None
        for start in range(max(0, len(ids) - self.longest - 1), len(ids) + 1):
            if CUE_ENDS.search(spoken(self.decode(ids[:start]))):
                return self.following(tuple(ids[start:]))
        return None

    def following(self, written: tuple[int, ...]) -> frozenset[int] | None:
        """What continues the options that begin with `written`; the end of the turn where one is complete."""
        size = len(written)
        begun = [option for option in self.options if option[:size] == written]
        ends = self.end_ids if written in begun else frozenset()
        return frozenset(option[size] for option in begun if len(option) > size) | ends or None
