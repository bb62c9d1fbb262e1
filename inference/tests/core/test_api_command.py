"""`python -m inference.core --method api`, with a small server of the test, and once with a real one."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from inference.core import LanguageModel
from inference.core import __main__ as command
from inference.core.out_file import FIELDS
from inference.tests.chat_server import CHAIN, WHY, Reply, chat_server, completion

KEY = "sk-very-secret-1234567890"
ROWS = [
    {"key": key, "kind": "maths", "question": f"What is {key[1]} + 4?", "options": ["7", "6"], "gold": 0}
    for key in ("p3", "p2")
]


@pytest.fixture
def server(monkeypatch):
    with chat_server() as server:
        monkeypatch.setenv("SAGE_API_KEY", KEY)
        monkeypatch.setenv("SAGE_API_RETRIES", "0")
        yield server


def run(problems, *more, method="api"):
    return command.main(["--problems", str(problems), "--method", method, "--model", "small", *map(str, more)])


def lines(out):
    return [json.loads(line) for line in out.read_text().splitlines()]


@pytest.mark.parametrize(("more", "text"), [((), WHY), (("--says", "chain"), CHAIN.format("7"))])
def test_a_line_has_the_run_and_its_transcript_and_loads_no_model(server, problems, out, monkeypatch, more, text):
    monkeypatch.setattr(LanguageModel, "load", lambda *args, **options: pytest.fail("a local model was loaded"))
    assert run(problems, "--api-url", server.url, "--out", out, *more) == 0
    first, second = lines(out)
    assert tuple(first) == FIELDS
    assert first["settings"] == {
        "method": "api", "model": "small", "seed": 0, "max_new_tokens": 160, "api_url": server.url,
        "says": more[1] if more else "explanation", "api_sends": ["max_tokens", "seed", "temperature", "top_p"],
    }  # fmt: skip
    assert (first["text"], first["evidence"], first["error"]) == (text, None, None)
    assert (first["trace"]["chain"], first["trace"]["answer"]) == (CHAIN.format("7"), "7")
    assert [told["text"] for told in first["provenance"]["transcript"]] == [CHAIN.format("7"), WHY]
    assert len(second["provenance"]["transcript"]) == 2, "each line has its own run only"
    assert KEY not in out.read_text()


def test_a_reply_that_cannot_be_used_is_a_line_with_its_transcript_and_may_be_tried_again(server, problems, out):
    server.scripted = [Reply(completion("Step 1: So", "length"))]
    run(problems, "--api-url", server.url, "--out", out, "--limit", 1)
    [line] = lines(out)
    assert (line["trace"], line["text"]) == (None, None)
    assert "cut off after 160 tokens" in line["error"]
    assert [told["finish_reason"] for told in line["provenance"]["transcript"]] == ["length"]
    run(problems, "--api-url", server.url, "--out", out, "--limit", 1, "--again")
    [line] = lines(out)
    assert (line["text"], line["provenance"]["seed"]) == (WHY, 1)
    assert [told["finish_reason"] for told in line["provenance"]["transcript"]] == ["length", "stop", "stop"]


def test_a_server_that_fails_ends_the_run_and_the_same_command_goes_on(server, problems, out, capsys):
    server.scripted = [Reply(completion("Answer: 7")), Reply(completion(WHY)), Reply({"error": KEY}, 500)]
    assert run(problems, "--api-url", server.url, "--out", out) == 1
    said = capsys.readouterr().err
    assert "it answered 500" in said
    assert KEY not in said
    before = out.read_bytes()
    assert [line["key"] for line in lines(out)] == ["p3"]
    assert run(problems, "--api-url", server.url, "--out", out) == 0
    assert out.read_bytes().startswith(before)
    assert [line["key"] for line in lines(out)] == ["p3", "p2"]


def test_a_file_of_another_server_is_not_gone_on_with(server, problems, out, capsys):
    run(problems, "--api-url", server.url, "--out", out, "--limit", 1)
    assert run(problems, "--api-url", "http://127.0.0.1:9/v1", "--out", out) == 1
    assert f"other settings: api_url {server.url}, now http://127.0.0.1:9/v1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("method", "more", "words"),
    [
        ("api", (), "SAGE_API_URL is not set"),
        ("api", ("--api-url", "http://me:word@host/v1"), "put the key into SAGE_API_KEY"),
        ("chain", ("--api-url", "http://host/v1"), "only for method api, not chain"),
        ("chain", ("--says", "chain"), "only for method api, not chain"),
        ("api", ("--api-url", "http://host/v1", "--says", "both"), "invalid choice: 'both'"),
    ],
)
def test_options_that_cannot_be_taken_are_said(problems, out, monkeypatch, capsys, method, more, words):
    monkeypatch.delenv("SAGE_API_URL", raising=False)
    with pytest.raises(SystemExit) as ended:
        run(problems, "--out", out, *more, method=method)
    assert ended.value.code == 2
    assert words in capsys.readouterr().err
    assert not out.exists()


# -- a real server -------------------------------------------------------------------------------------------------


@contextmanager
def transformers_serve(folder, log):
    """`transformers serve` with the model of `folder` on a free port of this machine; its base address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = ("--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", "float32")
    arguments = (sys.executable, "-m", "transformers.cli.transformers", "serve", str(folder), *place)
    with log.open("w") as told:
        serving = subprocess.Popen(
            arguments, stdout=told, stderr=told, env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        )
        try:
            wait_for(f"http://127.0.0.1:{port}/health", serving, log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            serving.terminate()
            serving.wait(timeout=60)


def wait_for(url, serving, log, seconds=240):
    end = time.monotonic() + seconds
    while time.monotonic() < end and serving.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"the server did not start: {log.read_text()}")


@pytest.mark.model
@pytest.mark.timeout(900)
def test_a_real_server_gives_chain_and_explanation(model_folder: Path, tmp_path, out, monkeypatch):
    problems = tmp_path / "problems.jsonl"
    question = "Every bird in the small park is grey. Kiki is a bird in the small park. What colour is Kiki?"
    row = {"key": "kiki", "kind": "logic", "question": question, "options": ["White", "Grey", "Brown"], "gold": 1}
    problems.write_text(json.dumps(row) + "\n")
    monkeypatch.setenv("SAGE_API_TIMEOUT", "300")
    monkeypatch.delenv("SAGE_API_KEY", raising=False)
    with transformers_serve(model_folder, tmp_path / "log") as url:
        arguments = ["--problems", problems, "--method", "api", "--api-url", url, "--model", model_folder]
        assert command.main([str(one) for one in [*arguments, "--out", out]]) == 0
    [line] = lines(out)
    assert line["error"] is None
    assert line["trace"]["chain"].startswith("Step 1:")
    assert line["trace"]["answer"] in row["options"]
    assert len(line["text"].split()) > 2
    chain, why = line["provenance"]["transcript"]
    assert (chain["text"], why["text"].strip()) == (line["trace"]["chain"], line["text"])
    assert why["messages"][: len(chain["messages"])] == chain["messages"]
    assert [told["finish_reason"] for told in (chain, why)] == ["stop", "stop"]
    assert all(told["usage"]["completion_tokens"] > 0 for told in (chain, why))
    assert str(model_folder) in chain["model"]
