"""The whole way with the real 135M model on starter problems: it may be wrong, but has to hang together."""

import json
from itertools import islice
from pathlib import Path

import pytest

import inference
from inference.core import (
    Head,
    InverseSettings,
    LanguageModel,
    Problem,
    ReasoningError,
    ReasonSettings,
    explain_inverse,
    head_config,
    reason,
    self_explain,
)
from inference.core.numerals import NUMERAL, ungrouped

pytestmark = pytest.mark.model
STARTER = Path(inference.__file__).parent / "starter" / "starter.jsonl"


@pytest.fixture(scope="module")
def real(model_folder):
    return LanguageModel.load(model_folder)


def problems(every):
    with STARTER.open() as lines:
        rows = [json.loads(line) for line in islice(lines, 0, None, every)]
    return [Problem(row["question"], tuple(row["options"])) for row in rows]


def test_most_problems_get_a_chain_and_a_readable_answer(real):
    traces, unread = [], []
    for problem in problems(every=8):
        try:
            traces.append(reason(real, problem, ReasonSettings()))
        except ReasoningError as error:
            unread.append(str(error))
    assert len(unread) <= 1, unread
    assert sum(len(trace.steps) >= 3 for trace in traces) >= len(traces) - 1  # two steps and the answer
    for trace in traces:
        assert real.decode([token.id for token in trace.tokens]).strip() == trace.chain
        assert trace.answer.read_by in ("stated value", "likelihood")


def test_a_number_is_read_or_it_is_said_why_not(real):
    questions = (
        "A box holds 6 eggs. How many eggs are in 3 boxes?",
        "Ana had 15 candies and gave 6 away. How many are left?",
        "What is half of 50?",
        "Who wrote this?",
    )
    traces, unread = [], []
    for question in questions:
        try:
            traces.append(reason(real, Problem(question, asks="number"), ReasonSettings(max_new_tokens=80)))
        except ReasoningError as error:
            unread.append(str(error))
    assert all("No number can be read from what the model wrote" in error for error in unread)
    for trace in traces:
        assert (trace.answer.index, trace.answer.read_by) == (None, "stated number")
        assert trace.answer.text in numbers_of(trace.chain)


def numbers_of(chain):
    return NUMERAL.findall(ungrouped(chain))


def test_an_explanation_from_end_to_end(real):
    trace = reason(real, problems(every=7)[0], ReasonSettings())
    made = explain_inverse(real, trace, Head(head_config(real)), InverseSettings(tested_steps=1))
    assert made.text in {candidate.text for candidate in made.candidates}
    (test,) = made.record.tests
    assert sum(test.kept_answers.values()) + sum(test.different_answers.values()) == 2 * test.rollouts + 1
    assert sum(signal.inverse_flow for signal in made.record.signals) == pytest.approx(1)
    assert len(self_explain(real, trace).split()) > 2
