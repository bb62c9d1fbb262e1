"""Weights that are not there: Transformers fills them with random numbers, which must never pass for a model."""

import copy

import numpy as np
import pytest
import torch
from gguf import GGUFWriter
from safetensors.torch import load_file, save_file

from inference.core import LanguageModel, WeightsError, resolve
from inference.tests.standin import parts

BLOCK = {
    "attn_q": (16, 16),
    "attn_k": (8, 16),
    "attn_v": (8, 16),
    "attn_output": (16, 16),
    "ffn_gate": (32, 16),
    "ffn_up": (32, 16),
    "ffn_down": (16, 32),
    "attn_norm": (16,),
    "ffn_norm": (16,),
}
SHAPES = {
    "token_embd.weight": (8, 16),
    "output_norm.weight": (16,),
    "output.weight": (8, 16),
    **{f"blk.0.{name}.weight": shape for name, shape in BLOCK.items()},
}


@pytest.fixture
def folder(tmp_path):
    for part in copy.deepcopy(parts()):
        part.save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


def test_a_folder_that_lacks_weights_is_refused_by_their_names(folder):
    kept = load_file(folder / "model.safetensors")
    for name in ("model.layers.1.self_attn.q_proj.weight", "model.layers.1.mlp.up_proj.weight"):
        del kept[name]
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(WeightsError, match=r"tiny lacks weights .*: model\.layers\.1\.mlp\.up_proj\.weight, model"):
        LanguageModel.load(folder)


def test_an_output_layer_that_is_tied_to_the_embeddings_is_not_missed(tmp_path):
    module, tokenizer = copy.deepcopy(parts())
    tied = type(module)(module.config.__class__(**module.config.to_dict() | {"tie_word_embeddings": True}))
    tied.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")
    assert torch.equal(LanguageModel.load(tmp_path).module.lm_head.weight, tied.lm_head.weight)


def gguf(path, merges, without=()):
    """A whole llama of one layer and eight tokens, but for the tensors `without`."""
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(16)
    writer.add_feed_forward_length(32)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(4)
    writer.add_vocab_size(8)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([*"abcdef", "ab", "</s>"])
    writer.add_token_types([1] * 8)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(7)
    writer.add_eos_token_id(7)
    for name, shape in SHAPES.items():
        if name not in without:
            writer.add_tensor(name, np.random.default_rng(0).normal(size=shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize(
    ("merges", "without", "why"),
    [
        (["a b"], ["blk.0.attn_q.weight"], r"lacks weights .*: model\.layers\.0\.self_attn\.q_proj\.weight"),
        (["x y"], [], "cannot be read as a language model"),
    ],
)
def test_a_gguf_that_lacks_weights_or_tokens_is_refused_and_leaves_nothing(tmp_path, merges, without, why):
    path = gguf(tmp_path / "tiny.gguf", merges, without)
    with pytest.raises(WeightsError, match=rf"tiny\.gguf {why}"):
        resolve(str(path), tmp_path / "var", lambda line: None)
    assert [one.suffix for one in (tmp_path / "var" / "models").iterdir()] == [".lock"]


def test_the_same_gguf_whole_is_taken(tmp_path):
    path = gguf(tmp_path / "tiny.gguf", ["a b"])
    model = LanguageModel.load(resolve(str(path), tmp_path / "var", lambda line: None))
    assert (model.layers, model.hidden) == (1, 16)
