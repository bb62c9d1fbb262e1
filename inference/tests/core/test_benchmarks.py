"""The benchmarks of inverse reasoning on tiny models: every row is measured, and what is compared is the same."""

import argparse
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import inference
from inference.core import answer_trajectory
from inference.core.spans import answer_span, token_ids

BENCHMARKS = Path(inference.__file__).parent.parent / "benchmarks"


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)


def options(**changed):
    given = {"lengths": [192], "steps": 5, "new": 3, "runs": 2, "memory": False, "peers_python": None}
    return argparse.Namespace(**given | changed)


@pytest.mark.parametrize("part", ["invert", "prepacked", "probes", "whole", "peers"])
def test_every_row_of_a_part_is_measured(sharp, part):
    import inverse

    rows = list(inverse.PARTS[part](sharp, options()))
    assert len(rows) >= 2
    assert all(math.isfinite(row.found) and row.found > 0 for row in rows if "difference" not in row.what)
    assert any(row.goal for row in rows) or part == "prepacked"


def test_the_built_trace_states_its_answer_in_the_last_of_its_steps(model):
    from inverse_parts.chain import built_trace

    trace = built_trace(model, 18)
    assert [len(trace.steps), trace.steps[-1].text, trace.answer.text] == [18, "Answer: 42 jars", "42 jars"]
    assert "40 jars and 2 more make 42 jars" in trace.steps[-2].text
    span = answer_span(trace)
    assert model.decode(token_ids(trace)[span.start : span.end]).strip() == "42 jars"


def test_naive_trajectory_is_what_the_packed_one_gives(sharp):
    from inverse_parts import naive
    from inverse_parts.chain import built_trace

    trace = built_trace(sharp, 5)
    scores = naive.trajectory(sharp, trace)
    torch.testing.assert_close(answer_trajectory(sharp, trace).scores, scores, atol=1e-3, rtol=0)
    assert scores.std(0).max() > 0.01


def test_leaving_out_a_step_that_the_answer_cannot_see_changes_nothing_but_positions(sharp):
    """Against text cut by hand: the answer's log-probability with all steps, less that without one."""
    from inverse_parts import naive
    from inverse_parts.chain import built_trace

    trace = built_trace(sharp, 4)
    ids, answer, step = token_ids(trace), answer_span(trace), trace.steps[1]
    start, end = (len(trace.prompt_ids) + at for at in (step.token_start, trace.steps[2].token_start))

    def logprob(before):
        value = ids[answer.start : answer.end]
        with torch.no_grad():
            logits = sharp.module(torch.tensor([[*before, *value]])).logits[0].log_softmax(-1)
        return sum(float(logits[len(before) - 1 + at, token]) for at, token in enumerate(value))

    expected = logprob(ids[: answer.start]) - logprob((*ids[:start], *ids[end : answer.start]))
    found = naive.leave_one_out(sharp, trace)
    assert len(found) == 3
    assert float(found[1]) == pytest.approx(expected, abs=1e-3)


def test_rows_say_whether_their_goal_is_met(capsys):
    from inverse_parts.table import Row, printed

    rows = [Row("a", 1.2, "x", most=1.15), Row("b", 4.0, "x", least=4.0), Row("c", 9.0, "x")]
    assert [row.met for row in rows] == [False, True, True]
    printed(rows)
    missed, met, free = capsys.readouterr().out.splitlines()
    assert "MISSED" in missed
    assert "at least 4" in met
    assert " met" in met
    assert "met" not in free.lower().replace("missed", "")


def test_the_gpu_script_measures_a_tiny_model_on_the_cpu(tmp_path):
    target = tmp_path / "found.json"
    command = [sys.executable, BENCHMARKS / "gpu.py", "--small", "--tokens", "128", "--new", "3", "--runs", "1"]
    done = subprocess.run([*command, "--json", target], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(target.read_text())
    figures = [value for value in found.values() if isinstance(value, int | float)]
    assert len(figures) == 10
    assert min(figures) > 0
    assert min(found["peak_mebibytes"].values()) > 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what to do where there is no GPU, and here is one")
def test_the_gpu_script_says_so_where_there_is_no_gpu():
    done = subprocess.run([sys.executable, BENCHMARKS / "gpu.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "No GPU" in done.stderr
    assert "--small" in done.stderr
