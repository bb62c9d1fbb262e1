"""Method `attention`: what it says is what the pass measured."""

from dataclasses import replace

import pytest

from inference.core import explain_attention, invert
from inference.core.attention_report import WARNING, report


def test_it_names_the_steps_that_were_looked_at_most(model, trace):
    text, record = explain_attention(model, trace)
    flow = [signal.inverse_flow for signal in invert(model, trace).signals]
    assert record.step_scores == pytest.approx(flow, abs=1e-6)
    assert record.tests == ()
    order = sorted(range(3), key=lambda step: -flow[step])  # the fourth states the answer
    places = [text.index(f"{100 * flow[step]:.0f}% led to step {step + 1} (“") for step in order]
    assert places == sorted(places)
    assert text.startswith("The model answered “White”.")
    assert text.endswith(WARNING)
    assert sum(signal.position_flow for signal in record.signals) == pytest.approx(1)


def test_the_baseline_is_told_in_the_same_order(model, trace):
    _, record = explain_attention(model, trace)
    shares = (0.5, 0.2, 0.1, 0.2)
    places = (0.4, 0.3, 0.2, 0.1)
    signals = tuple(replace(one, position_flow=place) for one, place in zip(record.signals, places, strict=True))
    text = report(replace(record, step_scores=shares, signals=signals))
    assert "50% led to step 1" in text
    assert "Had it looked at all words alike, 40%, 30% and 20% would have led to these." in text


def test_a_chain_that_only_states_its_answer(model, trace):
    _, record = explain_attention(model, trace)
    only = replace(record, steps=("Answer: White",), step_scores=(1.0,), signals=record.signals[:1])
    assert report(only) == f"The model answered “White”. It wrote no step before that. {WARNING}"
