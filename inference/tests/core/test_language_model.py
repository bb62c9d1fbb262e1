"""Text and tokens."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from inference.core import LanguageModel
from inference.core.decode import Row
from inference.tests.standin import stand_in_model


@given(st.text(max_size=30))
def test_pieces_spell_the_text(text):
    model = stand_in_model()
    ids = model.encode(text)
    pieces = model.pieces(ids)
    assert len(pieces) == len(ids)
    assert "".join(pieces) == model.decode(ids)


def test_the_end_of_turn_and_trailing_space_are_not_part_of_the_chain(model):
    ids = [*model.encode("So it is 12.\n\n"), model.tokenizer.eos_token_id]
    tokens = model.tokens(Row(None, ids, [-0.1] * len(ids), [0.3] * len(ids)))
    assert "".join(token.text for token in tokens) == "So it is 12."
    assert [token.id for token in tokens] == ids[: len(tokens)]


def test_an_empty_turn_has_no_tokens(model):
    assert model.tokens(Row(None, [model.tokenizer.eos_token_id], [0.0], [0.0])) == ()


def test_a_dtype_that_does_not_exist_is_refused_with_what_is_allowed():
    with pytest.raises(ValueError, match="'int3'; allowed are float32, bfloat16, float16"):
        LanguageModel.load("anything", dtype="int3")


def test_a_model_that_was_saved_loads_the_same(model, tmp_path):
    model.module.save_pretrained(tmp_path / "tiny")
    model.tokenizer.save_pretrained(tmp_path / "tiny")
    loaded = LanguageModel.load(tmp_path / "tiny")
    assert (loaded.name, loaded.hidden, loaded.layers, loaded.dtype_name, loaded.device) == (
        "tiny",
        16,
        2,
        "float32",
        "cpu",
    )
    chat = [{"role": "user", "content": "Hello?"}]
    assert loaded.encode_chat(chat) == model.encode_chat(chat)
    ids = torch.tensor([model.encode("Hello?")])
    assert torch.equal(loaded.module(ids).logits, model.module(ids).logits)
