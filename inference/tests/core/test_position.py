from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.core import StepSignals
from inference.core.position import FITTED, line, with_baselines

VALUES = st.lists(st.floats(-100, 100), min_size=1, max_size=12)


def signals(entropies, **measured):
    last = max(1, len(entropies) - 1)
    return [
        StepSignals(1 / len(entropies), entropy, entropy / 2, at / last, 5, **measured)
        for at, entropy in enumerate(entropies)
    ]


def test_a_signal_that_only_follows_position_is_its_own_baseline():
    rising = [0.5 + 2 * at for at in range(5)]
    assert [one.by_position["fork_entropy"] for one in with_baselines(signals(rising))] == pytest.approx(rising)


def test_one_step_that_stands_out_does_not_explain_itself():
    found = with_baselines(signals([1.0, 1.0, 5.0, 1.0, 1.0]))
    assert [one.by_position["fork_entropy"] for one in found] == pytest.approx([1.8] * 5)


def test_what_was_not_measured_at_all_steps_has_no_baseline():
    some = signals([1.0, 2.0, 3.0], suppression=0.3)
    some[1] = replace(some[1], suppression=None)
    assert set(with_baselines(some)[0].by_position) == {"fork_entropy", "mean_entropy"}
    whole = signals([1.0, 2.0, 3.0], answer_margin=0.1, trajectory_shift=0.0, suppression=0.2)
    assert set(with_baselines(whole)[0].by_position) == {*FITTED}


@pytest.mark.parametrize("entropies", [[1.0], [1.0, 2.0]])
def test_one_or_two_steps_have_no_line_beside_them(entropies):
    """It would go through them, whatever they say."""
    assert [one.by_position for one in with_baselines(signals(entropies))] == [{}] * len(entropies)


@given(VALUES)
def test_residuals_keep_no_trend_and_no_mean(values):
    positions = [at / max(1, len(values) - 1) for at in range(len(values))]
    left = [value - fitted for value, fitted in zip(values, line(positions, values), strict=True)]
    assert sum(left) == pytest.approx(0, abs=1e-6)
    assert sum(p * r for p, r in zip(positions, left, strict=True)) == pytest.approx(0, abs=1e-6)
