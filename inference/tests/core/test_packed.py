"""Many probes in one pass, against one plain pass for each."""

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

from inference.core import LanguageModel, prepacked
from inference.core.packed import Probe, grown, logprobs
from inference.tests.standin import parts

IDS = tuple(torch.randint(100, (60,), generator=torch.Generator().manual_seed(1)).tolist())
PROBES = [
    Probe(60, (5, 6), (7, 8, 9)),
    Probe(20, (5, 6), (7, 8, 10)),
    Probe(20, (5, 6), (7, 3)),
    Probe(20, (5, 6), (7, 3), blind=(4, 11)),
    Probe(20, (5,), (6, 7)),
    Probe(41, (9, 9, 9), (1,), blind=(0, 30)),
    Probe(0, (2,), (3, 4)),
]


def sizes(heads, key_heads):
    return {
        "vocab_size": 100,
        "hidden_size": 24,
        "intermediate_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": heads,
        "num_key_value_heads": key_heads,
        "initializer_range": 0.5,  # far from uniform attention
        "pad_token_id": 0,
    }


def wrapped(module):
    return LanguageModel(module.eval(), parts()[1], "tiny")


def tiny(which):
    torch.manual_seed(3)
    if which == "gpt2":
        return wrapped(
            GPT2LMHeadModel(GPT2Config(vocab_size=100, n_embd=24, n_layer=2, n_head=4, initializer_range=0.5))
        )
    return wrapped(LlamaForCausalLM(LlamaConfig(**sizes(*which))))


def alone(model, probe):
    """The probe's tokens after its cut in a pass of their own, each with a loop over where it may look."""
    ids = [*IDS[: probe.cut], *probe.given, *probe.scored]
    mask = torch.zeros(1, 1, len(ids), len(ids), dtype=torch.bool)
    for row in range(len(ids)):
        for column in range(row + 1):
            mask[0, 0, row, column] = not (row >= probe.cut and probe.blind[0] <= column < probe.blind[1])
    with torch.no_grad():
        logits = model.module(torch.tensor([ids]), attention_mask=mask).logits[0].log_softmax(-1)
    start = probe.cut + len(probe.given)
    return torch.stack([logits[at - 1, ids[at]] for at in range(start, len(ids))])


def watched(model):
    """Lengths of the passes that go through the model's layers from now on."""
    made = []

    def note(module, args, options):
        made.append(options["input_ids"].shape[1])

    model.module.get_decoder().register_forward_pre_hook(note, with_kwargs=True)
    return made


@pytest.mark.parametrize("which", [(4, 4), (6, 2), (4, 1), "gpt2"])
@pytest.mark.parametrize("cached", [0, 30, 60])
def test_equals_one_pass_for_each_probe(which, cached):
    """Without and with grouped heads and in another architecture; from nothing, a part or all of the sequence."""
    model = tiny(which)
    found = logprobs(model, IDS, PROBES, model.prefix(IDS[:cached]) if cached else None)
    for probe, made in zip(PROBES, found, strict=True):
        torch.testing.assert_close(made, alone(model, probe), atol=1e-4, rtol=0)


def test_behind_the_last_attention_only_scored_rows_are_computed(monkeypatch):
    model, rows, product = tiny((6, 2)), [], prepacked.product
    prefix, probe = model.prefix(IDS), PROBES[0]

    def noted(given, packed, bias):
        rows.append(given.shape[1])
        return product(given, packed, bias)

    monkeypatch.setattr(prepacked, "product", noted)
    logprobs(model, IDS, [probe], prefix)
    read, scored = len(probe.read), len(probe.scored)
    assert scored < read
    behind = [read] * 3 + [scored] * 4  # queries, keys and values, then three products of the MLP and one before it
    assert rows == [read] * 7 * (model.layers - 1) + behind + [scored]


@pytest.mark.parametrize("cells", [0, 100, 700, 1500])
def test_a_large_mask_is_split_into_passes_that_say_the_same(cells):
    model = tiny((6, 2))
    whole = logprobs(model, IDS, PROBES)
    for prefix in (None, model.prefix(IDS)):
        for one, other in zip(logprobs(model, IDS, PROBES, prefix, cells), whole, strict=True):
            torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


def test_only_what_is_appended_goes_through_the_model():
    model = tiny((6, 2))
    prefix = model.prefix(IDS)
    before = prefix.cache.layers[0].keys.clone()
    made = watched(model)
    nodes = 4 + 4 + 3 + 3 + 2  # 5 6 7 8 after 60; 5 6 7 8 after 20, with two probes more; 5 6 7 blind; 9 9 9; 2 3
    logprobs(model, IDS, PROBES, prefix)
    assert made == [nodes]
    logprobs(model, IDS, PROBES)
    assert made == [nodes, 60 + nodes]
    del made[:]
    logprobs(model, IDS, PROBES, cells=0)
    assert made == [60, *(len(probe.given) + len(probe.scored) - 1 for probe in PROBES)]
    assert torch.equal(prefix.cache.layers[0].keys, before)  # lent, and not written to


def test_each_pass_keeps_to_the_cells():
    for cells in (300, 700, 1500):
        trees = grown(PROBES, 60, cells)
        assert [probe for tree in trees for probe in tree.probes] == PROBES
        alone = [tree for tree in trees if len(tree.probes) == 1]
        assert all(len(tree.ids) * (60 + len(tree.ids)) <= cells for tree in trees if tree not in alone)
    assert len(grown(PROBES, 60, 1500)) == 1


def test_nothing_to_ask_is_nothing_found():
    assert logprobs(tiny((4, 4)), IDS, []) == []


def test_what_cannot_be_probed_is_refused():
    model = tiny((4, 4))
    with pytest.raises(ValueError, match="cuts after 61 tokens; the sequence has 60"):
        logprobs(model, IDS, [Probe(61, (1,), (2,))])
    with pytest.raises(ValueError, match="reads or scores no token"):
        logprobs(model, IDS, [Probe(10, (), (2,))])
    windowed = wrapped(MistralForCausalLM(MistralConfig(**sizes(4, 2), sliding_window=20)))
    with pytest.raises(ValueError, match=r"tiny cannot be probed .* full attention"):
        logprobs(windowed, IDS, PROBES)
