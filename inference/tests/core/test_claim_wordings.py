"""The claim checker takes a claim in other words, and never another claim."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.core import candidates, check_claims
from inference.core.quotations import mask
from inference.core.wording import folded
from inference.tests.core.paraphrase import (
    RECORDS,
    SAME_MEANING,
    in_digits,
    in_words,
    mutations,
    reworded,
    rewriting,
    straight,
)

WAYS = {name: lambda text, way=way: reworded(text, *way) for name, way in SAME_MEANING.items()}
WAYS |= {"in words": in_words, "in digits": in_digits, "rewriting": rewriting}


def claims(record, text):
    return [claim for paragraph in check_claims(record, text) for claim in paragraph]


def rejected(record, text):
    return [(claim.sentence, claim.reason) for claim in claims(record, text) if not claim.accepted]


@pytest.mark.parametrize("name", [*WAYS, "straight"])
@pytest.mark.parametrize("which", RECORDS)
def test_templates_in_other_words_pass_whole(which, name):
    record, way = RECORDS[which], straight if name == "straight" else WAYS[name]
    for candidate in candidates(record):
        assert rejected(record, way(candidate.text)) == []


@pytest.mark.parametrize("name", WAYS)
def test_every_way_changes_some_template(name):
    texts = [candidate.text for record in RECORDS.values() for candidate in candidates(record)]
    assert any(WAYS[name](text) != text for text in texts)


@given(st.sampled_from(list(RECORDS)), st.lists(st.sampled_from(list(WAYS)), unique=True, max_size=6), st.booleans())
@settings(max_examples=60, deadline=None)
def test_several_ways_at_once(which, names, in_straight_marks):
    record = RECORDS[which]
    for candidate in candidates(record):
        text = candidate.text
        for name in names:
            text = WAYS[name](text)
        assert rejected(record, straight(text) if in_straight_marks else text) == []


def true_sentences(record, text):
    """Of the templates and of `text`, as folded."""
    texts = [text, *(candidate.text for candidate in candidates(record))]
    return {comparable(record, claim.sentence) for one in texts for claim in claims(record, one)}


def comparable(record, sentence):
    masked, quotations = mask(record, sentence)
    return re.sub(r"\ue000(\d+)\ue001", lambda found: f"“{quotations[int(found[1])]}”", folded(masked)).strip(".")


def wrong(record, text):
    """How many changes were tried on the sentences of `text`, and what was accepted of them."""
    true, tried, accepted = true_sentences(record, text), 0, []
    for changed, before in mutated(record, text):
        tried += 1
        accepted += [
            claim.sentence
            for claim in claims(record, changed)[before:]
            if claim.accepted and comparable(record, claim.sentence) not in true
        ]
    return tried, accepted


def mutated(record, text):
    """Each sentence of each paragraph changed in one way, behind the sentences that stood before it."""
    for paragraph in check_claims(record, text):
        sentences = [claim.sentence for claim in paragraph]
        for at, sentence in enumerate(sentences):
            for other in mutations(sentence):
                yield " ".join([*sentences[:at], other]), len(sentences[:at])


@pytest.mark.parametrize("which", RECORDS)
def test_no_changed_sentence_is_accepted(which):
    """Of all changes of one number, step, quotation, verdict or cause in all texts of the templates."""
    record = RECORDS[which]
    for candidate in candidates(record):
        tried, accepted = wrong(record, candidate.text)
        assert tried > 15
        assert accepted == []


@given(st.sampled_from(list(RECORDS)), st.lists(st.sampled_from(list(WAYS)), unique=True, max_size=4), st.data())
@settings(max_examples=60, deadline=None)
def test_no_changed_sentence_is_accepted_in_other_words(which, names, data):
    record = RECORDS[which]
    text = data.draw(st.sampled_from(candidates(record))).text
    for name in names:
        text = WAYS[name](text)
    changed, before = data.draw(st.sampled_from(list(mutated(record, text))))
    true = true_sentences(record, text)
    accepted = [claim.sentence for claim in claims(record, changed)[before:] if claim.accepted]
    assert [sentence for sentence in accepted if comparable(record, sentence) not in true] == []


def test_where_nothing_kept_came_to_an_answer_no_answer_is_denied_that_was_given():
    record = RECORDS["no answer to compare with"]
    brief = candidates(record)[0].text
    assert "No decisive choice was found: there was no answer to compare with at step 3" in brief
    assert "came to no answer" not in brief
    assert rejected(record, brief.replace("there was no answer to compare with", "where it kept to it, 12 eggs won"))
    assert rejected(
        RECORDS["no answers"], "No decisive choice was found: there was no answer to compare with at step 3."
    )
