"""A small study with everything made by the stand-in model, and judges who go straight through the domain."""

from __future__ import annotations

import shutil
from io import StringIO
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import pytest
from django.conf import settings
from django.core import serializers
from django.core.management import call_command

from inference import heads, queue, worker
from inference.core.problem_files import read_problems
from inference.models import Explainer, Explanation, HeadVersion, Problem, ProblemSet, Trace
from inference.problem_files import STARTER, store
from inference.tests.standin import stand_in_model
from studies import assignment, judging, launch
from studies.models import Arm, Comparison, Study
from studies.tastes import Shown, shorter
from training.core import step_gate

ROWS = (ProblemSet, Problem, Explainer, Trace, Explanation, Study, Arm, Comparison)


@pytest.fixture(autouse=True)
def no_heads() -> None:
    """Heads are named by their content: the same judgements in two tests would share one folder."""
    shutil.rmtree(heads.folder(), ignore_errors=True)


@pytest.fixture
def study(db: None, monkeypatch: pytest.MonkeyPatch) -> Study:
    """Launched on twelve starter problems, everything made by the stand-in model, nothing judged.

    Its retrainings check steps with few draws: what many draws are for has tests of its own, without a study.
    """
    monkeypatch.setattr(step_gate, "RESAMPLES", 50)
    return small_study(monkeypatch)


made: list[str] = []  # the rows of the small study, once a test of this process has had them made


def small_study(monkeypatch: pytest.MonkeyPatch) -> Study:
    model = stand_in_model(settings.SAGE_MODEL)
    monkeypatch.setattr(worker, "language_model", lambda name, revision: model)
    if made:
        for row in serializers.deserialize("json", made[0]):
            if isinstance(row.object, Explanation) and row.object.head_version_id:
                row.object.head_version = HeadVersion.objects.get(number=0)
            row.save()
    else:
        make_small_study()
        made.append(serializers.serialize("json", [row for kind in ROWS for row in kind.objects.order_by("pk")]))
    return Study.objects.get(slug="small")


def make_small_study() -> None:
    problems = store("starter", "Starter", "", read_problems(STARTER, "sage"))
    study = Study.objects.create(
        slug="small", title="Small", problem_set=problems, problem_limit=12, chain_shown=False
    )
    for method in ("inverse", "self_explain", "chain"):
        explainer = Explainer.objects.create(name=method.replace("_", "-"), method=method, tested_steps=1, rollouts=3)
        Arm.objects.create(study=study, name=explainer.name, explainer=explainer)
    launch.launch(study)
    work_until_done()


def work_until_done() -> None:
    while queue.waiting().exists():
        worker.work_on_next()
    assert not Explanation.objects.failed().exists()


def judge(study: Study, raters: int, taste: Any = shorter) -> None:
    """Straight through the domain; that robots come through the pages is tested with a live server."""
    for _ in range(raters):
        number = study.raters.count()
        rater = assignment.enrol(study, seed=number, public_id=uuid5(NAMESPACE_URL, f"{study.slug}/{number}"))
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
