"""Keeping the answer line to the options."""

import pytest

from inference.core.decode import Sampling, decode
from inference.core.guide import AnswerGuide

OPTIONS = ("Certainly", "Certainly not", "We cannot know")


@pytest.fixture
def guide(model):
    return AnswerGuide([model.encode(f" {option}") for option in OPTIONS], model.end_ids, model.decode)


def test_before_the_answer_line_all_tokens_may_come(model, guide):
    for text in ("", "Step 1: The answer", "Step 1: The answer is: maybe", "Step 1: Yes.\nStep 2: Answer"):
        assert guide(model.encode(text)) is None


@pytest.mark.parametrize("chain", ["Answer:", "Step 1: Yes.\nAnswer:", "Step 1: Yes.\n\n**Final answer:"])
def test_only_the_options_can_follow(model, guide, chain):
    for option in OPTIONS:
        ids = model.encode(chain)
        for token in model.encode(f" {option}"):
            assert token in guide(ids)
            ids = (*ids, token)
        assert guide(ids) >= model.end_ids
    assert guide(model.encode(chain)) == {model.encode(f" {option}")[0] for option in OPTIONS}


def test_a_think_block_is_free(model, guide):
    assert guide(model.encode("<think>\nAnswer:")) is None
    assert guide(model.encode("<think>\nAnswer: Hm.</think>\n")) is None
    after = guide(model.encode("<think>\nAnswer: Hm.</think>\nAnswer:"))
    assert after == {model.encode(f" {option}")[0] for option in OPTIONS}


def test_an_option_that_begins_another_may_end_or_go_on(model, guide):
    ids = (*model.encode("Answer:"), *model.encode(" Certainly"))
    following = model.encode(" Certainly not")[len(model.encode(" Certainly"))]
    assert guide(ids) == model.end_ids | {following}


def test_a_space_of_its_own_does_not_start_the_answer_anew(model):
    """Some tokenizers write a number as a space and its digits."""
    space, digit = model.encode(" ")[0], model.encode("7")[0]
    guide = AnswerGuide([(space, digit)], model.end_ids, model.decode)
    assert guide((*model.encode("Answer:"), space)) == {digit}
    assert guide((*model.encode("Answer:"), space, digit)) == model.end_ids


def test_guided_text_is_always_an_option_and_keeps_its_own_logprobs(model):
    """The random model would write noise; whatever it is asked after the cue, it ends in an option."""
    prompt = model.encode("Is it grey?\n")
    guide = AnswerGuide([model.encode(f" {option}") for option in OPTIONS], model.end_ids, model.decode)
    cue = model.encode("Answer:")

    def after_cue(ids):
        return guide((*cue, *ids))

    rows = decode(
        model.module,
        (*prompt, *cue),
        rows=8,
        sampling=Sampling(30, temperature=1.0),
        finished=lambda ids: ids[-1] in model.end_ids,
        guide=after_cue,
    )
    said = {model.decode(row.ids[:-1]).strip() for row in rows}
    assert said <= set(OPTIONS)
    assert len(said) > 1
    assert all(row.logprobs[0] < -1 for row in rows)  # the random model spreads over all its tokens
