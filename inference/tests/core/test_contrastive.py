"""Contrastive flow against gradients of the maps that an eager model returns, and signals with hand-known answers."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

from inference.core import ReasonSettings, reason
from inference.core.attention import install, recording
from inference.core.contrastive import accumulated, contrast, contrastive_flow
from inference.core.flow import Tape, membership, mixed_flow, rollout, uniform_attention
from inference.core.inversion import Segments, position_only_flow
from inference.core.receivers import forks, kurtosis, received, receiver_heads, receiver_scores, step_attention
from inference.tests.core.conftest import PROBLEM

BOUNDS = (0, 1, 7, 12, 20, 29, 30, 41)


def llama() -> torch.nn.Module:
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "vocab_size": 64}
    return LlamaForCausalLM(LlamaConfig(num_attention_heads=4, num_key_value_heads=2, **sizes))


def gpt2() -> torch.nn.Module:
    return GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=3, n_head=4, vocab_size=64, n_positions=64))


def windowed() -> torch.nn.Module:
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "vocab_size": 64}
    return MistralForCausalLM(
        MistralConfig(num_attention_heads=4, num_key_value_heads=2, sliding_window=9, head_dim=8, **sizes)
    )


@pytest.fixture(params=[llama, gpt2, windowed])
def pair(request):
    """The recording model and an eager one with the same weights; tokens."""
    torch.manual_seed(3)
    module = request.param().eval()
    eager = copy.deepcopy(module)
    eager.set_attn_implementation("eager")
    install(module)
    return module, eager, torch.randint(0, 64, (41,)).tolist()


def by_segments(maps: torch.Tensor) -> torch.Tensor:
    """[..., T, T] -> [..., S', S']: mean over the rows of a segment, sum over its columns."""
    member = membership(BOUNDS, maps)
    return (member.T @ maps @ member) / member.sum(0)[:, None]


def test_the_streamed_relevance_is_that_of_the_whole_maps(pair):
    module, eager, ids = pair
    output = eager(torch.tensor([ids]), output_attentions=True, use_cache=False)
    logits = output.logits[0, -1]
    grads = torch.autograd.grad(logits[5] - logits[9], output.attentions)
    naive = [
        by_segments((grad * own).clamp(min=0)[0].mean(0)) for grad, own in zip(grads, output.attentions, strict=True)
    ]
    found = contrast(module, ids, (5, 9), BOUNDS)
    assert found[:, 2:].abs().max() > 1e-6
    for mine, whole in zip(found, naive, strict=True):
        torch.testing.assert_close(mine[2:], whole[2:].detach(), atol=1e-5, rtol=1e-4)
        assert not mine[:2].any()


def test_each_head_is_that_of_the_whole_maps_and_their_mean_is_the_flow(pair):
    module, eager, ids = pair
    with torch.no_grad():
        maps = eager(torch.tensor([ids]), output_attentions=True, use_cache=False).attentions
        for each in (True, False):
            with recording(Tape(BOUNDS, 2, each_head=each)) as tape:
                module(torch.tensor([ids]), use_cache=False)
            whole = torch.stack([by_segments(one[0]) for one in maps])
            if each:
                torch.testing.assert_close(tape.heads()[:, :, 2:], whole[:, :, 2:], atol=1e-5, rtol=0)
            torch.testing.assert_close(tape.flow()[:, 2:], whole.mean(1)[:, 2:], atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="each_head"):
        tape.heads()


def test_small_blocks_change_nothing(pair, monkeypatch):
    module, _, ids = pair
    flows = []
    for cells in (2**20, 4 * 41 * 3):
        monkeypatch.setattr("inference.core.flow.CELLS", cells)
        with torch.no_grad(), recording(Tape(BOUNDS, 2)) as tape:
            module(torch.tensor([ids]), use_cache=False)
        flows.append(tape.flow())
    torch.testing.assert_close(flows[0], flows[1], atol=1e-6, rtol=0)


def test_relevance_adds_up_along_every_way():
    # Two layers: 2 looks at 1 by 0.5 in both; 1 looks at 0 by 0.25 in the first.
    layers = torch.zeros(2, 3, 3)
    layers[:, 2, 1] = 0.5
    layers[0, 1, 0] = 0.25
    # To 1: by either layer, 1.0. To 0: through 1 in the upper layer, then 0.25 · 0.5.
    assert accumulated(layers, 2).tolist() == pytest.approx([0.125, 1.0, 1.0])


def test_a_flow_mixed_by_nothing_is_the_rollout_and_one_by_weights_follows_its_head():
    torch.manual_seed(0)
    heads = torch.rand(2, 3, 4, 4).tril()
    heads = heads / heads.sum(-1, keepdim=True)
    plain = mixed_flow(heads, torch.zeros(2, 3), torch.zeros(2), 3)
    torch.testing.assert_close(plain, rollout(heads.mean(1), 3))
    heads[:, 1, 3] = torch.tensor([0.0, 1.0, 0.0, 0.0])
    weights = torch.zeros(2, 3).index_fill(1, torch.tensor(1), 50.0).requires_grad_()
    moved = mixed_flow(heads, weights, torch.full((2,), 50.0), 3)
    assert moved.sum().item() == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(moved, heads[0, 1, 1].detach(), atol=1e-5, rtol=0)
    (grad,) = torch.autograd.grad(mixed_flow(heads, weights * 0, torch.zeros(2), 3)[0], weights)
    assert grad.shape == weights.shape


def test_uniform_attention_counts_what_can_be_seen():
    # Segments {0}, {1}, {2, 3}: token 2 sees three tokens, token 3 four.
    found = uniform_attention((0, 1, 2, 4), first=1)
    assert found[2].tolist() == pytest.approx([(1 / 3 + 1 / 4) / 2, (1 / 3 + 1 / 4) / 2, (1 / 3 + 2 / 4) / 2])
    assert found[1].tolist() == pytest.approx([0.5, 0.5, 0.0])


def test_position_alone_favours_early_steps_of_the_same_length():
    segments = Segments((0, 1, 5, 15, 25, 35, 36), (-1, -1, 0, 1, 2, 2), 5)
    early, middle, late = position_only_flow(segments, layers=12, steps=3)
    assert early + middle + late == pytest.approx(1)
    assert early > middle > late


def test_a_head_that_looks_at_one_step_only_is_the_receiver_head():
    steps = 10
    attention = torch.full((2, 3, steps, steps), 0.1).tril()
    attention[1, 2, :, 3] += 0.8
    scores = received(attention)
    assert scores.shape == (2, 3, 5)
    assert receiver_heads(scores, top=1) == [(1, 2)]
    assert receiver_scores(scores, [(1, 2)]).tolist() == pytest.approx([0.1, 0.1, 0.1, 0.9, 0.1])
    assert kurtosis(torch.tensor([1.0, 1.0, 1.0])).item() == 0
    assert kurtosis(torch.tensor([0.0, 0.0, 0.0, 1.0])).item() == pytest.approx(7 / 3 - 3)
    with pytest.raises(ValueError, match="heads is empty"):
        receiver_scores(scores, [])
    with pytest.raises(ValueError, match="7 steps"):
        received(attention[..., :7, :7])


def test_step_attention_is_per_token_pair_whatever_the_segments():
    segments = Segments((0, 1, 3, 5, 6, 9), (-1, -1, 0, 0, 1), 3)
    heads = torch.zeros(1, 1, 5, 5)
    heads[0, 0, 4] = torch.tensor([0.1, 0.2, 0.4, 0.2, 0.1])
    heads[0, 0, 3] = torch.tensor([0.1, 0.3, 0.5, 0.1, 0.0])
    found = step_attention(heads, segments, 2)[0, 0]
    assert found[1].tolist() == pytest.approx([0.6 / 3, 0.1 / 3])  # step 0 has three tokens, step 1 three
    assert found[0].tolist() == pytest.approx([(0.6 * 1) / 3 / 3, 0.0])


def test_forks_are_the_fifth_of_highest_entropy():
    assert forks([0.1, 2.0, 0.3, 0.2, 1.0, 0.0]) == [1, 4]
    assert forks([]) == []
    with pytest.raises(ValueError, match=r"share is 2\.0; allowed is 0 to 1"):
        forks([1.0], 2.0)


def test_the_shares_of_the_steps_in_an_answer_rather_than_a_rival(sharp):
    trace = reason(sharp, PROBLEM, ReasonSettings())
    rivals = [option for option in PROBLEM.options if option != trace.answer.text]
    found = [contrastive_flow(sharp, trace, rival) for rival in rivals]
    for shares in found:
        assert shares.shape == (len(trace.steps),)
        assert shares.min() >= 0
        assert shares.sum().item() == pytest.approx(1, abs=1e-5)
    assert not torch.allclose(*found, atol=1e-3)
    with pytest.raises(ValueError, match="rival is ''; name another answer"):
        contrastive_flow(sharp, trace, "")
    with pytest.raises(ValueError, match="cannot be told from the answer"):
        contrastive_flow(sharp, trace, trace.answer.text)
