"""Explanations say what the record holds, and no more."""

import re
from dataclasses import replace

import pytest

from inference.core import (
    Alternative,
    Confidences,
    EvidenceRecord,
    Source,
    StepEvidence,
    StepSignals,
    StepTest,
    candidates,
    supported,
)
from inference.core.attention_report import report
from inference.core.explain import attended, contrast_of, shown, untested
from inference.core.roles import choices

STEPS = ("Step 1: The tray holds 12 eggs.", "Step 2: 12 - 2 = 10 are left.", "Answer: 10")
CAUSAL = re.compile(r"made a difference|decided|because of|caused|changed the answer|that is why", re.IGNORECASE)


def record(*tests):
    signals = tuple(StepSignals(share, 1.0, 0.5, index / 2, 9) for index, share in enumerate((0.2, 0.7, 0.1)))
    return EvidenceRecord("How many eggs?", "10", STEPS, signals, "signals", (1.0, 2.0, 0.1), tests)


CONFIRMED = StepTest(
    step=1,
    rollouts=12,
    different=7,
    kept_answers={"10": 6},
    different_answers={"12": 5, "": 1, "14": 1},
    effect=0.8,
    effect_interval=(0.3, 0.9),
    p_value=0.002,
    confirmed=True,
    alternatives=(
        Alternative("Step 2: 12 + 0 = 12 are left.", 5, {"12": 5}),
        Alternative("Step 2: 12 + 2 = 14.", 2, {"14": 1, "": 1}),
    ),
)
NOT_CONFIRMED = StepTest(0, 6, 2, {"10": 4, "12": 1}, {"10": 1, "12": 1}, 0.1, (-0.2, 0.3), 0.7, False,
                         (Alternative("Step 1: There are eggs.", 2, {"10": 1, "12": 1}),))  # fmt: skip
UNCHANGED = StepTest(0, 6, 0, {"10": 7}, {}, None, None, None, False, ())


def texts(*tests):
    return {candidate.style: candidate.text for candidate in candidates(record(*tests))}


def test_three_styles_that_differ():
    made = texts(CONFIRMED, NOT_CONFIRMED)
    assert list(made) == ["brief", "contrastive", "detailed"]
    assert len(set(made.values())) == 3
    assert len(made["brief"]) < len(made["detailed"])
    assert [candidate.style for candidate in candidates(record(CONFIRMED), 1)] == ["brief"]
    with pytest.raises(ValueError, match="n is 0"):
        candidates(record(CONFIRMED), 0)


def test_a_confirmed_step_is_told_with_its_counts():
    for text in texts(CONFIRMED, UNCHANGED).values():
        assert "step 2" in text.lower()
        assert "12 - 2 = 10 are left" in text
        assert "made a difference to the answer" in text
        assert "No decisive choice" not in text
    contrastive = texts(CONFIRMED)["contrastive"]
    assert "In 7 of 12 new tries it wrote something else" in contrastive
    assert "In 5 of 12 it wrote “12 + 0 = 12 are left” instead, which ended in “12” (five times)" in contrastive
    brief = texts(CONFIRMED)["brief"]
    assert "ended in “12” (five times) and “14” (once) and without a readable answer (once)" in brief
    assert "counting the original, it ended in “10” (six times)" in brief


@pytest.mark.parametrize("tests", [(), (NOT_CONFIRMED,), (UNCHANGED,), (NOT_CONFIRMED, UNCHANGED)])
def test_without_a_confirmed_test_nothing_is_said_to_matter(tests):
    for text in texts(*tests).values():
        assert "No decisive choice was found" in text
        assert not CAUSAL.search(text)


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([{"10": 5}, {"12": 3}, {"14": 2}], 1),  # the most frequent that ends elsewhere
        ([{"10": 4, "12": 1}, {"12": 3}], 1),  # one of five elsewhere is not where it ends
        ([{"12": 5}, {"14": 3}], 0),
        ([{"10": 5}, {"10": 3}, {"": 2}], 0),  # none ends elsewhere: the most frequent
        ([{"10": 2, "12": 2, "": 1}], 0),
        ([], None),
    ],
)
def test_the_contrast_is_the_most_frequent_alternative_with_another_answer(outcomes, expected):
    others = tuple(Alternative(f"Step 2: way {at}", sum(ends.values()), ends) for at, ends in enumerate(outcomes))
    found = contrast_of(replace(CONFIRMED, alternatives=others), "10")
    assert found == (None if expected is None else others[expected])


def test_the_heads_guess_is_told_as_a_guess_and_only_where_there_is_one():
    sure = StepEvidence(1, "computation", "", (), Confidences(0.5, 0.5, claim=0.8))
    for findings, said in (((sure,), True), ((), False), ((replace(sure, step=0),), False)):
        made = {one.style: one.text for one in candidates(replace(record(CONFIRMED), findings=findings))}
        assert (
            "guesses that a new test of this step would come out the same in 80% of cases" in made["detailed"]
        ) == said
        assert "guess" not in made["brief"] + made["contrastive"]
    assert (
        "that is a guess, and no finding"
        in [one.text for one in candidates(replace(record(CONFIRMED), findings=(sure,)))][2]
    )


@pytest.mark.parametrize(("step", "told"), [(1, False), (2, True)])
def test_where_a_steps_attention_went_is_told_only_where_it_could_go_elsewhere(step, told):
    found = StepEvidence(step, "computation", "", (Source(0, 1.0),), Confidences(0.5, 0.5))
    made = candidates(replace(record(replace(CONFIRMED, step=step)), findings=(found,)))
    assert (f"When it wrote step {step + 1}, 100% of the attention" in made[2].text) == told


def test_attention_is_told_with_its_caveat_only():
    text = texts(NOT_CONFIRMED)["detailed"]
    sentence = next(part for part in re.split(r"(?<=\.) ", text) if "attention" in part)
    assert "70% of the attention" in sentence
    assert "led back to step 2" in sentence
    assert "does not show that this step mattered" in sentence
    assert "attention" not in texts(NOT_CONFIRMED)["brief"] + texts(NOT_CONFIRMED)["contrastive"]


def attending(flows, *steps):
    signals = tuple(StepSignals(share, 1.0, 0.5, 0.0, 9, position_flow=0.2) for share in flows)
    return EvidenceRecord("?", "10", steps, signals, "signals", tuple(flows), ())


EARLIER = ("Step 1: I think that the answer is 10.", "Step 2: Yes.", "Step 3: So it is.", "Answer: 10")


def test_a_step_that_states_an_answer_earlier_on_is_a_choice_like_others():
    made = attending((0.168, 0.032, 0.036, 0.764), *EARLIER)
    assert choices(made.steps) == [0, 1, 2]
    assert untested(made) == ["Steps 1, 2 and 3 were not tested."]
    assert "17% of the attention that it paid to its own steps led back to step 1" in attended(made)[0]
    assert "17% led to step 1" in report(made)


def test_no_step_behind_the_answer_is_said_to_have_been_looked_at():
    steps = ("Step 1: 12 - 2 = 10.", "Step 2: None is lost.", "The answer is 10.", "Step 4: But wait.", "Step 5: Hm.")
    made = attending((0.3, 0.1, 0.6, 0.0, 0.0), *steps)
    assert choices(made.steps) == [0, 1, 3, 4]
    assert "led back to step 1" in attended(made)[0]
    assert "step 4" not in report(made)
    assert attended(attending((1.0, 0.0, 0.0), *steps[2:])) == []
    assert "It wrote no step before that." in report(attending((1.0, 0.0, 0.0), *steps[2:]))


def test_no_step_is_said_to_have_more_attention_than_one_that_has_as_much():
    assert attended(attending((0.3, 0.3, 0.2, 0.2), *EARLIER)) == []


def test_tested_and_untested_steps_are_worded_differently():
    assert "Step 2 was not tested" in texts(NOT_CONFIRMED)["detailed"]
    assert (
        "whenever step 1 (“The tray holds 12 eggs”) was written anew, it said the same" in texts(UNCHANGED)["brief"]
    )
    assert "In all 6 new tries it wrote the same or nearly the same" in texts(UNCHANGED)["contrastive"]
    assert "comes about by chance in more than half of cases" in texts(NOT_CONFIRMED)["detailed"]
    assert "none of its steps was tested" in texts()["brief"]


def test_every_number_and_quotation_comes_from_the_record():
    """A claim that the record does not hold would bring a number or a quotation that it does not hold."""
    held = str(record(CONFIRMED, NOT_CONFIRMED))
    for text in texts(CONFIRMED, NOT_CONFIRMED).values():
        for quotation in re.findall("“(.*?)”", text):
            assert quotation in held
        outside = re.sub("“.*?”", "", text)
        allowed = {"1", "2", "3", "5", "6", "7", "12", "70"}  # steps, counts, shares in percent
        assert set(re.findall(r"\d+", outside)) <= allowed


def test_long_steps_are_cut_at_a_word():
    wordy = "Step 1: " + "egg " * 100
    text = candidates(EvidenceRecord("?", "10", (wordy,), (), "signals", (), ()))[2].text
    assert "egg …”" in text
    assert len(text) < 400


def test_alternatives_that_are_not_told_are_counted():
    assert "The other two said something else again." in texts(CONFIRMED)["detailed"]
    assert "said something else again" not in texts(NOT_CONFIRMED)["detailed"]


def test_the_detailed_text_has_a_paragraph_for_each_test():
    paragraphs = texts(CONFIRMED, NOT_CONFIRMED)["detailed"].split("\n\n")
    assert sum(" was tested: " in paragraph for paragraph in paragraphs) == 2
    assert len(paragraphs) >= 4


def alternatives(*answers):
    return replace(
        CONFIRMED, alternatives=tuple(Alternative(f"way {at}", 9 - at, of) for at, of in enumerate(answers))
    )


def test_the_contrast_is_the_most_frequent_that_ended_elsewhere_else_the_most_frequent():
    test = alternatives({"10": 8, "": 1}, {"10": 5, "12": 3}, {"12": 5, "10": 2}, {"14": 6})
    assert contrast_of(test, "10").example == "way 2"  # way 1 ended in the answer more often than elsewhere
    assert [other.example for other in shown(test, "10")] == ["way 0", "way 2"]
    assert [other.example for other in shown(test, "12")] == ["way 0"]
    same = alternatives({"10": 9}, {"": 8})
    assert contrast_of(same, "10").example == "way 0"
    assert contrast_of(alternatives(), "10") is None


@pytest.mark.parametrize(
    ("values", "brief", "detailed"),
    [
        # 0.0004 is no likely chance: the step was written anew in other words too seldom for the test's rule.
        (
            {"rollouts": 30, "different": 5, "p_value": 0.0004, "level": 0.0228},
            "too seldom was anything else written at step 1",
            "too seldom was anything else written there",
        ),
        # 0.03 is within 5 %, but not within what this look of several could spend.
        (
            {"p_value": 0.03, "level": 0.0289, "stopped": "all drawn"},
            "the difference at step 1 (“The tray holds 12 eggs”) was not clear enough for a test that is looked at",
            "the difference was not clear enough for a test that is looked at several times",
        ),
        # A look for futility only, after which the budget allowed no other one.
        (
            {"rollouts": 3, "different": 3, "p_value": 0.029, "level": 0.0, "stopped": "budget"},
            "the budget ended the testing of step 1 (“The tray holds 12 eggs”) before it could tell",
            "the budget ended the test before it could tell",
        ),
    ],
    ids=["too seldom", "not clear enough", "budget"],
)
def test_chance_is_no_reason_where_the_test_was_not_confirmed_for_another(values, brief, detailed):
    test = replace(NOT_CONFIRMED, **values)
    made = texts(test)
    assert f"No decisive choice was found: {brief}" in made["brief"]
    assert f"This does not show that the step mattered: {detailed}." in made["detailed"]
    assert "chance" not in "".join(made.values())
    wrong = f"At step 1, a difference as large comes about by chance in {100 * test.p_value:.0f}% of cases."
    assert supported(record(test), wrong.replace("0%", "less than 1%"))[1] == []
