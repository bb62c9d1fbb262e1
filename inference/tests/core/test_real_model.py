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
        assert trace.answer.read_by == "stated value"


def test_an_explanation_from_end_to_end(real):
    trace = reason(real, problems(every=7)[0], ReasonSettings())
    made = explain_inverse(real, trace, Head(head_config(real)), InverseSettings(tested_steps=1))
    assert made.text in {candidate.text for candidate in made.candidates}
    (test,) = made.record.tests
    assert sum(test.kept_answers.values()) + sum(test.different_answers.values()) == 2 * test.rollouts + 1
    assert sum(signal.inverse_flow for signal in made.record.signals) == pytest.approx(1)
    assert len(self_explain(real, trace).split()) > 2
