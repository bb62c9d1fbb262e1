"""The signals and features of one pass."""

from dataclasses import replace

import pytest
import torch

from inference.core import ReasonSettings, Trace, invert, reason
from inference.core.inversion import answer_position, fork_start
from inference.core.ranking import likely_and_mattered, probed
from inference.core.reasoning import worked_examples
from inference.core.step_features import step_features
from inference.core.step_head import NUMBERS
from inference.tests.core.conftest import PROBLEM


def test_every_step_has_its_signals(model, trace):
    made = invert(model, trace)
    assert len(made.signals) == len(trace.steps) == 4
    assert sum(signal.inverse_flow for signal in made.signals) == pytest.approx(1)
    assert all(signal.inverse_flow > 0 for signal in made.signals)
    assert [signal.position for signal in made.signals] == [0, pytest.approx(1 / 3), pytest.approx(2 / 3), 1]
    assert [signal.length for signal in made.signals] == [s.token_end - s.token_start for s in trace.steps]
    assert max(made.signals, key=lambda signal: signal.fork_entropy) is made.signals[1]  # where the script chooses


@pytest.mark.parametrize("missing", [{"steps": ()}, {"tokens": ()}])
def test_a_trace_without_steps_or_tokens_is_refused(model, trace, missing):
    with pytest.raises(ValueError, match="give one that a local model wrote"):
        invert(model, replace(trace, **missing))


def test_features_are_mean_and_last_states_and_named_numbers(model, trace):
    made = invert(model, trace, layer=1)
    assert made.step_states.shape == (4, 2 * model.hidden)
    assert made.step_states.dtype == torch.float32
    ids = torch.tensor([[*trace.prompt_ids, *(token.id for token in trace.tokens)]])
    states = model.module(ids, output_hidden_states=True).hidden_states[1][0, len(trace.prompt_ids) :]
    step = trace.steps[2]
    own = states[step.token_start : step.token_end]
    torch.testing.assert_close(made.step_states[2], torch.cat([own.mean(0), own[-1]]))
    features = step_features(made.step_states, made.signals)
    assert torch.equal(features[:, : 2 * model.hidden], made.step_states)
    named = dict(zip(NUMBERS, features[2, 2 * model.hidden :].tolist(), strict=True))
    assert named["mean_entropy"] == pytest.approx(made.signals[2].mean_entropy)
    assert (named["suppression"], named["probed"]) == (0, 0), "not measured yet"


def test_features_hold_what_probing_told(model, trace):
    made = invert(model, trace)
    signals = probed(model, trace, made)
    numbers = step_features(made.step_states, signals)[:, 2 * model.hidden :]
    columns = dict(zip(NUMBERS, numbers.T.tolist(), strict=True))
    assert columns["probed"] == [1] * 4
    assert columns["suppression"] == pytest.approx([signal.suppression for signal in signals])
    assert columns["likely_and_mattered"] == pytest.approx(likely_and_mattered(signals))


def test_the_answer_position_predicts_the_value(model, trace):
    at = answer_position(trace) - len(trace.prompt_ids)
    text = "".join(token.text for token in trace.tokens[at + 1 :])
    assert text.strip() == trace.answer.text
    assert trace.chain.endswith(text)


def test_a_step_forks_after_its_label(trace):
    step = trace.steps[1]
    before = "".join(token.text for token in trace.tokens[step.token_start : fork_start(trace, 1)])
    assert before.strip() in ("Step 2:", "Step 2: ")


def test_a_later_step_does_not_change_the_flow_before_the_answer(model, trace):
    """What comes after the answer's position is out of its sight."""
    longer = replace(trace.tokens[-1], text=trace.tokens[-1].text, id=5)
    changed = replace(trace, tokens=(*trace.tokens[:-1], longer))
    one, other = invert(model, trace), invert(model, changed)
    for first, second in zip(one.signals, other.signals, strict=True):
        assert first.inverse_flow == pytest.approx(second.inverse_flow)


def test_a_prefix_saves_work_and_changes_nothing(model, trace):
    whole = invert(model, trace)
    prefix = worked_examples(model)
    assert prefix.branch(trace.prompt_ids).get_seq_length() > len(trace.prompt_ids) / 2
    quick = invert(model, trace, prefix=prefix)
    torch.testing.assert_close(quick.flow, whole.flow, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(quick.step_states, whole.step_states, atol=1e-5, rtol=1e-5)
    assert quick.prefix.cache.get_seq_length() == whole.prefix.cache.get_seq_length()


def test_the_cache_of_the_pass_holds_the_whole_trace(model, trace):
    prefix = invert(model, trace).prefix
    assert prefix.ids == (*trace.prompt_ids, *(token.id for token in trace.tokens))
    assert prefix.cache.get_seq_length() == len(prefix.ids)


def test_a_layer_outside_the_model_is_refused(model, trace):
    with pytest.raises(ValueError, match="layer is 3; stand-in has layers 1 to 2"):
        invert(model, trace, layer=3)


def test_a_chain_of_one_step_has_all_of_the_flow(model):
    trace = reason(model, PROBLEM, ReasonSettings())
    single = replace(trace, steps=(replace(trace.steps[-1], index=0),))
    (signal,) = invert(model, single).signals
    assert signal.inverse_flow == pytest.approx(1)
    assert signal.position == 0


def test_a_stored_trace_gives_the_same(model, trace):
    assert invert(model, Trace.from_json(trace.to_json())).signals == invert(model, trace).signals
