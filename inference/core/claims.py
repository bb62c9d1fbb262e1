"""Check an explanation against its evidence record: a sentence stands only with what the record holds for it.

A sentence is folded into one wording (wording.py) and taken apart into claims, each of a known form (claim_forms.py):
"In 3 of 6 new tries it wrote something else there". Every number and quotation of it has to be the record's, at the
place that the claim is about. What is left of the sentence when its claims are taken out has to be words that claim
nothing; one word more, and the whole sentence is rejected. "There" and "this step" are the step that was last named
alone in the same paragraph.
"""

from __future__ import annotations

import re

from inference.core.claim_forms import FORMS, wrote
from inference.core.claim_reader import Reader, UnsupportedError, need
from inference.core.explain import shortened
from inference.core.quotations import Q, mask
from inference.core.records import Claim, EvidenceRecord
from inference.core.wording import folded

WORDS = "a also and at but finally first here however in it its still the then there while yet"
FILLER = frozenset(WORDS.split())  # no "so": it would make one claim the cause of another
INTRODUCTION = "it wrote these steps"
END = re.compile(r"(?<=[.!?])\s+|\n")
NAMED = re.compile(r"\bsteps? (\d+(?:(?: \ue000\d+\ue001)?(?: and)? (?:step )?\d+(?!\d| of|%| times| tries))*)")


def check_claims(record: EvidenceRecord, text: str) -> list[list[Claim]]:
    """Every sentence of every paragraph of `text`, in order, with where it stands in `record` or why it does not."""
    masked, quotations = mask(record, text)
    reader = Reader(record, quotations)
    checked = []
    for paragraph in re.split(r"\n\s*\n", masked):
        reader.enter(None)
        sentences = [sentence for sentence in END.split(paragraph.strip()) if sentence.strip()]
        checked.append([check_sentence(reader, sentence) for sentence in sentences])
    return checked


def supported(record: EvidenceRecord, text: str) -> tuple[str, list[Claim], int]:
    """`text` without the sentences that `record` does not support; the claims left; how many were dropped.

    Every sentence of what is returned stands by itself: it is checked again without those that were dropped.
    """
    checked = check_claims(record, text)
    kept = [[claim for claim in paragraph if claim.accepted] for paragraph in checked]
    left = "\n\n".join(" ".join(claim.sentence for claim in paragraph) for paragraph in kept if paragraph)
    claims = [claim for paragraph in kept for claim in paragraph]
    rejected = sum(len(paragraph) for paragraph in checked) - len(claims)
    if not rejected or not claims:
        return left, claims, rejected
    left, claims, more = supported(record, left)
    return left, claims, rejected + more


def check_sentence(reader: Reader, masked: str) -> Claim:
    sentence = re.sub(Q, lambda found: f"“{reader.quotations[int(found[1])]}”", masked.strip())
    said = folded(masked)
    steps = named(said)
    if steps and "attention" not in said:
        reader.enter(steps.pop() if len(steps) == 1 else None)
    try:
        return Claim(sentence, tuple(dict.fromkeys(pointers(reader, said))))
    except UnsupportedError as error:
        reader.enter(None)  # without this sentence nobody knows what "there" is
        return Claim(sentence, (), f"{error}")


def named(said: str) -> set[int]:
    """The steps that a folded sentence names, from 0."""
    lists = (re.sub(Q, "", listed) for listed in NAMED.findall(said))
    return {int(number) - 1 for listed in lists for number in re.findall(r"\d+", listed)}


def pointers(reader: Reader, said: str) -> list[str]:
    """Takes the claims out of the folded sentence one after the other, and looks at what is left."""
    found: list[str] = []
    used = []
    rest = said.replace(INTRODUCTION, " ")
    for form in FORMS:
        while match := form.pattern.search(rest):
            found += form.check(reader, match)
            used.append(form)
            rest = f"{rest[: match.start()]}{match.expand(form.leaves)}{rest[match.end() :]}"
    unknown = [word for word in re.findall(r"[^\s.!?'\"]+", rest) if word not in FILLER]
    if unknown:
        shown = re.sub(Q, "a quotation", rest.strip(" .,;:"))
        raise UnsupportedError(f"the record decides nothing about: {shortened(shown)}")
    need(bool(found), "it claims nothing that the record holds")
    of_attention = [form.of_attention for form in used if form.check is not wrote]
    need(all(of_attention) or not any(of_attention), "attention shows no cause")
    return found
