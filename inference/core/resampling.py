"""Draw the rollouts of a causal test, as many as are asked for from each place of the chain.

What an earlier run kept is not drawn again, and what two tests share is drawn once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from inference.core.cache import PrefixCache
from inference.core.decode import Sampling
from inference.core.kept import Kept, Tokens, row_keys
from inference.core.language_model import LanguageModel
from inference.core.limits import context_of
from inference.core.reasoning import ends
from inference.core.records import Trace
from inference.core.rollouts import Start
from inference.core.spans import token_at
from inference.core.steps import OPENING, thinking

log = logging.getLogger(__name__)

SHORTEST = 48  # tokens that a resample may write where the context has room for them


@dataclass
class Resamples:
    """Continuations of the chain, each to its answer, by the first token that they replace.

    They have all that was written, white space at the end included. `spent` counts the tokens of all of them, those
    included that an earlier run drew.
    """

    model: LanguageModel
    trace: Trace
    seed: int
    prefix: PrefixCache | None = None
    kept: Kept | None = None
    rows: dict[int, list[Tokens]] = field(default_factory=dict)
    spent: int = 0

    def begun(self, start: int) -> Start:
        return start_of(self.model, self.trace, start, self.seed)

    def missing(self, wanted: Mapping[int, int]) -> dict[int, range]:
        """The rows that are still to be drawn, by start, for `wanted` rows of each."""
        have = {start: len(self.rows.get(start, ())) for start in wanted}
        return {start: range(have[start], wanted[start]) for start in sorted(wanted) if have[start] < wanted[start]}

    def most(self, wanted: Mapping[int, int]) -> int:
        """Tokens that these rows can have at most, beyond those that are there."""
        longest = {start: self.begun(start).sampling.max_new_tokens for start in wanted}
        return sum(longest[start] * len(rows) for start, rows in self.missing(wanted).items())

    def draw(self, wanted: Mapping[int, int], tick: Callable[[float], None]) -> None:
        """Have at least so many rows of each start. All that is missing is drawn together."""
        missing = self.missing(wanted)
        found = {start: self.found(start, rows) for start, rows in missing.items()}
        lacking = {
            start: [row for row in rows if row not in found[start]]
            for start, rows in missing.items()
            if len(found[start]) < len(rows)
        }
        for start, made in zip(lacking, self.written(lacking, tick), strict=True):
            found[start] |= zip(lacking[start], made, strict=True)
        for start, rows in missing.items():
            self.rows.setdefault(start, []).extend(found[start][row] for row in rows)
            self.spent += sum(len(found[start][row]) for row in rows)

    def found(self, start: int, rows: Sequence[int]) -> dict[int, Tokens]:
        """What an earlier run drew of these rows."""
        if self.kept is None:
            return {}
        known = {row: self.kept.get(key) for row, key in zip(rows, self.keys(start, rows), strict=True)}
        return {row: tokens for row, tokens in known.items() if tokens is not None}

    def written(self, lacking: Mapping[int, Sequence[int]], tick: Callable[[float], None]) -> list[list[Tokens]]:
        places = list(lacking)

        def done(place: int, row: int, tokens: Tokens) -> None:
            if self.kept is not None:
                (key,) = self.keys(places[place], [row])
                self.keep(key, tokens)

        if not lacking:
            return []
        return self.model.generate_many(
            [self.begun(start) for start in places],
            rows=list(lacking.values()),
            stop=ends,
            options=self.trace.problem.options,
            prefix=self.prefix,
            tick=tick,
            done=done,
            whole=True,
        )

    def keep(self, key: str, tokens: Tokens) -> None:
        """What cannot be kept, on a full disk for example, is told once and costs a killed run its rollouts only."""
        try:
            if self.kept is not None:
                self.kept.put(key, tokens)
        except OSError as error:
            log.warning(
                "No more rollouts are kept in %s (%s): after an interruption they are drawn anew", self.kept, error
            )
            self.kept = None

    def keys(self, start: int, rows: Sequence[int]) -> list[str]:
        return row_keys(self.model, self.begun(start), self.trace.problem.options, rows)


def start_of(model: LanguageModel, trace: Trace, start: int, seed: int) -> Start:
    """Where rollouts begin that replace the chain from its token `start` on, each within the model's context."""
    ids, settings = (*trace.prompt_ids, *(token.id for token in trace.tokens[:start])), trace.settings
    longest = max(SHORTEST, min(settings.max_new_tokens - start, 2 * (len(trace.tokens) - start)))
    room = (context_of(model.module) or len(ids) + longest) - len(ids)
    return Start(
        ids,
        Sampling(min(longest, max(1, room)), settings.temperature, settings.top_p, seed * 100_003 + start + 1),
        think_tag(trace, start),
    )


def think_tag(trace: Trace, start: int) -> tuple[int, ...]:
    """The tokens of the `<think>` tag whose block token `start` of the chain is in; none where it is outside one."""
    before = "".join(token.text for token in trace.tokens[:start])
    if not thinking(before):
        return ()
    at = before.rfind(OPENING)
    tag = trace.tokens[token_at(trace, at) : token_at(trace, at + len(OPENING) - 1) + 1]
    return tuple(token.id for token in tag)
