"""Fold the many wordings of a claim into one, so that each form of claims is written once.

Works on sentences whose quotations are numbered (see quotations.py). A folded sentence says what the sentence said or
more, never less: whatever the record holds for it, it holds for the sentence. So a stronger word ("decided",
"caused") is never folded into a weaker one, and what has no place in the tables stays, for the checker to reject.
"""

from __future__ import annotations

import re

from inference.core.quotations import ANY, CLOSE, OPEN
from inference.core.synonyms import NOUNS, QUANTITIES, VERBS, Synonyms

BELOW_TWENTY = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")

SHARE = (
    r"(?:\d+ of (?:these )?\d+(?: tries)?|\d+ of these(?: tries)?|(?:\d/\d|\d+%) of (?:\d+ tries|tries|\d+)"
    r"|all (?:\d+ )?tries)"
)
"""How many of the tries. Written out: 7 of 12 tries; 3 of these; 1/2 of tries; 58% of 12 tries; all 12 tries."""

PART = r"(under-1%|overhalf|\d+%)"
WRITTEN = rf"{ANY}|something else|nothing|the same or nearly the same"
LISTED = rf"steps? \d+(?: {ANY})?(?: (?:and )?(?:step )?\d+(?: {ANY})?)*"
WHERE = rf"(?: there| at step \d+(?: {ANY})?)?"


def whole(pattern: str) -> re.Pattern[str]:
    """Whole words only, and no number of a quotation."""
    return re.compile(rf"(?<![\w/.{OPEN}])(?:{pattern})(?![\w/{CLOSE}])")


def compiled(synonyms: Synonyms) -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((whole(variants), instead) for instead, variants in synonyms)


MARKS = (
    (re.compile(r"[*`]+|^#+"), ""),  # of Markdown
    (re.compile(r"[’‘]"), "'"),
    (re.compile(r"\bcan(?:'t|not)\b"), "can not"),
    (re.compile(r"n't\b"), " not"),
    (re.compile(r"\((\d+)\)"), r" #\1 "),
    (re.compile(r"(?<=\d)\s*[–—-]\s*(?=\d)"), "~"),  # a range or a difference: nothing is said of such
    (re.compile(r"\s-+\s|[–—:(),;]"), " "),
    (re.compile(r"(?<=\d) %"), "%"),
)
COUNTS = compiled(
    (
        ("1 times", "once|(?:a|one|1) (?:single )?time"),
        ("2 times", "twice"),
        ("under-1%", "(?:less than|under|below) (?:1|one) ?(?:%|percent|per cent)"),
        ("overhalf", "(?:more than|over) (?:one |a )?half"),
    )
)
ORDINAL = whole(rf"(?:the )?({'|'.join(ORDINALS)}) step(?! \d)")
IN_WORDS = whole(rf"({'|'.join(TENS)})(?:[- ]({'|'.join(BELOW_TWENTY[1:10])}))?|({'|'.join(BELOW_TWENTY)})")
SYNONYMS = compiled((*NOUNS, *QUANTITIES, *VERBS))
ORDER = (
    (re.compile(rf"rewriting ({LISTED})"), r"writing \1 anew"),
    (re.compile(rf"(?:^|(?<=\s))({WRITTEN}) was written(?: by it)?(?! anew)"), r"it wrote \1"),
    (re.compile(rf"(?<!in )(?<!\w)({SHARE}) wrote (?={WRITTEN})"), r"in \1 it wrote "),
    (re.compile(rf"(it wrote (?:{WRITTEN})(?: instead)?{WHERE}(?: instead)?) in ({SHARE})"), r"in \2 \1"),
    (re.compile(rf"at (step \d+(?: {ANY})?) in ({SHARE}) (it wrote (?:{WRITTEN})(?: instead)?)"), r"in \2 \3 at \1"),
)
"""The passive made active, and the parts of a sentence put in one order."""


def folded(sentence: str) -> str:
    """The sentence in the wording that the forms of claims have: lower case, digits, no commas or brackets."""
    text = sentence.lower()
    for pattern, instead in (*MARKS, *COUNTS):
        text = squeezed(pattern.sub(instead, text))
    text = IN_WORDS.sub(in_digits, ORDINAL.sub(by_ordinal, text))
    for pattern, instead in (*SYNONYMS, *ORDER):
        text = squeezed(pattern.sub(instead, text))
    return text


def squeezed(text: str) -> str:
    return " ".join(text.split())


def by_ordinal(found: re.Match[str]) -> str:
    return f"step {ORDINALS.index(found[1]) + 1}"


def in_digits(found: re.Match[str]) -> str:
    """A number from zero to ninety-nine in words."""
    tens, units, below = found.groups()
    if below:
        return str(BELOW_TWENTY.index(below))
    return str(10 * (TENS.index(tens) + 2) + (BELOW_TWENTY.index(units) if units else 0))


def share_is(said: str, count: int, rollouts: int, different: int) -> bool:
    """Whether a SHARE says `count` of the `rollouts`; "of these 7" may also be of those that were different."""
    number, _, rest = said.partition(" of ")
    if number.startswith("all"):
        return count == rollouts and re.findall(r"\d+", said) in ([], [str(rollouts)])
    bases = {rollouts, different} if "these" in rest else {rollouts}
    if any(int(base) not in bases for base in re.findall(r"\d+", rest)):
        return False
    if "/" in number:
        numerator, denominator = map(int, number.split("/"))
        return count * denominator == rollouts * numerator
    if number.endswith("%"):
        return rollouts > 0 and number == f"{100 * count / rollouts:.0f}%"
    return int(number) == count
