"""Attention reduced to segments, and the rollout."""

import threading
from itertools import pairwise

import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

from inference.core import attention, flow
from inference.core.attention import recording
from inference.core.flow import BLOCK, Tape, rollout
from inference.core.limits import Counter

LENGTH = 150  # more than two blocks
BOUNDS = (0, 1, 30, 31, 70, BLOCK + 30, 149, LENGTH)


def tiny(heads=4, key_heads=2):
    torch.manual_seed(heads)
    return LlamaForCausalLM(LlamaConfig(**sizes(heads, key_heads))).eval()


def sizes(heads, key_heads):
    return {
        "vocab_size": 100,
        "hidden_size": 24,
        "intermediate_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": heads,
        "num_key_value_heads": key_heads,
        "initializer_range": 1.0,  # far from uniform attention
        "pad_token_id": 0,
    }


def families():
    yield tiny(4, 4)
    yield tiny(6, 2)
    yield tiny(4, 1)
    yield MistralForCausalLM(MistralConfig(**sizes(4, 2), sliding_window=20)).eval()
    yield GPT2LMHeadModel(GPT2Config(vocab_size=100, n_embd=24, n_layer=2, n_head=4, initializer_range=1.0)).eval()


def ids(seed=1):
    return torch.randint(100, (1, LENGTH), generator=torch.Generator().manual_seed(seed))


def recorded(module, tokens, first=2):
    with recording(Tape(BOUNDS, first)) as tape, torch.no_grad():
        logits = module(tokens).logits
    return tape.flow(), logits


def naive(attention):
    """[T, T] -> [S', S'], one segment pair at a time."""
    spans = [range(start, end) for start, end in pairwise(BOUNDS)]
    return torch.tensor(
        [
            [sum(attention[row, list(columns)].sum() for row in rows) / len(rows) for columns in spans]
            for rows in spans
        ]
    )


@pytest.mark.parametrize("which", range(5))
def test_equals_what_full_attention_maps_give(which):
    """Without and with grouped heads, with a sliding window, and in another architecture."""
    module = list(families())[which]
    module.set_attn_implementation("eager")
    with torch.no_grad():
        plain = module(ids(), output_attentions=True)
    expected = torch.stack([naive(layer[0].mean(0)) for layer in plain.attentions])
    expected[:, :2] = torch.eye(len(BOUNDS) - 1)[:2]
    attention.install(module)
    measured, logits = recorded(module, ids())
    torch.testing.assert_close(measured, expected, atol=1e-5, rtol=0)
    # Weights this large turn rounding into some 3e-4, with eager and sdpa as well.
    torch.testing.assert_close(logits, plain.logits, atol=2e-3, rtol=1e-4)


@pytest.mark.parametrize("rows", [LENGTH, 30])
@pytest.mark.parametrize("masked", [False, True])
def test_a_recorded_layer_gives_what_sdpa_gives(rows, masked):
    """All tokens, or the last ones behind a cache; a mask hides some keys besides the later ones."""
    drawn = torch.Generator().manual_seed(rows)
    query, key, value = (torch.randn(1, heads, LENGTH, 8, generator=drawn) for heads in (6, 2, 2))
    mask = torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril()
    if masked:
        mask[60:, 10:40] = False
    query, told = query[:, :, -rows:], mask[None, None, -rows:]
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value, told, enable_gqa=True)
    given = attention.Attended(0, query, key, value, told if masked else None, None)
    for recorder in (Tape(BOUNDS, BOUNDS.index(149)), flow.InBlocks()):
        output = recorder.listen(given, never)
        torch.testing.assert_close(output, expected.transpose(1, 2), atol=1e-5, rtol=1e-5)


def never():
    raise AssertionError("the usual attention is not asked for")


@pytest.mark.parametrize(("device", "kind"), [("meta", True), ("cpu", False)])
def test_another_device_and_another_kind_of_attention_stay_as_usual(device, kind):
    states, usual = torch.ones(1, 2, 4, 8, device=device), torch.ones(1)
    given = attention.Attended(0, states, states, states, None, None, plain=kind)
    assert flow.InBlocks().listen(given, lambda: usual) is usual


def test_a_score_that_overflows_out_of_sight_changes_nothing():
    query, key = torch.full((2, 2, 4), 1e4, dtype=torch.float16), torch.ones(2, 4, 2, dtype=torch.float16)
    key[:, :, 1] = 1e3
    closed = torch.tensor([[False, True], [False, True]])
    assert torch.equal(flow.block_attention(query, key, closed), torch.tensor([1.0, 0.0]).expand(2, 2, 2))


def test_limits_are_worked_out_once_and_only_narrow_ones_kept():
    states = torch.ones(1, 1, 4 * BLOCK, 8)
    causal = torch.ones(1, 1, 4 * BLOCK, 4 * BLOCK, dtype=torch.bool).tril()
    limits = flow.Limits()
    given = attention.Attended(0, states, states, states, causal, None)
    found = limits.closed(given, BLOCK, 2 * BLOCK)
    assert found.shape == (BLOCK, BLOCK - 1)
    assert limits.closed(given, BLOCK, 2 * BLOCK) is found
    window = attention.Attended(1, states, states, states, causal & ~causal.roll(2, 2), None)
    wide = limits.closed(window, 3 * BLOCK, 4 * BLOCK)
    assert wide.shape == (BLOCK, 4 * BLOCK)
    assert not limits.known
    assert torch.equal(wide, ~window.mask[0, 0, 3 * BLOCK :])


def test_a_layer_that_adds_a_bias_to_its_scores_does_not_count_as_recorded():
    query = torch.randn(1, 2, 4, 8)
    module = torch.nn.Module()
    with recording(Counter()) as counter:
        plain, _ = attention.segment_attention(module, query, query, query, None)
        biased, _ = attention.segment_attention(
            module, query, query, query, None, position_bias=torch.randn(1, 2, 4, 4)
        )
    assert counter.count == 1
    assert not torch.allclose(plain, biased)


def test_without_a_tape_the_model_computes_the_same_as_with_sdpa():
    module = tiny(6, 2)
    module.set_attn_implementation("sdpa")
    with torch.no_grad():
        plain = module(ids()).logits
    attention.install(module)
    with torch.no_grad():
        assert torch.equal(module(ids()).logits, plain)
    padded = torch.ones(1, LENGTH, dtype=torch.long)
    padded[:, :20] = 0
    with torch.no_grad():
        own = module(ids(), attention_mask=padded).logits
        module.set_attn_implementation("sdpa")
        assert torch.equal(own, module(ids(), attention_mask=padded).logits)


def test_two_threads_do_not_mix_their_tapes():
    module = tiny()
    attention.install(module)
    alone = [recorded(module, ids(seed))[0] for seed in (1, 2)]
    together = [[], []]
    start = threading.Barrier(3)

    def work(which):
        start.wait()
        together[which] += [recorded(module, ids(which + 1))[0] for _ in range(10)]

    def disturb():
        start.wait()
        with torch.no_grad():
            for _ in range(10):
                module(ids(3))

    threads = [
        threading.Thread(target=work, args=(0,)),
        threading.Thread(target=work, args=(1,)),
        threading.Thread(target=disturb),
    ]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    for which in (0, 1):
        assert len(together[which]) == 10
        assert all(torch.equal(made, alone[which]) for made in together[which])


def test_without_a_tape_nothing_is_recorded():
    module = tiny()
    attention.install(module)
    with recording(Tape(BOUNDS, 2)) as tape:
        pass
    module(ids())
    assert tape.layers == []


def test_rollout_of_an_attention_with_a_known_answer():
    """Two layers over segments prompt, a, b, answer: the answer looks at b, b at a, a at the prompt."""
    layer = torch.tensor([[1.0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]])
    mass = rollout(torch.stack([layer, layer]), start=3)
    # Half stays at each layer: 1/4 still at the answer, 2 × 1/4 at b, 1/4 moved on to a.
    torch.testing.assert_close(mass, torch.tensor([0.0, 0.25, 0.5, 0.25]))


def test_rollout_keeps_the_mass_and_follows_the_layers_from_the_last():
    first = torch.tensor([[1.0, 0, 0], [1, 0, 0], [0, 1, 0]])  # the last segment looks at the middle one
    last = torch.tensor([[1.0, 0, 0], [0, 1, 0], [1, 0, 0]])  # the last segment looks at the first one
    mass = rollout(torch.stack([first, last]), start=2)
    # In the last layer half goes to the first segment for good; half of what stays then moves to the middle.
    torch.testing.assert_close(mass, torch.tensor([0.5, 0.25, 0.25]))
