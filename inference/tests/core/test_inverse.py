"""Inverse reasoning from end to end, on the stand-in."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from inference.core import (
    Head,
    HeadConfig,
    HeadMismatchError,
    InverseSettings,
    Problem,
    ReasonSettings,
    explain_inverse,
    head_config,
    reason,
)
from inference.core.ranking import likely_and_mattered
from inference.core.resampling import start_of
from inference.core.step_head import NUMBERS


def trained(model, preference, effect=None):
    """A head with the given weights, by index, in place of zeros, that expects some effect of every step."""
    head = Head(head_config(model), number=3)
    with torch.no_grad():
        head.steps.base[0] = 2.0
        for weights, values in ((head.preference.weight, preference), (head.steps.effect, effect or {})):
            for index, value in values.items():
                weights[index] = value
    return head


def test_the_record_says_what_was_done(model, trace, head):
    made = explain_inverse(model, trace, head)
    record = made.record
    assert record.ranked_by == "signals"
    assert record.tests[0].step == 1  # where the model was least sure
    assert len(record.tests) == 3  # all but the one that states the answer
    assert record.steps == tuple(step.text for step in trace.steps)
    assert record.settings == {
        "candidates": 3, "tested_steps": 5, "rollouts": 6, "seed": 0, "layer": 1, "budget": None,
        "similarity": "all-minilm-l6-v2", "looks": 4, "writer": "templates",
    }  # fmt: skip
    assert record.step_scores == likely_and_mattered(record.signals)
    for signal in record.signals:
        assert signal.position_flow is not None
        assert 0 <= signal.answer_margin <= 1
        assert 0 <= signal.trajectory_shift <= 0.7
    assert sum(signal.position_flow for signal in record.signals) == pytest.approx(1)
    assert isinstance(record.to_json()["tests"][0]["kept_answers"], dict)


def test_the_text_is_one_of_the_candidates(model, trace, head):
    made = explain_inverse(model, trace, head)
    assert made.text in {candidate.text for candidate in made.candidates}
    assert [candidate.score for candidate in made.candidates] == [None] * 3
    assert made.step_features.shape == (4, head.config.step_size)
    assert made.candidate_features.shape == (3, head.config.explanation_size)


def test_the_step_that_states_the_answer_is_never_tested(model, trace, head):
    made = explain_inverse(model, trace, head, InverseSettings(tested_steps=9, rollouts=3))
    assert sorted(test.step for test in made.record.tests) == [0, 1, 2]


def test_an_untrained_head_draws_among_the_styles(model, head):
    problems = [Problem(f"Is {number} odd?", ("Yes", "No")) for number in range(12)]
    traces = [reason(model, problem, ReasonSettings()) for problem in problems]
    made = [explain_inverse(model, one, head, InverseSettings(tested_steps=0)) for one in traces]
    chosen = {[candidate.text for candidate in one.candidates].index(one.text) for one in made}
    assert chosen == {0, 1, 2}
    again = explain_inverse(model, traces[0], head, InverseSettings(tested_steps=0))
    assert again.text == made[0].text


def test_a_trained_head_chooses_the_text_and_the_steps(model, trace):
    width = model.hidden
    position = 2 * width + NUMBERS.index("position")
    longest = trained(model, {2 * width: 1.0}, {position: 1.0})  # of the preference: length
    shortest = trained(model, {2 * width: -1.0}, {position: -1.0})
    long, short = explain_inverse(model, trace, longest), explain_inverse(model, trace, shortest)
    assert long.record.ranked_by == "head v3"
    assert [test.step for test in long.record.tests] == [2, 1, 0]
    assert [test.step for test in short.record.tests] == [0, 1, 2]
    assert len(long.text) == max(len(candidate.text) for candidate in long.candidates)
    assert len(short.text) == min(len(candidate.text) for candidate in short.candidates)
    assert all(candidate.score is not None for candidate in long.candidates)


def test_a_head_of_another_model_is_refused(model, trace):
    foreign = Head(HeadConfig("other", "", model.hidden, 1, (1,)))
    with pytest.raises(HeadMismatchError, match="head v0 was fitted for another model: it has model 'other', not"):
        explain_inverse(model, trace, foreign)
    tuned = replace(head_config(model), weights="0123456789ab")  # of the same name, for example a fine-tuned one
    with pytest.raises(HeadMismatchError, match=f"weights '0123456789ab', not '{model.weights}'"):
        explain_inverse(model, trace, Head(tuned))
    deeper = replace(head_config(model), depth=99)
    with pytest.raises(HeadMismatchError, match="depth 99"):
        explain_inverse(model, trace, Head(deeper))
    with pytest.raises(ValueError, match="layer is 2"):
        explain_inverse(model, trace, Head(head_config(model)), InverseSettings(layer=2))


def test_progress_only_grows(model, trace, head):
    seen = []
    explain_inverse(model, trace, head, None, lambda stage, share: seen.append((stage, share)))
    shares = [share for _, share in seen]
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[-1] == 1
    assert len({stage for stage, _ in seen}) == 4


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"tested_steps": -1}, "tested_steps is -1; give at least 0"),
        ({"candidates": 0}, "candidates is 0; give at least 1"),
        ({"rollouts": 0}, "rollouts is 0"),
        ({"looks": 0}, "looks is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"writer": "me"}, "writer is 'me'; allowed are templates, model, both"),
    ],
)
def test_settings_that_cannot_be(given, what):
    with pytest.raises(ValueError, match=what):
        InverseSettings(**given)


def test_no_steps_tested_is_said_so(model, trace, head):
    made = explain_inverse(model, trace, head, InverseSettings(tested_steps=0))
    assert all("No decisive choice was found" in candidate.text for candidate in made.candidates)
    assert "not tested" in made.candidates[2].text


def test_the_package_loads_torch_only_when_needed():
    code = (
        "import sys, inference.core as core; core.Problem('a', ('b', 'c')); assert 'torch' not in sys.modules;"
        "from inference.core import reason, invert; assert callable(reason) and callable(core.invert);"
        "assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_head_that_learned_from_no_step_leaves_the_ranking_to_the_signals(model, trace):
    made = explain_inverse(model, trace, trained(model, preference={0: 1.0}))
    assert made.record.ranked_by == "signals"
    assert made.candidates[0].score is not None


def test_a_budget_leaves_the_lower_ranked_steps_untested(model, trace, head):
    free = explain_inverse(model, trace, head, InverseSettings(tested_steps=3, rollouts=2))
    order = [test.step for test in free.record.tests]
    first = trace.steps[order[0]]
    starts = (first.token_start, first.token_end)
    cost = 2 * sum(start_of(model, trace, start, 0).sampling.max_new_tokens for start in starts)
    made = explain_inverse(model, trace, head, InverseSettings(tested_steps=3, rollouts=2, budget=cost)).record
    done = [test.step for test in made.tests]  # others than the first only in what that has left
    assert done == order[: len(done)] != []
    assert made.over_budget == tuple(order[len(done) :]) != ()
    nothing = explain_inverse(model, trace, head, InverseSettings(tested_steps=3, rollouts=2, budget=cost - 1))
    assert nothing.record.tests == ()
    assert nothing.record.over_budget == tuple(order)
    assert "No decisive choice was found" in nothing.text
    with pytest.raises(ValueError, match="budget is 0 tokens"):
        explain_inverse(model, trace, head, InverseSettings(budget=0))
