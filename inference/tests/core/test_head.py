"""Heads on disk: whole, verified, or refused with what differs."""

import errno
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from inference.core.head import Head, HeadConfig, HeadMismatchError
from inference.core.head_files import HeadSaveError, save_as

CONFIG = HeadConfig("some/model", "abc", 3, 1, (1, 2), depth=2, heads=4)


@pytest.fixture
def trained():
    head = Head(CONFIG, number=4)
    with torch.no_grad():
        for tensor in (head.preference.weight, head.preference.kinds, head.steps.effect, head.mixing.weights):
            tensor.copy_(torch.randn(tensor.shape, generator=torch.Generator().manual_seed(1)))
    return head.eval()


def test_what_is_loaded_gives_identical_scores(trained, tmp_path):
    digest = trained.save(tmp_path, "# A head")
    loaded = Head.load(tmp_path, digest, 4, CONFIG)
    texts = torch.randn(5, CONFIG.explanation_size)
    assert torch.equal(loaded.score(texts), trained.score(texts))
    assert torch.equal(loaded.spread(texts, texts.flip(0)), trained.spread(texts, texts.flip(0)))
    steps = torch.randn(5, CONFIG.step_size)
    assert loaded.steps.estimates(steps) == trained.steps.estimates(steps)
    assert torch.equal(loaded.mixing.weights, trained.mixing.weights)
    assert (tmp_path / digest / "README.md").read_text() == "# A head"
    hashed = b"".join((tmp_path / digest / name).read_bytes() for name in ("model.safetensors", "config.json"))
    assert hashlib.sha256(hashed).hexdigest() == digest


def test_the_card_is_not_hashed_and_a_saved_head_stays_as_it_is(trained, tmp_path):
    digest = trained.save(tmp_path, "one")
    assert trained.save(tmp_path, "two") == digest
    assert (tmp_path / digest / "README.md").read_text() == "one"
    assert [path.name for path in tmp_path.iterdir()] == [digest]


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_changed_file_is_refused(trained, tmp_path, name):
    digest = trained.save(tmp_path)
    path = tmp_path / digest / name
    path.write_bytes(path.read_bytes().replace(b"1", b"2", 1))
    with pytest.raises(HeadMismatchError, match="SHA-256 does not match"):
        Head.load(tmp_path, digest, 4, CONFIG)
    path.unlink()
    with pytest.raises(HeadMismatchError, match="no complete head"):
        Head.load(tmp_path, digest, 4, CONFIG)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_head_whose_weights_are_no_numbers_is_refused(trained, tmp_path, value):
    with torch.no_grad():
        trained.preference.weight[0] = value
    digest = trained.save(tmp_path)
    for read in (lambda: Head.load(tmp_path, digest, 4, CONFIG), lambda: Head.read(tmp_path / digest)):
        with pytest.raises(
            HeadMismatchError, match=r"preference\.weight has weights that are not finite; fit it again"
        ):
            read()


def test_a_head_that_is_not_there_is_named(tmp_path):
    with pytest.raises(HeadMismatchError, match="head v4 has no folder"):
        Head.load(tmp_path, "0" * 64, 4, CONFIG)


def test_another_model_revision_layer_or_feature_spec_is_refused_by_name(trained, tmp_path):
    digest = trained.save(tmp_path)
    others = {"model": "x", "revision": "y", "hidden": 4, "layer": 2, "layers": (2, 3), "feature_spec": "old/1"}
    for field, other in (others | {"depth": 3, "heads": 5, "weights": "0a1b"}).items():
        with pytest.raises(HeadMismatchError, match=f"it has {field} ") as refused:
            Head.load(tmp_path, digest, 4, replace(CONFIG, **{field: other}))
        assert repr(other) in str(refused.value)


def test_a_full_disk_leaves_nothing_behind(trained, tmp_path, monkeypatch):
    def full(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(HeadSaveError, match="No space left on device"):
        trained.save(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_leaves_nothing_behind(trained, tmp_path, monkeypatch):
    def stopped(self, text):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", stopped)
    with pytest.raises(KeyboardInterrupt):
        trained.save(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_head_replaces_a_head_but_nothing_else(trained, tmp_path):
    first = save_as(trained, tmp_path / "mine", "one")
    assert save_as(trained, tmp_path / "mine", "two") == first
    assert (tmp_path / "mine" / "README.md").read_text() == "two"
    assert Head.read(tmp_path / "mine").config == CONFIG
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("dear")
    with pytest.raises(HeadSaveError, match=r"holds thesis\.tex"):
        save_as(trained, tmp_path / "other")


def test_a_head_of_an_older_version_is_refused(trained, tmp_path):
    save_as(trained, tmp_path / "head")
    config = json.loads((tmp_path / "head" / "config.json").read_text())
    del config["layers"]
    (tmp_path / "head" / "config.json").write_text(json.dumps(config))
    with pytest.raises(HeadMismatchError, match="has the fields"):
        Head.read(tmp_path / "head")


def test_a_head_of_the_earlier_feature_spec_has_to_be_retrained(trained, tmp_path):
    save_as(trained, tmp_path / "head")
    config = json.loads((tmp_path / "head" / "config.json").read_text()) | {"feature_spec": "packed/3"}
    del config["weights"]
    (tmp_path / "head" / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        HeadMismatchError, match="feature_spec 'packed/3', but this version has 'packed/4'; retrain it"
    ):
        Head.read(tmp_path / "head")


def test_surface_numbers_count_by_the_kind_of_text():
    """The same length is liked in texts of one kind and disliked in those of another."""
    head = Head(CONFIG, number=1)
    with torch.no_grad():
        head.preference.kinds[0, 0] = 1.0
        head.preference.weight[head.preference.size] = 1.0  # kind 0 times log_tokens
    texts = torch.zeros(4, CONFIG.explanation_size)
    texts[:, 0] = torch.tensor([1.0, 1.0, -1.0, -1.0])
    texts[:, -3] = torch.tensor([1.0, 2.0, 1.0, 2.0])
    assert head.score(texts).tolist() == [1.0, 2.0, -1.0, -2.0]
