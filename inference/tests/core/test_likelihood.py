"""A choice that the chain does not state is read by likelihood, and never taken for the model's own writing."""

import json
from dataclasses import replace

import pytest
import torch

from inference.core import Head, ReasonSettings, Trace, explain_inverse, explained, head_config, invert, reason
from inference.core.attention_report import explain_attention
from inference.core.causal import outcome
from inference.core.claims import supported
from inference.core.decode import Sampling
from inference.core.likelihood import ask
from inference.core.packed import full_attention
from inference.core.problem_files import ParsedProblem
from inference.core.reasoning import ends, worked_examples
from inference.core.recipe import Recipe
from inference.core.roles import answering
from inference.core.spans import answer_span, token_ids
from inference.tests.core.conftest import PROBLEM, UNDECIDED
from inference.tests.core.test_ranking import windowed  # noqa: F401

UNANSWERED = "Step 1: Cats are animals.\nStep 2: They have"


def writes(model, text):
    model.generate = lambda *args, **options: [model.spelled(text, Sampling(999))]
    return model


@pytest.fixture
def forced(model):
    """A trace whose chain states no answer, of a model that writes by its script again."""
    trace = reason(writes(model, UNANSWERED), PROBLEM, ReasonSettings())
    del model.generate
    return trace


def plain(model, ids, scored):
    """Sum of the log-probabilities of the last `scored` of `ids`, by one forward pass."""
    with torch.no_grad():
        rows = model.module(torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
    return sum(float(rows[at - 1, ids[at]]) for at in range(len(ids) - scored, len(ids)))


@pytest.mark.parametrize("kind", ["sharp", "windowed"])
@pytest.mark.parametrize("text", [UNANSWERED, "Step 1: Cats.\nAnswer:"])
def test_the_shares_are_those_of_one_pass_for_each_option(kind, text, request):
    model = request.getfixturevalue(kind)
    assert full_attention(model) == (kind == "sharp")
    ids = model.encode_chat([{"role": "user", "content": "What colour?"}])[1] + model.encode(text)
    asked = ask(model, ids, text, PROBLEM.options, worked_examples(model))
    whole = [*ids, *(() if text.endswith(":") else model.encode("\nAnswer:"))]
    options = [model.encode(f" {option}") for option in PROBLEM.options]
    scores = torch.tensor([plain(model, [*whole, *option], len(option)) for option in options])
    assert asked.shares == pytest.approx(scores.softmax(-1).tolist(), abs=1e-4)
    assert sum(asked.shares) == pytest.approx(1)


def test_the_likeliest_option_becomes_part_of_the_trace(model, forced):
    assert forced.chain == f"{UNANSWERED}\nAnswer: {forced.answer.text}"
    assert forced.written == UNANSWERED
    assert (forced.answer.read_by, forced.answer.text) == ("likelihood", PROBLEM.options[forced.answer.index])
    assert "".join(token.text for token in forced.tokens[: forced.forced_from]) == UNANSWERED
    assert model.decode([token.id for token in forced.tokens]) == forced.chain
    assert forced.steps[-1].text == f"Answer: {forced.answer.text}"
    assert answering([step.text for step in forced.steps]) == len(forced.steps) - 1


def test_what_was_put_there_has_the_models_own_numbers(model, forced):
    ids, count = token_ids(forced), len(forced.tokens) - forced.forced_from
    with torch.no_grad():
        rows = model.module(torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
    new = range(len(ids) - count, len(ids))
    own = forced.tokens[forced.forced_from :]
    assert [token.logprob for token in own] == pytest.approx([float(rows[at - 1, ids[at]]) for at in new], abs=1e-4)
    entropies = torch.special.entr(rows.exp()).sum(-1)
    assert [token.entropy for token in own] == pytest.approx([float(entropies[at - 1]) for at in new], abs=1e-4)


def test_the_passes_over_a_trace_take_it_as_any_other(model, forced):
    ids, span = token_ids(forced), answer_span(forced)
    assert model.decode(ids[span.start : span.end]).strip() == forced.answer.text
    inversion = invert(model, forced)
    assert sum(signal.inverse_flow for signal in inversion.signals) == pytest.approx(1)


def test_no_explanation_says_that_the_model_answered(model, forced):
    made = explain_inverse(model, forced, Head(head_config(model)))
    texts = [*(one.text for one in made.candidates), explain_attention(model, forced)[0]]
    for text in texts:
        assert "model answered" not in text
        assert "Answer:" not in text  # nor that it wrote the step that was put there
    assert any("settled on no option by itself" in text for text in texts)
    assert [one.rejected for one in made.candidates] == [0, 0, 0]
    assert made.record.read_by == "likelihood"
    said = f"The model answered “{forced.answer.text}”. At step 3 it wrote “{forced.steps[-1].text}”."
    assert supported(made.record, said)[0] == ""
    held = texts[0].split(". ")[0] + "."
    assert supported(replace(made.record, read_by="letter"), held)[0] == ""


def test_lines_and_the_method_chain_keep_them_apart(model):
    problem = ParsedProblem("p1", "logic", PROBLEM.question, PROBLEM.options, 0)
    line = explained(writes(model, UNANSWERED), None, problem, Recipe(method="chain", model="stand-in"))
    assert line["text"] == UNANSWERED
    assert line["trace"]["chain"] == f"{UNANSWERED}\n{line['trace']['forced']}"
    assert line["trace"]["read_by"] == "likelihood"
    stated = explained(writes(model, "Answer: Grey"), None, problem, Recipe(method="chain", model="stand-in"))
    assert (stated["trace"]["forced"], stated["text"]) == ("", "Answer: Grey")


def test_a_cue_that_the_model_wrote_itself_is_not_put_there_again(model):
    trace = reason(writes(model, "Step 1: Cats.\nAnswer:"), PROBLEM, ReasonSettings())
    assert trace.chain == f"Step 1: Cats.\nAnswer: {trace.answer.text}"
    assert trace.written == "Step 1: Cats.\nAnswer:"


def test_a_chain_that_loops_is_cut_where_that_is_seen_and_asked(model):
    def writing(ids, sampling, stop, **options):
        text = ""
        while not stop(text):
            text += "Step 1: Cats are cats.\n"
        return [model.spelled(text.rstrip(), Sampling(999))]

    model.generate = writing
    trace = reason(model, PROBLEM, ReasonSettings())
    assert trace.written.count("Cats are cats.") == 3
    assert ends(trace.written + "\n")
    assert trace.answer.read_by == "likelihood"


@pytest.mark.parametrize(
    "options",
    [
        PROBLEM.options,
        *(("10%", "10"), ("√2", "2"), ("x > 5", "x < 5"), ("2:3", "2,3"), ("+5", "5"), ("4!", "4!*5!", "4^5", "5^4")),
    ],
)
def test_an_answer_that_is_stated_is_never_overruled(model, options):
    problem = replace(PROBLEM, options=options)
    for option in options:
        trace = reason(writes(model, f"Step 1: Cats.\nAnswer: {option}"), problem, ReasonSettings())
        assert (trace.answer.text, trace.answer.read_by, trace.forced_from) == (option, "stated value", None)


@pytest.mark.parametrize("text", ["<think>\nCats are animals.\nThey have", "<think>\nCats are animals.\nAnswer:"])
def test_an_open_think_block_is_closed_before_the_answer_is_asked_for(model, text):
    trace = reason(writes(model, text), PROBLEM, ReasonSettings())
    assert trace.chain == f"{text}\n</think>\nAnswer: {trace.answer.text}"
    assert trace.written == text
    assert trace.steps[-1].text == f"Answer: {trace.answer.text}"
    assert answering([step.text for step in trace.steps]) == len(trace.steps) - 1
    assert model.decode(token_ids(trace)[answer_span(trace).start :]).strip() == trace.answer.text


def test_nothing_is_read_below_half(model):
    ids = model.encode("Milo is a cat.")
    asked = ask(model, ids, "Milo is a cat.", UNDECIDED.options, worked_examples(model))
    assert max(asked.shares) < 0.5
    assert asked.read is None
    assert replace(asked, shares=(0.3, 0.5, 0.2)).read == 1
    assert replace(asked, shares=(0.5, 0.5, 0.0)).read is None


def test_nothing_is_asked_where_it_does_not_fit(model, monkeypatch):
    ids = model.encode("Milo is a cat.")
    needed = len(ids) + len(model.encode("\nAnswer:")) + max(len(model.encode(f" {one}")) for one in PROBLEM.options)
    monkeypatch.setattr(model.module.config, "max_position_embeddings", needed)
    assert ask(model, ids, "Milo is a cat.", PROBLEM.options, worked_examples(model)) is not None
    monkeypatch.setattr(model.module.config, "max_position_embeddings", needed - 1)
    assert ask(model, ids, "Milo is a cat.", PROBLEM.options, worked_examples(model)) is None


def test_rollouts_are_not_asked(trace):
    assert outcome(trace, UNANSWERED) is None


def test_it_is_stored_and_comes_back(forced, trace):
    for one in (forced, trace):
        assert Trace.from_json(json.loads(json.dumps(one.to_json()))) == one
    old = trace.to_json()
    del old["forced_from"], old["problem"]["asks"]
    assert Trace.from_json(json.loads(json.dumps(old))) == trace
