"""Split a chain into steps: lines, and sentences within a line.

A step's label ("Step 2:") belongs to it; `content_start` says where its own words begin. A formula is never cut, and
`<think>` tags belong to the step that they stand next to.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from inference.core.records import Step

OPENING, CLOSING = "<think>", "</think>"
LABEL = re.compile(
    rf"\s*(?:{OPENING}\s*(?:{CLOSING}\s*)?)?(?:#+\s*)?"
    r"(?:\*{0,2}(?:(?:step\s*)?\(?\d{1,3}\s*[:.)](?!\d)|step\s*\d{1,3}(?!\d))\*{0,2}|[-*](?=\s)|•)\s*",
    re.IGNORECASE,
)
ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|vs|approx|mr|mrs|ms|dr|prof|st|cf|al|resp)|\b[a-z])\.$", re.IGNORECASE
)
BEFORE_NUMBER = re.compile(r"\b(?:no|nos|fig|figs|eq|eqs|ch|sec|vol|pp)\.$", re.IGNORECASE)
SENTENCE_END = re.compile(
    rf"[.!?؟।]+[\"')\]”’»*]*(?:{CLOSING})?(?=\s+\S)|[。！？]+[」』”’)）]*(?:{CLOSING})?(?=\s*\S)|{CLOSING}(?=\s*\S)"
)
# TeX, and dollars as Pandoc tells formulas from prices: no space inside them, no digit after them.
FORMULA = re.compile(
    r"(?s:\$\$.+?\$\$|\\\[.+?\\\]|\\\(.+?\\\)|\\begin\{(\w+\*?)\}.+?\\end\{\1\})"
    r"|(?<![\\$])\$(?=[^\s$])[^$\n]*(?<=[^\s\\])\$(?![\d$])"
)

THOUGHT = re.compile(rf"{OPENING}.*?(?:{CLOSING}|\Z)", re.DOTALL)

Span = tuple[int, int]


def spoken(chain: str) -> str:
    """The chain with blanks for its think blocks, each character in its place: what stands in one states nothing."""
    return THOUGHT.sub(lambda block: " " * len(block[0]), chain)


def thinking(chain: str) -> bool:
    """Whether it ends within a think block."""
    return chain.rfind(OPENING) > chain.rfind(CLOSING)


def split_spans(chain: str) -> list[Span]:
    """Character spans [start, end) of the steps, in order, without surrounding white space.

    Every character that is not white space lies in exactly one span.
    """
    whole = [formula.span() for formula in FORMULA.finditer(chain)]
    spans: list[Span] = []
    for start, end in lines(chain, whole):
        spans += [trimmed(chain, *sentence) for sentence in sentences(chain, start, end, whole)]
    return with_tags(chain, [(start, end) for start, end in spans if start < end])


def lines(chain: str, whole: Sequence[Span]) -> Iterator[Span]:
    """Spans of the lines; a line break within one of the spans `whole` ends no line."""
    at = 0
    for stop in re.finditer(r"[\n\r]+", chain):
        if not within(stop.start(), whole):
            yield at, stop.start()
            at = stop.end()
    yield at, len(chain)


def with_tags(chain: str, spans: Sequence[Span]) -> list[Span]:
    """An opening tag that stands alone joins the step after it, a closing one the step before it.

    So does a block without a word in it.
    """
    made: list[Span] = []
    for start, end in spans:
        alone = made and wordless(chain[made[-1][0] : made[-1][1]])
        if made and (alone or chain[start:end] == CLOSING):
            made[-1] = (made[-1][0], end)
        else:
            made.append((start, end))
    return made


def wordless(text: str) -> bool:
    """Whether tags are all there is."""
    return not text.replace(OPENING, "").replace(CLOSING, "").strip()


def within(offset: int, whole: Sequence[Span]) -> bool:
    return any(start <= offset < end for start, end in whole)


def sentences(chain: str, start: int, end: int, whole: Sequence[Span] = ()) -> list[Span]:
    """Spans of the sentences of one line; a number, an abbreviation, a label or a formula ends no sentence."""
    spans, at = [], start
    while (stop := sentence_end(chain, at, end, whole)) < end:
        spans.append((at, stop))
        at = stop
    return [*spans, (at, end)]


def sentence_end(chain: str, start: int, end: int, whole: Sequence[Span]) -> int:
    for stop in SENTENCE_END.finditer(chain, content_start(chain, start, end), end):
        goes_on = abbreviated(chain, start, stop) or within(stop.start(), whole) or joins(chain, stop.end())
        if not goes_on:
            return stop.end()
    return end


def abbreviated(chain: str, start: int, stop: re.Match[str]) -> bool:
    """Whether the mark ends an abbreviation; "no." is one before a number only."""
    before = chain[start : stop.start() + 1]
    numbered = BEFORE_NUMBER.search(before) and chain[stop.end() :].lstrip()[:1].isdigit()
    return bool(ABBREVIATION.search(before) or numbered)


def joins(chain: str, at: int) -> bool:
    """Whether the character at `at` is a mark upon the one before it, or joins it with the next."""
    return at < len(chain) and (unicodedata.category(chain[at]).startswith("M") or chain[at] == "\u200d")


def content_start(text: str, start: int = 0, end: int | None = None) -> int:
    """Where the words of a step begin, after its label; `end` when the label is all there is."""
    label = LABEL.match(text, start, len(text) if end is None else end)
    return label.end() if label else start


def content(step: str) -> str:
    """The step's text without its label."""
    return step[content_start(step) :].strip()


def trimmed(chain: str, start: int, end: int) -> Span:
    while start < end and chain[start].isspace():
        start += 1
    while start < end and chain[end - 1].isspace():
        end -= 1
    return start, end


def split_steps(chain: str, tokens: Sequence[str]) -> tuple[Step, ...]:
    """The steps of `chain` with token spans. `tokens` are its pieces: joined they are the chain.

    A token that reaches into two steps counts for the earlier one; a step without a token of its own joins the
    step before it. Token spans hold every token that touches a step, in order and without overlap.
    """
    if "".join(tokens) != chain:
        raise ValueError("the tokens do not spell the chain: give the pieces of exactly this chain, in order")
    starts = [0]
    for token in tokens:
        starts.append(starts[-1] + len(token))
    steps: list[Step] = []
    for start, end in split_spans(chain):
        step = spanned(chain, start, end, starts, steps)
        if step.token_start < step.token_end:
            steps.append(step)
        else:
            last = steps.pop()
            steps.append(spanned(chain, last.char_start, end, starts, steps))
    return tuple(steps)


def spanned(chain: str, start: int, end: int, starts: list[int], before: list[Step]) -> Step:
    """The step over characters [start, end); token i covers characters [starts[i], starts[i + 1])."""
    floor = before[-1].token_end if before else 0
    touching = [
        index
        for index in range(floor, len(starts) - 1)
        if starts[index] < end and starts[index + 1] > start and starts[index] < starts[index + 1]
    ]
    first, last = (touching[0], touching[-1] + 1) if touching else (floor, floor)
    return Step(len(before), chain[start:end], start, end, first, last)
