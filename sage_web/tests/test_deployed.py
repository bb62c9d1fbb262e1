"""The deployed stack for real: a web process and a worker process on PostgreSQL and Redis, with the real model."""

import json
import signal
from datetime import timedelta
from urllib.parse import urlsplit

import httpx
import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone
from websockets.sync.client import connect

from inference import queue
from inference.models import Explainer, Explanation, Problem, ProblemSet, Trace
from sage_web.testing.processes import Manage, wait_until
from studies.launch import launch
from studies.models import Arm, Study

pytestmark = [pytest.mark.real, pytest.mark.model, pytest.mark.timeout(900)]

PATIENCE = 240  # seconds; on an idle machine it takes a tenth of that


@pytest.fixture
def deployed(transactional_db, tmp_path, model_folder):
    """The environment of processes that share the test's own database and broker."""
    (tmp_path / "models").symlink_to(model_folder.parent)
    url = urlsplit(settings.DATABASE_URL)._replace(path="/" + connection.settings_dict["NAME"])
    return {"DATABASE_URL": url.geturl(), "VAR_DIR": str(tmp_path), "HOST": "127.0.0.1", "PORT": "0"}


@pytest.fixture
def study(transactional_db):
    problem_set = ProblemSet.objects.create(slug="one", name="One problem")
    Problem.objects.create(
        problem_set=problem_set,
        key="apples",
        position=0,
        kind=Problem.Kind.MATHS,
        question="A basket holds 3 apples and 4 pears. How many pieces of fruit are in it?",
        options=["5", "7", "9"],
        gold=1,
    )
    study = Study.objects.create(slug="deployed", title="Deployed", chain_shown=False, problem_set=problem_set)
    for method in ("inverse", "chain"):
        explainer = Explainer.objects.create(name=method, method=method)
        Arm.objects.create(study=study, name=method, explainer=explainer)
    return study


def consented(web, study):
    """A rater's browser on the preparing page."""
    browser = httpx.Client(base_url=web, follow_redirects=True)
    link = f"/r/{study.token}/"
    browser.get(link)
    for there in ("instructions", "compare"):  # agrees, then starts
        page = browser.post(link, data={"csrfmiddlewaretoken": browser.cookies["csrftoken"]})
        link = page.url.path
        assert link == f"/r/{study.token}/{there}/"
    return browser


def wait_until_ready(web, browser, study):
    """Listen as the preparing page does until a comparison is there; return the stages that it showed."""
    cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    address = f"{web.replace('http', 'ws')}/ws/r/{study.token}/"
    stages = []
    with connect(address, origin=web, additional_headers={"Cookie": cookies}) as socket:
        while True:
            told = json.loads(socket.recv(timeout=PATIENCE))
            stages.append(told["stage"])
            if told["ready"]:
                return stages


def test_a_worker_makes_what_a_rater_then_compares(deployed, study):
    with Manage("serve", **deployed) as server, Manage("worker", **deployed) as worker:
        web = server.wait_for(r"Ready: (http://\S+)")[1]
        worker.wait_for("Worker started")
        launch(study)

        browser = consented(web, study)
        stages = wait_until_ready(web, browser, study)
        page = browser.get(f"/r/{study.token}/compare/").text

        assert len(set(stages)) > 2, "live progress came over Redis from one process to the other"
        inverse = Explanation.objects.get(explainer__method="inverse")
        assert inverse.text.split(".")[0] in page
        assert inverse.provenance["model"] == settings.SAGE_MODEL
        assert httpx.get(f"{web}/healthz").json()["waiting"] == 0

        assert worker.stop() < 20
        assert server.stop() < 10
    assert worker.process.returncode == server.process.returncode == 0


def test_what_a_killed_worker_was_making_is_made_again_once(deployed, study):
    launch(study)
    with Manage("worker", **deployed) as first:
        wait_until(Trace.objects.filter(made_at__isnull=False).exists, seconds=PATIENCE)
        first.stop(signal.SIGKILL)
    held = Trace.objects.get()
    assert held.worker
    assert Explanation.objects.pending().count() == 2
    assert not queue.sweep(), "until its lease runs out nobody takes the trace over"

    Trace.objects.update(lease_until=timezone.now() - timedelta(seconds=1))  # a minute later
    with Manage("worker", **deployed):
        wait_until(lambda: not Explanation.objects.pending().exists(), seconds=PATIENCE)
        wait_until(lambda: not Trace.objects.exclude(worker="").exists())

    made = Trace.objects.get()
    assert Explanation.objects.ready().count() == Explanation.objects.count() == 2
    assert (made.chain, made.made_at) == (held.chain, held.made_at), "what was finished is not made again"
    assert not queue.sweep()
