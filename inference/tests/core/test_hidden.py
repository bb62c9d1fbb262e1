"""One layer's hidden states are those of `output_hidden_states`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from inference.core.hidden import listening

SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "vocab_size": 64}


@pytest.fixture(params=["llama", "gpt2"])
def model(request):
    torch.manual_seed(1)
    if request.param == "llama":
        module = LlamaForCausalLM(LlamaConfig(num_attention_heads=4, **SIZES)).eval()
    else:
        module = GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=3, n_head=4, vocab_size=64, n_positions=64)).eval()
    return SimpleNamespace(module=module, layers=3, name="tiny")


@pytest.mark.parametrize("layer", [1, 2, 3])
@torch.no_grad()
def test_it_hears_the_layer_and_leaves_nothing_behind(model, layer):
    ids = torch.randint(0, 64, (1, 9))
    every = model.module(ids, output_hidden_states=True).hidden_states
    with listening(model, layer) as heard:
        model.module.base_model(ids)
    torch.testing.assert_close(heard[0], every[layer], atol=0, rtol=0)
    model.module.base_model(ids)
    assert len(heard) == 1


@torch.no_grad()
def test_it_does_not_hear_other_threads(model):
    with listening(model, 2) as heard, ThreadPoolExecutor(1) as pool:
        pool.submit(model.module.base_model, torch.zeros(1, 4, dtype=torch.long)).result()
    assert heard == []


def test_a_model_without_a_list_of_layers_is_refused(model):
    model.layers = 5
    with pytest.raises(ValueError, match="in no list"), listening(model, 1):
        pass
