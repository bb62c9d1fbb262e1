"""`python -m training.core fit` and `score`, from files to numbers, on a small random model."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from inference.core.head import Head, HeadConfig
from inference.tests.standin import stand_in_model
from training.core import __main__ as commands

ROOT = Path(__file__).resolve().parents[2]
WORDS = ("because", "rain", "falls", "on", "streets", "and", "makes", "them", "wet")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in model with its tokenizer, as a folder."""
    folder = tmp_path_factory.mktemp("base")
    model = stand_in_model()
    model.module.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Forty questions with three explanations each; the longer one is preferred."""
    draw, rows = random.Random(0), []
    for question in range(40):
        texts = [" ".join(draw.choices(WORDS, k=count)) for count in (2, 5, 9)]
        ordered = ((texts[2], texts[1]), (texts[1], texts[0]), (texts[2], texts[0]))
        about = {"prompt": f"Question {question}?\nAnswer: yes\nExplanation:"}
        rows += [{**about, "chosen": good, "rejected": bad} for good, bad in ordered]
    return lines(tmp_path / "pairs.jsonl", rows)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAR_DIR", str(tmp_path / "var"))


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def texts_file(path: Path) -> Path:
    rows = [
        {"id": f"t{count}", "question": "Question 99?", "answer": "yes", "explanation": " ".join(WORDS[:count])}
        for count in (1, 4, 8)
    ]
    return lines(path, rows)


def fit(pairs: Path, out: Path, *more: str) -> int:
    return commands.main(["fit", "--pairs", f"trl:{pairs}", "--out", str(out), "--dtype", "float32", *more])


def scored(capsys: pytest.CaptureFixture[str], head: Path, texts: Path) -> dict[str, float]:
    capsys.readouterr()
    assert commands.main(["score", "--head", str(head), "--texts", str(texts), "--dtype", "float32"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert all(set(row) == {"id", "score"} for row in rows)
    return {row["id"]: row["score"] for row in rows}


def test_files_become_a_head_that_scores(
    pairs: Path, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(pairs, tmp_path / "head", "--model", str(base)) == 0
    found = scored(capsys, tmp_path / "head", texts_file(tmp_path / "texts.jsonl"))
    assert list(found) == ["t1", "t4", "t8"]
    assert found["t1"] < found["t4"] < found["t8"]
    card = (tmp_path / "head" / "README.md").read_text()
    assert "pairs.jsonl (trl)" in card
    assert "120 judgements" in card


def test_a_second_run_reads_nothing_anew_and_gives_the_same_head(
    pairs: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from inference.core import feature_cache

    assert fit(pairs, tmp_path / "one", "--model", str(base)) == 0

    def forbidden(*args: Any) -> Any:
        raise AssertionError("a cached feature was computed again")

    monkeypatch.setattr(feature_cache, "text_features", forbidden)
    assert fit(pairs, tmp_path / "two", "--model", str(base)) == 0
    one, other = (
        [(tmp_path / name / file).read_bytes() for file in ("model.safetensors", "config.json")]
        for name in ("one", "two")
    )
    assert one == other


@pytest.mark.parametrize(
    ("rows", "said"),
    [(3, "at least 30 on 10: 27 decided judgements and 9 problems are missing"), (0, "30 decided judgements and 10")],
)
def test_too_little_is_refused_before_the_model_is_loaded(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: int, said: str
) -> None:
    pairs.write_text("".join(line + "\n" for line in pairs.read_text().splitlines()[:rows]))
    assert fit(pairs, tmp_path / "head", "--model", "/no/such/model") == 1
    captured = capsys.readouterr()
    assert said in " ".join(captured.err.split())
    assert captured.out == ""
    assert not (tmp_path / "head").exists()


def test_another_base_model_is_refused(
    pairs: Path, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The head names its model by folder; the folder now holds one of another width."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from inference.core import LanguageModel

    assert fit(pairs, tmp_path / "head", "--model", str(base)) == 0
    head = Head.read(tmp_path / "head")
    other = LlamaForCausalLM(LlamaConfig(vocab_size=32, hidden_size=8, num_hidden_layers=2, num_attention_heads=2))
    model = LanguageModel(other, stand_in_model().tokenizer, str(base))
    with pytest.raises(commands.HeadMismatchError, match=r"it has hidden 16, not 8"):
        commands.check_fits(head, model)


def test_a_head_with_a_wrong_hash_or_without_files_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = texts_file(tmp_path / "texts.jsonl")
    assert commands.main(["score", "--head", str(tmp_path / "none"), "--texts", str(texts)]) == 1
    digest = Head(HeadConfig("m", "", 3, 1, (1,))).save(tmp_path)
    weights = tmp_path / digest / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert commands.main(["score", "--head", str(tmp_path / digest), "--texts", str(texts)]) == 1
    captured = capsys.readouterr()
    assert "no complete head" in captured.err
    assert "SHA-256 does not match" in captured.err
    assert captured.out == ""


def test_an_interruption_leaves_no_head(
    pairs: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*args: Any, **options: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "fit_head", stopped)
    assert fit(pairs, tmp_path / "head", "--model", str(base)) == 130
    assert not (tmp_path / "head").exists()


def test_neither_needs_django(pairs: Path) -> None:
    """A fresh process without settings, in which importing Django fails."""
    code = (
        "import sys; sys.modules['django'] = None; "
        "from training.core.__main__ import main; "
        "import training.core.gate, training.core.readers; "
        "sys.exit(main(['fit', '--pairs', sys.argv[1], '--out', sys.argv[2]]))"
    )
    env = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    pairs.write_text("")
    ran = subprocess.run(
        [sys.executable, "-c", code, f"trl:{pairs}", str(pairs.parent / "head")],
        cwd=ROOT, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 1
    assert "0 decided judgements" in ran.stderr


def test_threads_are_given_back(pairs: Path, base: Path, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    assert fit(pairs, tmp_path / "head", "--model", str(base)) == 0
    assert torch.get_num_threads() == before
