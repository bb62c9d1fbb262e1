"""A worker process that runs on while the head in use changes: the next explanations come from the new one."""

from urllib.parse import urlsplit

import pytest
import torch
from django.conf import settings
from django.db import connection

from inference import core, heads
from inference.models import Explainer, Explanation, Problem, ProblemSet
from sage_web.testing.processes import Manage, wait_until
from studies import launch
from studies.models import Arm, Study

pytestmark = [pytest.mark.real, pytest.mark.model, pytest.mark.timeout(900)]


@pytest.fixture
def deployed(transactional_db, tmp_path, model_folder, monkeypatch):
    """The environment of a worker process that shares the test's own database, broker and folder of heads."""
    (tmp_path / "models").symlink_to(model_folder.parent)
    monkeypatch.setattr(heads, "folder", lambda: tmp_path / "heads")
    url = urlsplit(settings.DATABASE_URL)._replace(path="/" + connection.settings_dict["NAME"])
    return {"DATABASE_URL": url.geturl(), "VAR_DIR": str(tmp_path)}


@pytest.fixture
def study(transactional_db):
    problem_set = ProblemSet.objects.create(slug="one", name="One problem")
    question = "A basket holds 3 apples and 4 pears. How many pieces of fruit are in it?"
    about = {"kind": Problem.Kind.MATHS, "question": question, "options": ["5", "7", "9"], "gold": 1}
    Problem.objects.create(problem_set=problem_set, key="apples", position=0, **about)
    study = Study.objects.create(slug="deployed", title="Deployed", chain_shown=False, problem_set=problem_set)
    for method in ("inverse", "chain"):
        explainer = Explainer.objects.create(name=method, method=method, tested_steps=1, rollouts=2)
        Arm.objects.create(study=study, name=method, explainer=explainer)
    return study


def test_a_running_worker_switches_to_a_promoted_head_and_back(deployed, study, model_folder):
    model = core.LanguageModel.load(model_folder, name=settings.SAGE_MODEL)
    head = core.Head(core.head_config(model), 1)
    with torch.no_grad():
        head.preference.weight.fill_(0.01)
    row = heads.register(head.save(heads.folder()), {"model": settings.SAGE_MODEL, "revision": ""})

    with Manage("worker", **deployed) as worker:
        worker.wait_for("Worker started")
        explained_by(study, "head v0 (untrained)")
        heads.promote(row, "to see the worker switch", "test")
        explained_by(launch.copy(study, "second"), "head v1")
        scored = Explanation.objects.get(head_version=row)
        assert all(isinstance(candidate["score"], float) for candidate in scored.candidates)
        heads.roll_back(settings.SAGE_MODEL, "", "and back", "test")
        third = launch.copy(study, "third")
        launch.launch(third)
        assert third.explanations().get(explainer__method="inverse").head_version.number == 0


def explained_by(study, head):
    launch.launch(study)
    inverse = study.explanations().get(explainer__method="inverse")
    wait_until(lambda: not Explanation.objects.pending().exists(), seconds=240)
    inverse.refresh_from_db()
    assert inverse.error == ""
    assert inverse.provenance["head"] == head
