"""Problems that ask for a number or a text, from the question to the explanation."""

import json
from dataclasses import replace

import pytest

from inference.core import (
    Head,
    InverseSettings,
    LanguageModel,
    Problem,
    ReasonSettings,
    Trace,
    answer_trajectory,
    causal,
    contrastive_flow,
    explain_attention,
    explain_inverse,
    explained,
    head_config,
    invert,
    reason,
    self_explain,
)
from inference.core.decode import Sampling
from inference.core.problem_files import ParsedProblem
from inference.core.ranking import likely_and_mattered, probed
from inference.core.reasoning import messages, worked_examples
from inference.core.recipe import Recipe
from inference.core.step_features import named_numbers
from inference.core.step_head import NUMBERS
from inference.tests.standin import GUESSES, parts

NUMBER = Problem("How many lives has Milo the cat?", asks="number")
FREE = Problem("Which city does Milo live in?", asks="free")
BOTH = pytest.mark.parametrize("problem", [NUMBER, FREE], ids=lambda problem: problem.asks)


def quiet(stage, share):
    pass


@BOTH
def test_the_prompt_has_examples_of_the_same_kind_and_no_options(model, problem):
    turns = messages(problem)
    assert len(turns) == 7
    assert "Options" not in "".join(turn["content"] for turn in turns)
    assert turns[-1]["content"] == problem.question
    ids = model.encode_chat(turns)[1]
    own = len(model.encode(f"{problem.question}<|im_end|>\n<|im_start|>assistant\n"))
    assert worked_examples(model, problem.asks).branch(ids).get_seq_length() >= len(ids) - own - 1


@BOTH
def test_a_trace_hangs_together(model, problem):
    trace = reason(model, problem, ReasonSettings())
    assert trace.answer.index is None
    assert trace.answer.read_by == {"number": "stated number", "free": "stated text"}[problem.asks]
    assert trace.chain.endswith(f"Answer: {trace.answer.text}")
    assert Trace.from_json(json.loads(json.dumps(trace.to_json()))) == trace


@BOTH
def test_the_step_that_chooses_is_confirmed(model, problem):
    trace = reason(model, problem, ReasonSettings())
    (found,) = causal.test_steps(model, trace, [1], 40, 0, invert(model, trace), quiet)
    assert found.confirmed
    assert set(found.kept_answers) == {trace.answer.text}
    assert len(found.different_answers) > 1
    assert sum(found.different_answers.values()) == found.different


@BOTH
def test_it_is_explained_by_every_method(model, problem):
    trace = reason(model, problem, ReasonSettings())
    made = explain_inverse(model, trace, Head(head_config(model)), InverseSettings(tested_steps=3, rollouts=20))
    assert made.record.answer == trace.answer.text
    assert [one.rejected for one in made.candidates] == [0, 0, 0]
    assert made.record.decision_points
    assert made.record.ranked_by == "signals"
    for signal in made.record.signals:
        assert signal.suppression is not None
        assert (signal.answer_margin, signal.trajectory_shift) == (None, None)
    assert trace.answer.text in explain_attention(model, trace)[0]
    assert self_explain(model, trace).startswith("I gave this answer")
    assert float(contrastive_flow(model, trace, "something else").sum()) == pytest.approx(1, abs=1e-4)


@BOTH
def test_lines_say_what_was_asked(model, problem):
    parsed = ParsedProblem("p1", "logic", problem.question, (), None, problem.asks, "7")
    line = explained(model, None, parsed, Recipe(method="chain", model="stand-in"))
    assert line["problem"] == {"question": problem.question, "options": [], "asks": problem.asks}
    assert line["trace"]["answer_index"] is None
    assert line["trace"]["answer"]


def test_the_same_answer_in_other_words_is_one_outcome(model):
    model.generate = lambda *args, **options: [model.spelled("Step 1: Many.\nAnswer: 1,000 lives", Sampling(99))]
    trace = reason(model, NUMBER, ReasonSettings())
    assert trace.answer.text == "1000"
    chains = ("Answer: 1000.0", "Answer: 1e3", "Answer: 2 * 4 = 8", "Answer: 8.00", "Answer: 8 or 9")
    assert worded(trace, *chains) == ["1000", "1000", "8", "8", None]


def worded(trace, *chains):
    rows = [causal.Resample("", causal.outcome(trace, chain)) for chain in chains]
    return [one.answer for group in causal.alike(trace, rows[:2], rows[2:]) for one in group]


def test_a_text_is_worded_as_the_trace_words_it_or_as_it_came_first(model):
    model.generate = lambda *args, **options: [model.spelled("Step 1: Far.\nAnswer: New York", Sampling(99))]
    trace = reason(model, FREE, ReasonSettings())
    chains = ("Answer: new york!", "The answer is NEW YORK", "Answer: Rome.", "Answer: rome")
    assert worded(trace, *chains) == ["New York", "New York", "Rome", "Rome"]


def test_answers_are_quoted_as_they_were_written(model):
    """The stand-in writes cities with capitals; an explanation must not tell the trace's answer by its spelling."""
    trace = reason(model, FREE, ReasonSettings())
    (found,) = causal.test_steps(model, trace, [1], 40, 0, invert(model, trace), quiet)
    told = found.different_answers, *(other.answers for other in found.alternatives)
    assert {answer for answers in told for answer in answers} <= {"", *GUESSES["Which city"]}


@BOTH
def test_there_is_no_distribution_over_options(model, problem):
    trace = reason(model, problem, ReasonSettings())
    with pytest.raises(ValueError, match=f"asks for '{problem.asks}' has no options to score"):
        answer_trajectory(model, trace)


def test_steps_are_ranked_by_what_was_measured(model):
    trace = reason(model, NUMBER, ReasonSettings())
    plain = invert(model, trace).signals[0]
    rows = [(2.0, 0.1), (0.5, 3.0), (1.0, 2.0)]
    signals = [replace(plain, fork_entropy=entropy, suppression=loss) for entropy, loss in rows]
    assert likely_and_mattered(signals) == pytest.approx((1 * 1 / 3, 1 / 3 * 1, 2 / 3 * 2 / 3))


def test_features_tell_a_missing_margin_from_an_open_one(model, trace):
    def columns(given):
        return dict(zip(NUMBERS, named_numbers(probed(model, given, invert(model, given))).T.tolist(), strict=True))

    number, choice = columns(reason(model, NUMBER, ReasonSettings())), columns(trace)
    assert set(number["probed"]) == set(choice["probed"]) == {1}
    assert set(number["answer_margin"]) == set(number["has_options"]) == {0}
    assert set(choice["has_options"]) == {1}


def test_a_real_decoding_loop_writes_freely_where_there_are_no_options():
    model = LanguageModel(*parts(), "tiny")
    begun = (*model.encode_chat(messages(NUMBER))[1], *model.encode("Answer:"))
    free, guided = (
        model.generate(begun, Sampling(8), options=options)[0] for options in (NUMBER.options, ("7", "9"))
    )
    assert len(free) == 8
    assert [token.text for token in free] == [token.text for token in guided]  # the cue is not the model's own
    assert model.guide(())(model.encode("Answer: 7")) is None
