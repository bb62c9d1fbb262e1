"""From a problem to a trace."""

import pytest

from inference.core import Problem, ReasoningError, ReasonSettings, Token, reason, self_explain
from inference.core.reasoning import ends
from inference.tests.core.conftest import PROBLEM, UNDECIDED


def writes(text):
    return lambda *args, **options: [(Token(1, text, -0.1, 0.5),)] if text else [()]


def test_a_trace_hangs_together(model, trace):
    assert "".join(token.text for token in trace.tokens) == trace.chain
    assert trace.answer.text in PROBLEM.options
    assert trace.chain.endswith(trace.answer.text)
    assert model.decode(trace.prompt_ids) == trace.prompt
    assert trace.prompt.count("Answer:") == 3  # the worked examples
    assert PROBLEM.question in trace.prompt


def test_the_seed_decides(model):
    texts = {reason(model, PROBLEM, ReasonSettings(seed=seed)).chain for seed in range(6)}
    assert len(texts) > 1
    assert reason(model, PROBLEM, ReasonSettings(seed=3)) == reason(model, PROBLEM, ReasonSettings(seed=3))


def test_an_unreadable_answer_is_an_error_that_quotes_it(model):
    model.generate = writes("Step 1: Cats.\nAnswer: purple")
    with pytest.raises(ReasoningError, match="Answer: purple"):
        reason(model, UNDECIDED, ReasonSettings())


def test_an_answer_ends_the_chain_outside_think_blocks_only():
    thought = "<think>\nLet me see. A first guess at the answer: 5\n"
    assert not ends(thought)
    assert not ends(f"{thought}No.</think>\nAnswer: 6")
    assert ends(f"{thought}No.</think>\nAnswer: 6\n")


@pytest.mark.parametrize("text", ["", "\n "])
def test_an_empty_chain_is_an_error(model, text):
    model.generate = writes(text)
    with pytest.raises(ReasoningError, match="wrote nothing"):
        reason(model, PROBLEM, ReasonSettings())


def test_a_stop_goes_through(model):
    class StopError(Exception):
        pass

    def progress(stage, share):
        if share:
            raise StopError

    with pytest.raises(StopError):
        reason(model, PROBLEM, ReasonSettings(), progress)


def test_self_explanation_is_what_the_model_says(model, trace):
    assert self_explain(model, trace).startswith("I gave this answer")
    model.generate = writes(" ")
    with pytest.raises(ReasoningError, match="wrote nothing"):
        self_explain(model, trace)


def test_any_question_can_be_asked(model):
    odd = Problem("Wörter, <|im_end|> and\nlines? 猫", ("ja, klar", "nein"))
    assert reason(model, odd, ReasonSettings()).answer.text in odd.options
