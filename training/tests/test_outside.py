"""Scores from elsewhere meet the same gate as a head, are logged, and are never put into use."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError

from inference.models import Explanation, HeadVersion
from studies.models import Study
from training.core.data import held_out
from training.models import Attempt, TrainingRun
from training.tests.conftest import judge, retrain


@pytest.fixture
def judged(study: Study) -> Study:
    """Eight raters who like the shorter text."""
    judge(study, raters=8)
    return study


def by_text(path: Path, score: Callable[[str], float]) -> Path:
    rows = [{"id": str(one.pk), "score": score(one.text)} for one in Explanation.objects.all()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def judge_scores(path: Path, *arguments: str) -> str:
    out = StringIO()
    call_command("judge_scores", "--scores", str(path), "--study", "small", *arguments, stdout=out)
    return out.getvalue()


def test_scores_that_know_the_preference_would_be_promoted_and_are_not(judged: Study, tmp_path: Path) -> None:
    printed = judge_scores(by_text(tmp_path / "good.jsonl", lambda text: -float(len(text))))
    assert "verdict: promote" in printed
    assert "good.jsonl" in printed
    assert "cannot be put into use" in printed
    assert not TrainingRun.objects.exists()
    assert HeadVersion.objects.current(settings.SAGE_MODEL).number == 0
    attempt = Attempt.objects.get()
    assert (attempt.outcome, attempt.running) == ("dry", None)
    assert "good.jsonl would be: promote" in attempt.message


def test_scores_that_know_nothing_or_the_opposite_are_rejected(judged: Study, tmp_path: Path) -> None:
    for number, score in enumerate((lambda text: 0.0, lambda text: float(len(text.split())))):
        report = json.loads(judge_scores(by_text(tmp_path / f"{number}.jsonl", score), "--json"))
        assert report["verdict"] == "reject", report["reason"]


def test_a_use_of_the_held_out_problems_counts_for_heads_and_scores_alike(judged: Study, tmp_path: Path) -> None:
    scores = by_text(tmp_path / "some.jsonl", lambda text: -float(len(text)))
    assert json.loads(judge_scores(scores, "--json"))["used_before"] == 0
    retrain()
    assert TrainingRun.objects.get().metrics["used_before"] == 1
    assert json.loads(judge_scores(scores, "--json"))["used_before"] == 2


def test_only_explanations_of_held_out_problems_need_a_score(judged: Study, tmp_path: Path) -> None:
    path = by_text(tmp_path / "some.jsonl", lambda text: -float(len(text)))
    testing = {str(pk) for pk in held_out_explanations()}
    rows = [line for line in path.read_text().splitlines(keepends=True) if json.loads(line)["id"] in testing]
    assert 0 < len(rows) < Explanation.objects.count()
    path.write_text("".join(rows))
    whole = by_text(tmp_path / "whole.jsonl", lambda text: -float(len(text)))
    some, all_of_them = (json.loads(judge_scores(one, "--json"))["gain"] for one in (path, whole))
    assert some == all_of_them

    path.write_text("".join(rows[1:]))
    with pytest.raises(CommandError, match=f"no score for 1 of {len(rows)} explanations of held-out problems"):
        judge_scores(path)


def held_out_explanations() -> list[int]:
    rows = Explanation.objects.select_related("trace__problem__problem_set")
    names = {one.pk: f"{one.trace.problem.problem_set.slug}/{one.trace.problem.key}" for one in rows}
    return [pk for pk, name in names.items() if held_out(name)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"id": 1}\n', "line 1"),
        ('{"id": 1, "score": 2}\nnothing\n', "line 2"),
        ('{"id": 1, "score": "high"}\n', "line 1"),
        ('{"id": 1, "score": NaN}\n', "finite"),
        ('{"id": 1, "score": 2}\n{"id": "1", "score": 3}\n', "line 2: id '1' has a score already"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_is_not_scores_is_refused_with_its_line(
    judged: Study, tmp_path: Path, text: str | None, message: str
) -> None:
    path = tmp_path / "bad.jsonl"
    if text is not None:
        path.write_text(text)
    with pytest.raises(CommandError, match=message):
        judge_scores(path)
    assert Attempt.objects.get().outcome == "refused"


def test_an_unknown_study_is_refused(judged: Study, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no study 'nowhere'"):
        judge_scores(tmp_path / "some.jsonl", "--study", "nowhere")
