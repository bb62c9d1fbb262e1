"""Likely × mattered, and what probing adds to the signals."""

from dataclasses import replace

import pytest
import torch
from transformers import MistralConfig, MistralForCausalLM

from inference.core import Head, InverseSettings, explain_inverse, head_config, invert, reason
from inference.core.ranking import likely_and_mattered, probed, ranks
from inference.core.reading import read
from inference.core.reasoning import ReasonSettings, silent
from inference.core.records import StepSignals
from inference.core.suppression import direct_suppression
from inference.core.trajectory import answer_trajectory
from inference.tests.core.conftest import PROBLEM
from inference.tests.standin import StandIn, parts

PLAIN = StepSignals(0.2, 1.0, 0.5, 0.0, 9)


def signals(*rows):
    return [
        replace(PLAIN, fork_entropy=entropy, answer_margin=margin, suppression=loss, trajectory_shift=shift)
        for entropy, margin, loss, shift in rows
    ]


def test_a_step_that_was_open_and_mattered_goes_before_those_that_were_one_of_both():
    both, sure, idle = (2.0, 0.1, 3.0, 0.4), (0.1, 0.9, 4.0, 0.5), (3.0, 0.05, 0.0, 0.0)
    scores = likely_and_mattered(signals(sure, both, idle))
    assert max(scores) == scores[1]
    assert scores == pytest.approx((1 / 3 * 1, 2 / 3 * 2 / 3, 1 * 1 / 3))


def test_units_do_not_count():
    rows = [(2.0, 0.1, 3.0, 0.4), (0.1, 0.9, 4.0, 0.5), (3.0, 0.05, -1.0, 0.0)]
    other = [(entropy**3, margin / 2, 10 * loss, shift) for entropy, margin, loss, shift in rows]
    assert likely_and_mattered(signals(*rows)) == likely_and_mattered(signals(*other))


def test_without_probes_fork_entropy_ranks():
    found = likely_and_mattered([replace(PLAIN, fork_entropy=entropy) for entropy in (0.5, 2.0, 1.0)])
    assert found == pytest.approx((1 / 3, 1, 2 / 3))


def test_a_learned_flow_is_one_more_sign_that_a_step_mattered():
    rows = signals((1.0, 0.5, 3.0, 0.4), (1.0, 0.5, 2.0, 0.5))
    even = likely_and_mattered(rows)
    assert even[0] == even[1]
    first, second = likely_and_mattered(
        [replace(row, learned_flow=share) for row, share in zip(rows, (0.3, 0.7), strict=True)]
    )
    assert first < even[0] < second


def test_ties_share_their_ranks():
    assert ranks([1.0, 1.0, 5.0, 0.0]) == [0.625, 0.625, 1.0, 0.25]
    assert ranks([]) == []


def test_probing_is_what_the_probes_say(model, trace):
    inversion = invert(model, trace)
    found = probed(model, trace, inversion)
    trajectory = answer_trajectory(model, trace)
    assert [one.trajectory_shift for one in found] == pytest.approx(trajectory.shifts.tolist(), abs=1e-5)
    assert [one.suppression for one in found] == pytest.approx(direct_suppression(model, trace).tolist(), abs=1e-4)
    first = trajectory.distributions[0].sort(descending=True).values
    assert found[0].answer_margin == pytest.approx(float(first[0] - first[1]), abs=1e-5)
    assert [one.inverse_flow for one in found] == [one.inverse_flow for one in inversion.signals]


@pytest.fixture
def windowed():
    """The stand-in's words before a model that looks back through a window of 20 tokens."""
    module, tokenizer = parts()
    given = {name: getattr(module.config, name) for name in ("vocab_size", "hidden_size", "intermediate_size")}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        config = MistralConfig(
            **given,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            sliding_window=20,
            initializer_range=0.5,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.eos_token_id,
        )
        return StandIn(MistralForCausalLM(config), tokenizer, "windowed")


def test_a_model_with_a_window_is_explained_and_says_what_ranked(windowed):
    trace = reason(windowed, PROBLEM, ReasonSettings())
    made = explain_inverse(windowed, trace, Head(head_config(windowed)), InverseSettings(tested_steps=1, rollouts=2))
    assert made.record.ranked_by == "fork entropy"
    assert all(signal.suppression is None and signal.position_flow is not None for signal in made.record.signals)


def test_reading_keeps_the_window(windowed):
    """Texts longer than the window, which a mask of our own would take away."""
    random = torch.Generator().manual_seed(4)
    context, *written = (tuple(torch.randint(0, 300, (size,), generator=random).tolist()) for size in (30, 35, 25))
    found = dict(read(windowed, [context, context], written, [1, 2], silent))
    for index, ids in enumerate(written):
        with torch.no_grad():
            plain = windowed.module(torch.tensor([[*context, *ids]]), output_hidden_states=True)
        expected = torch.stack([plain.hidden_states[layer][0, len(context) :] for layer in (1, 2)])
        torch.testing.assert_close(found[index].hidden, expected, atol=1e-5, rtol=1e-4)
        logs = plain.logits[0, len(context) - 1 : -1].log_softmax(-1)
        told = logs[torch.arange(len(ids)), torch.tensor(ids)]
        torch.testing.assert_close(found[index].logprobs, told, atol=1e-4, rtol=1e-4)
