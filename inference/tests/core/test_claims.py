"""The claim checker: what the templates say of a record passes, and the same with anything changed does not."""

import re
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from inference.core import (
    Alternative,
    Confidences,
    EvidenceRecord,
    Source,
    StepEvidence,
    StepSignals,
    StepTest,
    candidates,
    check_claims,
    supported,
)
from inference.core.explain import NUMBERS
from inference.tests.core.test_explain import CONFIRMED, NOT_CONFIRMED, record

OPTIONS = ("10", "12", "not at all. Never", "a “quoted” one", "Wait…")
PIECES = ("eggs", "12", "are", "left.", "“so”", "no", "3.5", "step 2", "e.g. this", "= 10", "(1)", "\n", "”", "“")
WORDS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=60)
TEXTS = WORDS.map(" ".join).filter(lambda text: text.strip(" .\n"))


@st.composite
def made_tests(draw, step):
    """A causal test whose counts agree with each other, as those of a real one do."""
    rollouts = draw(st.integers(1, 30))
    sizes = draw(st.lists(st.integers(1, 9), max_size=4).filter(lambda sizes: sum(sizes) <= rollouts))
    readable = draw(st.booleans())
    outcomes = st.sampled_from((*OPTIONS, "") if readable else ("",))
    ends = [[draw(outcomes) for _ in range(size)] for size in sorted(sizes, reverse=True)]
    examples = draw(st.lists(TEXTS, min_size=len(sizes), max_size=len(sizes), unique_by=bare))
    others = tuple(Alternative(text, len(end), tally(end)) for text, end in zip(examples, ends, strict=True))
    different = tally([answer for end in ends for answer in end])
    compared = any(different.get(option) for option in OPTIONS)
    p_value = draw(st.floats(0, 1) | st.floats(0, 0.05)) if compared else None
    level = draw(st.sampled_from((0.05, 0.02, 0.0)))
    confirmed = p_value is not None and p_value <= level and sum(sizes) >= 0.2 * rollouts
    return StepTest(
        step=step,
        rollouts=rollouts,
        different=sum(sizes),
        kept_answers=tally([draw(st.sampled_from((*OPTIONS, ""))) for _ in range(draw(st.integers(1, 9)))]),
        different_answers=different,
        effect=0.1 if compared else None,
        effect_interval=(-0.1, 0.3) if compared else None,
        p_value=p_value,
        confirmed=confirmed,
        alternatives=others,
        level=level,
        stopped="confirmed early" if confirmed else draw(st.sampled_from(("all drawn", "budget"))),
    )


def bare(text):
    """Two texts alike in this could be quoted alike: what is true of one would then be true of the other."""
    return re.sub(r"\W", "", text)[:40]


def tally(answers):
    return {answer: answers.count(answer) for answer in dict.fromkeys(answers)}


@st.composite
def records(draw):
    steps = [
        f"Step {index + 1}: {text}"
        for index, text in enumerate(draw(st.lists(TEXTS, min_size=2, max_size=6, unique_by=bare)))
    ]
    answer = draw(st.sampled_from(OPTIONS))
    tested = draw(st.lists(st.integers(0, len(steps) - 1), max_size=4, unique=True))
    tests = tuple(draw(made_tests(step)) for step in tested)
    shares = st.floats(0, 1)
    everything = (*steps, f"Answer: {answer}")
    flow = draw(st.lists(shares, min_size=len(everything), max_size=len(everything), unique=True))
    return EvidenceRecord(
        question="How many?",
        answer=answer,
        steps=everything,
        signals=tuple(StepSignals(share, 1.0, 0.5, 0.0, 9) for share in flow),
        ranked_by="signals",
        step_scores=(0.0,) * len(everything),
        tests=tests,
        findings=tuple(
            StepEvidence(step, "statement", "", tuple(Source(at, draw(shares)) for at in range(step)[:1]),
                         Confidences(None, None))
            for step in tested
        ),
    )  # fmt: skip


def sentences(made, text):
    return [claim for paragraph in check_claims(made, text) for claim in paragraph]


def template_sentences(made):
    return {claim.sentence for candidate in candidates(made) for claim in sentences(made, candidate.text)}


def held(made, pointer):
    at = made.to_json()
    for part in pointer.split("/")[1:]:
        at = at[int(part)] if part.isdigit() else at[part]
    return at


@given(records())
@settings(max_examples=150, deadline=None)
def test_every_sentence_of_the_templates_passes_and_points_into_the_record(made):
    for candidate in candidates(made):
        claims = sentences(made, candidate.text)
        assert not [claim for claim in claims if not claim.accepted]
        for pointer in (pointer for claim in claims for pointer in claim.pointers):
            held(made, pointer)
        assert supported(made, candidate.text)[2] == 0


@given(records(), st.data())
@settings(max_examples=150, deadline=None)
def test_a_changed_number_is_rejected(made, data):
    """Any number outside quotations, in digits or in words, one higher; unless the record holds that as well."""
    text = data.draw(st.sampled_from(candidates(made))).text
    spots = [spot for spot in re.finditer(rf"\b(?:\d+|{'|'.join(NUMBERS[1:-1])})\b", text) if outside(text, spot)]
    assume(spots)
    spot = data.draw(st.sampled_from(spots))
    word = spot[0]
    higher = f"{int(word) + 1}" if word.isdigit() else NUMBERS[NUMBERS.index(word) + 1]
    changed = f"{text[: spot.start()]}{higher}{text[spot.end() :]}"
    true_of_it = template_sentences(made)
    wrong = [claim for claim in sentences(made, changed) if claim.sentence not in true_of_it]
    assert all(not claim.accepted for claim in wrong), wrong


def outside(text, spot):
    """Certainly outside: an even number of marks before it, none of them nested."""
    before = text[: spot.start()]
    return before.count("“") == before.count("”")


@given(records())
@settings(max_examples=100, deadline=None)
def test_a_verdict_turned_round_is_rejected(made):
    assume(made.tests)
    turned = replace(made, tests=tuple(replace(test, confirmed=not test.confirmed) for test in made.tests))
    for candidate in candidates(made):
        verdicts = [
            claim
            for claim in sentences(turned, candidate.text)
            if ("made a difference to the answer" in claim.sentence and "“" not in claim.sentence)
            or claim.sentence.startswith(("No decisive choice", "Tests showed that", "This does not show"))
        ]  # fmt: skip
        assert all(not claim.accepted for claim in verdicts), verdicts


def first(text, *tests):
    return sentences(record(*tests), text)[-1]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("The model answered “14”.", "the answer is not “14”"),
        ("The model answered “10”, which is right.", "decides nothing about"),
        ("Step 1 was clever.", "decides nothing about"),
        ("Step 1 made a difference to the answer.", "no test confirmed that"),
        ("Step 3 made a difference to the answer.", "step 3 was not tested"),
        ("Step 9 made a difference to the answer.", "there is no step 9"),
        ("Step 2 (“12 - 3 = 9 are left”) made a difference to the answer.", "does not say"),
        ("Step 2 made no difference to the answer.", "decides nothing about"),
        ("Step 2 did not make a difference to the answer.", "decides nothing about"),
        ("No decisive choice was found.", "a decision point was found"),
        ("At step 1 the model wrote “The tray is empty”.", "does not say"),
        ("In 7 of 12 new tries it wrote something else there.", "does not say which step it means"),
        ("At step 2 it wrote “12 - 2 = 10 are left”. In 8 of 12 new tries it wrote something else there.", "counts"),
        (
            "At step 1 it wrote “The tray holds 12 eggs”. In 7 of 12 new tries it wrote something else there.",
            "counts",
        ),
        ("At step 2 it wrote “nonsense”. In 7 of 12 new tries it wrote something else there.", "which step"),
        ("The attention shows that step 2 caused the answer.", "decides nothing about"),
        ("“12 - 2 = 10 are left”", "decides nothing about"),
        ("Well.", "decides nothing about"),
        ("However, it is so.", "decides nothing about"),
        ("At step 2 it wrote “12 - 2 = 10 are left”, so the answer is “10”.", "decides nothing about"),
        ("Because step 2 mattered, the model answered “10”.", "decides nothing about"),
        ("Step 2 decided the answer.", "decides nothing about"),
        ("Step 2 was decisive for the answer.", "decides nothing about"),
        ("Step 2 was decisive.", "decides nothing about"),
        ("Step 2 was a decisive step.", "decides nothing about"),
        ("Step 2 was a deciding moment.", "decides nothing about"),
        ("Step 2 was a decisive choice.", "decides nothing about"),
        ("Steps 1–2 were not tested.", "decides nothing about"),
        ("The model answered 10.5.", "decides nothing about"),
        ("The model answered ≠ “10”.", "decides nothing about"),
        ("70% of the attention led back to step 2.", "decides nothing about"),
        (
            "When it gave its answer, 70% of the attention that it paid to its own steps led back to step 2; that "
            "alone does not show that this step mattered, yet step 2 mattered.",
            "attention shows no cause",
        ),
    ],
)
def test_what_the_record_does_not_hold_is_rejected_with_the_reason(text, reason):
    claim = first(text, CONFIRMED, NOT_CONFIRMED)
    assert reason in claim.reason
    assert claim.pointers == ()


@pytest.mark.parametrize(
    ("text", "pointers"),
    [
        ("The answer was “10”.", ("/answer",)),
        ("Step 2 made a difference to the answer.", ("/tests/0/confirmed",)),
        ("Step 2 says “12 - 2 = 10 are left.”", ("/steps/1",)),
        (
            "At step 2 the model wrote “12 - 2 = 10 are left”, but in 7 of 12 tries the model wrote something else.",
            ("/steps/1", "/tests/0/different", "/tests/0/rollouts"),
        ),
        ('The model answered "10".', ("/answer",)),
        ("The model answered 10.", ("/answer",)),
        (
            "Why did it answer “10” rather than “12”?",
            ("/answer", "/tests/0/different_answers", "/tests/1/different_answers"),
        ),
        ("The answer depended on step two.", ("/tests/0/confirmed",)),
        ("Step 2 was a decision point.", ("/tests/0/confirmed",)),
        ("Step 1 was resampled six times.", ("/tests/1/rollouts",)),
        (
            "At step 1, a third of the tries said something else.",
            ("/tests/1/different", "/tests/1/rollouts"),
        ),
        (
            "At step 2 it wrote “12 - 2 = 10 are left”. In 5 of 12 tries it wrote “12 + 0 = 12 are left” instead, "
            "which ended in “12” (5 times).",
            ("/tests/0/alternatives/0",),
        ),
    ],
)
def test_free_wording_of_a_known_claim_is_accepted_with_its_pointers(text, pointers):
    claim = first(text, CONFIRMED, NOT_CONFIRMED)
    assert claim.reason == ""
    assert set(claim.pointers) == set(pointers)


def most(step, share, than="step before the answer"):
    return (
        f"When it gave its answer, {share}% of the attention that it paid to its own steps led back to step {step}, "
        f"more than to any other {than}; that alone does not show that this step mattered."
    )


@pytest.mark.parametrize(
    ("text", "flows", "accepted"),
    [
        (most(1, 17), (0.17, 0.03, 0.04, 0.76), True),
        (most(3, 4), (0.17, 0.03, 0.04, 0.76), False),
        (most(1, 30), (0.3, 0.3, 0.2, 0.2), False),
        (most(1, 17, than="step"), (0.17, 0.03, 0.04, 0.76), False),
        (most(1, 76, than="step"), (0.76, 0.03, 0.04, 0.17), True),
    ],
)
def test_the_most_attention_is_that_of_a_step_which_no_other_equals(text, flows, accepted):
    steps = ("Step 1: I think that the answer is 10.", "Step 2: Yes.", "Step 3: So it is.", "Answer: 10")
    signals = tuple(StepSignals(share, 1.0, 0.5, 0.0, 9) for share in flows)
    made = EvidenceRecord("?", "10", steps, signals, "signals", flows, ())
    assert sentences(made, text)[0].accepted is accepted


def test_what_is_left_stands_by_itself():
    """A sentence that leaned on a dropped one goes as well."""
    instead = "In 5 of 12 tries it wrote “12 + 0 = 12 are left” instead"
    text = f"Step 2 mattered. {instead}. It is sure. At step 2, {instead.lower()}. The other two said something else."
    left, claims, rejected = supported(record(CONFIRMED), text)
    assert supported(record(CONFIRMED), left) == (left, claims, 0)
    assert rejected + len(claims) == 5


def test_rejected_sentences_are_dropped_and_counted():
    text = "The model answered “10”. It is very sure. Step 2 made a difference to the answer.\n\nStep 7 is nice."
    left, claims, rejected = supported(record(CONFIRMED), text)
    assert left == "The model answered “10”. Step 2 made a difference to the answer."
    assert [claim.sentence for claim in claims] == left.replace(". S", ".|S").split("|")
    assert rejected == 2
