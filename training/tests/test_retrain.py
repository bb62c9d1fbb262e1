"""From robots' judgements, given through the real pages, to a head that explains the next study."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError

from inference import queue, worker
from inference.models import Explainer, Explanation, HeadVersion
from inference.problem_files import STARTER, read_problems, store
from inference.tests.standin import stand_in_model
from studies import assignment, judging, launch
from studies.models import Arm, Judgement, Study
from studies.robots import Shown, shorter
from training.models import TrainingRun
from training.snapshot import held_out


@pytest.fixture
def study(db: None, monkeypatch: pytest.MonkeyPatch) -> Study:
    """Launched on twelve starter problems, everything made by the stand-in model, nothing judged."""
    model = stand_in_model(settings.SAGE_MODEL)
    monkeypatch.setattr(worker, "language_model", lambda name, revision: model)
    problems = store("starter", "Starter", "", read_problems(STARTER, "sage"))
    study = Study.objects.create(
        slug="small", title="Small", problem_set=problems, problem_limit=12, chain_shown=False
    )
    for method in ("inverse", "self_explain", "chain"):
        explainer = Explainer.objects.create(name=method.replace("_", "-"), method=method, tested_steps=1, rollouts=3)
        Arm.objects.create(study=study, name=explainer.name, explainer=explainer)
    launch.launch(study)
    work_until_done()
    return study


def work_until_done() -> None:
    while queue.waiting().exists():
        worker.work_on_next()
    assert not Explanation.objects.failed().exists()


def judge(study: Study, raters: int, taste: Any = shorter) -> None:
    """Straight through the domain; that robots come through the pages is tested with a live server."""
    for _ in range(raters):
        rater = assignment.enrol(study)
        while (given := assignment.next_for(rater)) is not None:
            pair = (given.comparison.first, given.comparison.second)
            left, right = pair if given.first_on_left else reversed(pair)
            side = taste(Shown(left.text, right.text, given.public_id))
            first = {"a": given.first_on_left, "b": not given.first_on_left}.get(side)
            judging.record(given, "tie" if first is None else "first" if first else "second")


def retrain(*arguments: str) -> str:
    out = StringIO()
    call_command("retrain", "--study", "small", *arguments, stdout=out)
    return out.getvalue()


def test_a_better_head_is_promoted_and_explains_what_is_asked_for_next(study: Study) -> None:
    judge(study, raters=8)
    printed = retrain()
    run = TrainingRun.objects.get()
    assert run.verdict == "promote", run.reason
    assert run.head_version == HeadVersion.objects.current(settings.SAGE_MODEL)
    assert run.metrics["gain"] > 0
    assert run.judgement_ids == list(Judgement.objects.order_by("pk").values_list("pk", flat=True))
    assert "head v1" in printed
    assert "length alone" in printed

    again = launch.copy(study, "again")
    launch.launch(again)
    work_until_done()
    made = Explanation.objects.filter(head_version__number=1)
    assert made.count() == 12
    for explanation in made:
        scores = [candidate["score"] for candidate in explanation.candidates]
        assert explanation.text == explanation.candidates[scores.index(max(scores))]["text"]
        assert explanation.provenance["head"] == "head v1"
        assert explanation.evidence["ranked_by"] == ("head v1" if run.metrics["steps"]["used"] else "signals")


def test_a_head_that_is_not_better_is_held_unless_forced(study: Study) -> None:
    judge(study, raters=8)
    contradict_on_held_out_problems()
    retrain()
    run = TrainingRun.objects.get()
    assert run.verdict == "hold", run.reason
    assert HeadVersion.objects.current(settings.SAGE_MODEL).number == 0
    assert run.head_version is not None

    retrain("--force", "to try the promotion")
    forced = TrainingRun.objects.order_by("pk").last()
    assert forced is not None
    assert forced.verdict == "forced"
    assert "to try the promotion" in forced.reason
    assert HeadVersion.objects.current(settings.SAGE_MODEL) == forced.head_version


def contradict_on_held_out_problems() -> None:
    """Rewrite the answers: the shorter text wins on training problems, the longer on held-out ones."""
    where = "assignment__comparison"
    rows = Judgement.objects.select_related(f"{where}__problem__problem_set", f"{where}__first", f"{where}__second")
    for row in rows:
        comparison = row.assignment.comparison
        problem = comparison.problem
        first_is_shorter = len(comparison.first.text) < len(comparison.second.text)
        testing = held_out(f"{problem.problem_set.slug}/{problem.key}")
        Judgement.objects.filter(pk=row.pk).update(choice="first" if first_is_shorter != testing else "second")


def test_the_same_data_again_promotes_nothing(study: Study) -> None:
    judge(study, raters=8)
    retrain("--force", "to have it in use")
    retrain()
    again = TrainingRun.objects.latest("pk")
    assert (again.verdict, again.metrics["gain"]) == ("hold", 0.0)


def test_too_few_judgements_say_how_many_are_missing(study: Study) -> None:
    judge(study, raters=1)
    with pytest.raises(CommandError, match=r"has 12 judgements, training needs 40: 28 are missing"):
        retrain()
    assert not TrainingRun.objects.exists()


def test_an_unknown_study_names_the_known_ones(db: None) -> None:
    with pytest.raises(CommandError, match=r"no study 'other'. Studies: none yet"):
        call_command("retrain", "--study", "other")


def test_the_same_judgements_give_the_same_head(study: Study) -> None:
    judge(study, raters=8)
    retrain("--force", "first")
    first = TrainingRun.objects.get()
    retrain("--force", "second")
    second = TrainingRun.objects.order_by("pk").last()
    assert second is not None
    assert second.snapshot_sha256 == first.snapshot_sha256
    assert second.head_version.sha256 == first.head_version.sha256


def test_retraining_reads_cached_features_and_never_runs_the_model(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    from inference import core

    judge(study, raters=8)

    def forbidden(*args: Any) -> Any:
        raise AssertionError("a cached feature was computed again")

    monkeypatch.setattr(core, "explanation_features", forbidden)
    retrain()
    assert TrainingRun.objects.exists()


def test_a_changed_head_file_is_refused(study: Study) -> None:
    judge(study, raters=8)
    retrain("--force", "to have a file")
    head = HeadVersion.objects.current(settings.SAGE_MODEL)
    path = Path(settings.VAR_DIR) / "heads" / f"{head.sha256}.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    launch.launch(launch.copy(study, "again"))
    while queue.waiting().exists():
        worker.work_on_next()
    errors = {row.error for row in Explanation.objects.failed()}
    assert len(errors) == 1
    assert "SHA-256 does not match" in errors.pop()
    path.unlink()
