"""The learned mixing of layers and heads, and the attention that it is learned from."""

import pytest
import torch

from inference.core import head_config, invert
from inference.core.feature_cache import FeatureCache
from inference.core.inverse import head_flow
from inference.core.mixing import Mixing, step_shares


@pytest.fixture
def inversion(sharp, trace):
    return invert(sharp, trace, each_head=True)


def test_a_mixing_that_learned_nothing_is_the_plain_rollout(inversion):
    mixing = Mixing(*inversion.heads.shape[:2])
    shares = mixing.flow(head_flow(inversion), len(inversion.signals))
    assert shares == pytest.approx([signal.inverse_flow for signal in inversion.signals], abs=1e-5)
    assert not mixing.learned


def test_a_mixing_is_told_from_zeros_and_forgotten(inversion):
    mixing = Mixing(*inversion.heads.shape[:2])
    plain = mixing.flow(head_flow(inversion), 4)
    with torch.no_grad():
        mixing.weights[0, 1] = 4.0
    assert mixing.learned
    assert mixing.flow(head_flow(inversion), 4) != pytest.approx(plain, abs=1e-4)
    mixing.forget()
    assert mixing.flow(head_flow(inversion), 4) == plain


def test_shares_leave_sink_and_prompt_out_and_add_up_segments_of_one_step():
    mass = torch.tensor([0.5, 0.1, 0.1, 0.2, 0.1])
    assert step_shares(mass, [-1, -1, 0, 1, 1], 3).tolist() == pytest.approx([0.25, 0.75, 0])
    assert step_shares(mass, [-1] * 5, 2).tolist() == [0.5, 0.5]


def test_kept_attention_comes_back_in_half_precision(inversion, sharp, trace, tmp_path):
    cache = FeatureCache(tmp_path, head_config(sharp))
    assert cache.get_flow(trace) is None
    flow = head_flow(inversion)
    cache.put_flow(trace, flow)
    known = cache.get_flow(trace)
    assert (known.step_of, known.answer) == (flow.step_of, flow.answer)
    assert known.heads.dtype == torch.float16
    torch.testing.assert_close(known.heads.float(), flow.heads, atol=1e-3, rtol=1e-3)
    mixing = Mixing(*flow.heads.shape[:2])
    assert mixing.flow(known, 4) == pytest.approx(mixing.flow(flow, 4), abs=1e-2)
    assert cache.get(cache.steps(trace)) is None
