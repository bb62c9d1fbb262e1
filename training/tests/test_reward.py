"""Whole reward models by the real TRL: on exported files, within the split, and back as scores."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command

from inference.models import Explanation, Problem
from inference.tests.standin import stand_in_model
from studies import assignment, judging
from studies.models import Study
from studies.tests import cast
from training.core import formats, reward
from training.core.data import held_out
from training.core.reward_model import Settings, rows_of, tokenizer_of, trainer_of

pytestmark = pytest.mark.model  # importing TRL alone takes seconds


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of two layers with its tokenizer, as a folder."""
    folder = tmp_path_factory.mktemp("tiny")
    model = stand_in_model()
    model.module.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def study(db: None) -> Study:
    """Twenty problems judged by two raters who prefer the first arm, with some ties."""
    made = cast.make_study(problems=20, rater_limit=20)
    for explanation in made.explanations():
        explanation.text = f"{explanation.text} (of {explanation.trace.problem.key})"
        explanation.save()
    for seed, choices in enumerate((("first",) * 20, ("first", "tie") * 10)):
        rater = assignment.enrol(made, seed=seed)
        for choice in choices:
            given = assignment.next_for(rater)
            assert given is not None
            judging.record(given, choice)
    return made


@pytest.fixture
def exported(study: Study, tmp_path: Path) -> Path:
    return export(tmp_path / "some.jsonl")


def export(path: Path, *arguments: str) -> Path:
    call_command(
        "export_preferences", "--study", "demo", "--format", "trl", "--out", str(path), *arguments, stderr=StringIO()
    )
    return path


def names(testing: bool) -> set[str]:
    all_names = {f"demo-problems/{key}" for key in Problem.objects.values_list("key", flat=True)}
    return {name for name in all_names if held_out(name) == testing}


@pytest.mark.parametrize("arguments", [(), ("--ties", "split"), ("--conversational",)])
def test_trl_trains_on_an_exported_file_as_it_is(
    study: Study, tiny: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    from datasets import load_dataset
    from trl import RewardConfig, RewardTrainer

    path = export(tmp_path / "plain.jsonl", *arguments)
    data = load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(data) == len(path.read_text().splitlines())
    config = RewardConfig(str(tmp_path / "out"), max_steps=2, report_to="none", save_strategy="no", use_cpu=True)
    trainer = RewardTrainer(str(tiny), config, train_dataset=data)
    assert trainer.train().training_loss > 0


def test_an_exported_file_is_read_back_without_loss(study: Study, tmp_path: Path) -> None:
    file = formats.read([f"trl:{export(tmp_path / 'soft.jsonl', '--ties', 'soft')}"])
    assert [pair.choice for pair in file.pairs].count("tie") == 10
    assert len(file.pairs) == 40
    assert {pair.problem for pair in file.pairs} == names(testing=True) | names(testing=False)
    assert len({pair.rater for pair in file.pairs}) == 2
    read = {text.id: (text.question, text.answer, text.explanation) for text in file.texts}
    known = {
        str(one.pk): (one.trace.problem.question, one.trace.answer_text, one.text)
        for one in Explanation.objects.select_related("trace__problem")
    }
    assert read == known


def test_held_out_problems_are_never_trained_on(exported: Path) -> None:
    file = formats.read([f"trl:{exported}"])
    texts = {text.explanation: text for text in file.texts}
    problem = {pair.first_id: pair.problem for pair in file.pairs} | {p.second_id: p.problem for p in file.pairs}
    for testing in (True, False):
        rows = rows_of(file, testing)
        found = {problem[texts[row[side].strip()].id] for row in rows for side in ("chosen", "rejected")}
        assert found == names(testing)


@pytest.mark.parametrize("part", ["full", "lora", "frozen"])
def test_what_is_trained_is_what_was_asked_for(exported: Path, tiny: Path, tmp_path: Path, part: str) -> None:
    file = formats.read([f"trl:{exported}"])
    trainer = trainer_of(
        Settings(str(tiny), part, steps=3, rate=0.01), rows_of(file, testing=False), tmp_path / "out"
    )
    before = {name: value.detach().clone() for name, value in trainer.model.named_parameters()}
    trainer.train()
    moved = {name for name, value in trainer.model.named_parameters() if not value.equal(before[name])}
    assert any("score" in name for name in moved)
    if part == "full":
        assert any("mlp" in name for name in moved)
    if part == "lora":
        assert all("lora" in name or "score" in name for name in moved)
        assert any("lora" in name for name in moved)
    if part == "frozen":
        assert moved == {"score.weight"}


def test_padding_is_not_the_end_of_a_text(model_folder: Path) -> None:
    """The published tokenizer pads with its end token, at which the score would never be read."""
    tokenizer = tokenizer_of(str(model_folder))
    assert tokenizer.pad_token != tokenizer.eos_token


def python(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=settings.BASE_DIR, capture_output=True, text=True, timeout=200, check=False)


def launch(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "-m", "training.core.reward"]
    return python([*command, *arguments])


def test_the_documented_command_learns_the_preference_and_scores_every_text(
    exported: Path, tiny: Path, tmp_path: Path
) -> None:
    out = tmp_path / "reward"
    options = ("--lora", "--epochs", "8", "--batch", "4", "--rate", "0.02")
    done = launch("fit", "--pairs", f"trl:{exported}", "--model", str(tiny), "--out", str(out), *options)
    assert done.returncode == 0, done.stderr[-3000:]
    record = json.loads((out / "reward.json").read_text())
    assert record["held_out_accuracy"] == 1.0
    assert record["rows"] == sum(row["problem"] in names(testing=False) for row in lines(exported))
    found = {row["id"]: row["score"] for row in lines(out / "scores.jsonl")}
    assert set(found) == {str(pk) for pk in Explanation.objects.values_list("pk", flat=True)}
    assert not list(out.glob("*.bin"))

    texts = tmp_path / "texts.jsonl"
    one = Explanation.objects.select_related("trace__problem").first()
    assert one is not None
    row = {
        "id": "x",
        "question": one.trace.problem.question,
        "answer": one.trace.answer_text,
        "explanation": one.text,
    }
    texts.write_text(json.dumps(row) + "\n")
    command = [sys.executable, "-m", "training.core.reward", "score", "--model", str(out), "--texts", str(texts)]
    alone = python(command)
    assert json.loads(alone.stdout) == {"id": "x", "score": pytest.approx(found[str(one.pk)], abs=1e-4)}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_two_processes_share_the_pairs_and_one_of_them_writes(exported: Path, tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "reward"
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "training.core.reward"]
    done = python([*command, "fit", "--pairs", f"trl:{exported}", "--model", str(tiny), "--out", str(out)])
    assert done.returncode == 0, done.stderr[-3000:]
    record = json.loads((out / "reward.json").read_text())
    assert record["steps"] == math.ceil(record["rows"] / (2 * record["settings"]["batch"]))
    assert len(lines(out / "scores.jsonl")) == Explanation.objects.count()
    assert not list(tmp_path.glob(".*"))


def test_the_opposite_preference_gives_the_opposite_order(exported: Path, tiny: Path, tmp_path: Path) -> None:
    """So the accuracy above comes from the pairs, and not from how the random model happens to see the texts."""
    swapped = tmp_path / "swapped.jsonl"
    swaps = {"chosen": "rejected", "rejected": "chosen", "chosen_id": "rejected_id", "rejected_id": "chosen_id"}
    rows = [{key: row[swaps.get(key, key)] for key in row} for row in lines(exported)]
    swapped.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "reward"
    options = ["--lora", "--epochs", "16", "--batch", "4", "--rate", "0.02"]
    reward.main(["fit", "--pairs", f"trl:{swapped}", "--model", str(tiny), "--out", str(out), *options])
    assert json.loads((out / "reward.json").read_text())["held_out_accuracy"] == 1.0


def test_an_interrupted_training_leaves_nothing(
    exported: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(reward, "scored", interrupted)
    out = tmp_path / "runs" / "reward"
    arguments = ["fit", "--pairs", f"trl:{exported}", "--model", str(tiny), "--out", str(out), "--steps", "1"]
    with pytest.raises(KeyboardInterrupt):
        reward.main(arguments)
    assert not list(out.parent.iterdir())


def test_a_folder_that_is_there_is_not_written_into(exported: Path, tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="name a new folder"):
        reward.main(["fit", "--pairs", f"trl:{exported}", "--model", str(tiny), "--out", str(tmp_path)])


def test_pairs_that_are_all_too_long_are_refused(exported: Path, tiny: Path, tmp_path: Path) -> None:
    arguments = ["fit", "--pairs", f"trl:{exported}", "--model", str(tiny), "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit, match="longer than 8 tokens; raise --longest"):
        reward.main([*arguments, "--longest", "8"])
