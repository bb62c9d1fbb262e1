"""What a worker and `manage.py explain` make of explainers of method api, with a small server of the test."""

import json

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction

from inference import queue, worker
from inference.models import Explainer, Explanation, Problem, ProblemSet, Trace
from inference.tests.chat_server import CHAIN, WHY, Reply, chat_server, completion

pytestmark = pytest.mark.django_db
ASKED = {"question": "What colour is grass?", "options": ["green", "red"], "gold": 0}
ROWS = [{"key": key, "kind": "commonsense", **ASKED} for key in ("a", "b")]
KEY = "sk-very-secret-1234567890"


@pytest.fixture
def server(settings):
    with chat_server() as server:
        settings.SAGE_API_URL, settings.SAGE_API_KEY, settings.SAGE_API_RETRIES = server.url, KEY, 0
        yield server


@pytest.fixture(autouse=True)
def no_local_model(monkeypatch):
    def load(name, revision):
        pytest.fail(f"the local model {name} was loaded")

    monkeypatch.setattr(worker, "language_model", load)


@pytest.fixture
def problem():
    some = ProblemSet.objects.create(slug="some", name="Some")
    return Problem.objects.create(problem_set=some, key="p0", position=0, kind="commonsense", **ASKED)


def explainer(says="explanation", **fields):
    return Explainer.objects.create(name=f"api-{says}", method="api", model="small", says=says, **fields)


def ask(problem, *explainers):
    return [queue.ask(problem, one, queue.head_of(one)) for one in explainers]


def work_until_done():
    while queue.waiting().exists():
        worker.work_on_next()


def test_one_recorded_run_gives_both_texts_and_needs_no_local_model(server, problem):
    ask(problem, explainer(), explainer("chain"))
    work_until_done()
    texts = {one.explainer.says: one.text for one in Explanation.objects.ready().select_related("explainer")}
    assert texts == {"explanation": WHY, "chain": CHAIN.format("green")}
    assert len(server.bodies) == 2
    trace = Trace.objects.get()
    assert (trace.model, trace.chain, trace.answer_index) == ("api:small", CHAIN.format("green"), 0)
    assert [body["model"] for body in server.bodies] == ["small", "small"]
    assert [told["text"] for told in trace.provenance["transcript"]] == [trace.chain, WHY]
    assert [step["text"] for step in trace.record["steps"]][-1] == "Answer: green"
    assert trace.record["tokens"] == []


def test_what_was_asked_for_later_is_read_from_the_run(server, problem):
    ask(problem, explainer())
    work_until_done()
    (later,) = ask(problem, explainer("chain"))
    work_until_done()
    later.refresh_from_db()
    assert later.text == CHAIN.format("green")
    again = Explainer.objects.create(name="again", method="api", model="small")
    ask(problem, again)
    work_until_done()
    assert again.explanations.get().text == WHY
    assert len(server.bodies) == 2


def test_rows_say_which_server_and_claim_no_measurement(server, problem):
    ask(problem, explainer())
    work_until_done()
    made = Explanation.objects.get()
    assert (made.provenance["api_url"], made.provenance["model"]) == (server.url, "small")
    assert made.provenance["says"] == "explanation"
    assert (made.evidence, made.candidates, made.head_version) == ({}, [], None)
    stored = json.dumps([*Trace.objects.values_list("provenance", "record"), made.provenance])
    assert KEY not in stored


def test_a_local_model_of_the_same_name_has_another_trace(server, problem):
    local = Explainer.objects.create(name="local", method="chain", model="small")
    (by_server,), (here,) = ask(problem, explainer()), ask(problem, local)
    assert by_server.trace_id != here.trace_id
    assert {trace.model for trace in Trace.objects.all()} == {"small", "api:small"}


@pytest.mark.parametrize(("method", "model"), [("api", ""), ("chain", "api:small"), ("inverse", "api:")])
def test_a_model_is_local_or_named_at_a_server(method, model):
    with pytest.raises(IntegrityError), transaction.atomic():
        Explainer.objects.create(name="x", method=method, model=model)
    with pytest.raises(ValidationError, match="Method api needs the model's name at the server"):
        Explainer(name="x", method=method, model=model).full_clean()


def test_a_setting_that_names_a_server_for_local_models_makes_nothing(server, problem, settings):
    settings.SAGE_MODEL = "api:small"
    ask(problem, Explainer.objects.create(name="local", method="chain"))
    work_until_done()
    assert "local v1 is of method chain" in Explanation.objects.failed().get().error


def test_an_unreadable_chain_is_tried_with_the_next_seed_and_all_is_told(server, problem):
    server.scripted = [Reply(completion("No idea."))]
    ask(problem, explainer())
    work_until_done()
    trace = Trace.objects.get()
    assert [body["seed"] for body in server.bodies] == [0, 1, 0]
    assert trace.provenance["failed_seeds"] == [0]
    assert [told["text"] for told in trace.provenance["transcript"]] == ["No idea.", CHAIN.format("green"), WHY]
    assert trace.record["settings"]["seed"] == 1


def test_what_no_seed_made_readable_fails_and_is_gone_on_with_when_asked_again(server, problem):
    server.scripted = [Reply(completion("No idea."))] * 3
    ask(problem, explainer())
    work_until_done()
    failed = Explanation.objects.failed()
    assert "seeds 0 to 2 tried" in failed.get().error
    assert len(Trace.objects.get().provenance["transcript"]) == 3
    queue.retry(failed)
    work_until_done()
    trace = Trace.objects.get()
    assert [body["seed"] for body in server.bodies] == [0, 1, 2, 3, 0]
    assert len(trace.provenance["transcript"]) == 5
    assert Explanation.objects.ready().get().text == WHY


def test_a_server_that_fails_leaves_only_what_was_paid_and_a_retry_mends_it(server, problem):
    server.scripted = [Reply(completion("Answer: green")), Reply({"error": f"out of order, {KEY}"}, 503)]
    ask(problem, explainer())
    work_until_done()
    failed = Explanation.objects.failed()
    assert "it answered 503" in failed.get().error
    assert KEY not in failed.get().error
    trace = Trace.objects.get()
    assert (trace.made_at, trace.chain, trace.record) == (None, "", {})
    assert [told["text"] for told in trace.provenance["transcript"]] == ["Answer: green"]
    assert KEY not in json.dumps(trace.provenance)
    queue.retry(failed)
    work_until_done()
    assert Explanation.objects.ready().get().text == WHY


def test_the_budget_is_for_all_seeds_of_a_problem_together(server, problem, settings):
    settings.SAGE_API_BUDGET = 4000
    server.scripted = [Reply(completion("No idea.", usage=(1500, 1500)))]
    ask(problem, explainer())
    work_until_done()
    assert "of the 4000 for a problem 3000 are spent" in Explanation.objects.failed().get().error
    assert len(server.bodies) == 1


def test_the_budget_is_for_all_runs_of_a_worker_together(server, problem, settings):
    settings.SAGE_API_BUDGET = 4000
    server.scripted = [Reply(completion("No idea.", usage=(1500, 1500)))]
    ask(problem, explainer())
    for _ in range(2):
        work_until_done()
        assert "3000 are spent" in Explanation.objects.failed().get().error
        queue.retry(Explanation.objects.failed())
    assert len(server.bodies) == 1


def test_a_run_that_was_stopped_between_chain_and_explanation_keeps_what_was_paid(server, problem, monkeypatch):
    def stopped(row, stage):
        if "explains" in stage:
            worker.stop.set()
            raise worker.StoppedError

    ask(problem, explainer())
    monkeypatch.setattr(queue, "renew", stopped)
    try:
        worker.work_on_next()
    finally:
        worker.stop.clear()
    monkeypatch.undo()
    trace = queue.waiting().get()
    assert (trace.made_at, trace.attempts) == (None, 0)
    assert [told["text"] for told in trace.provenance["transcript"]] == [CHAIN.format("green")]
    work_until_done()
    trace.refresh_from_db()
    assert len(trace.provenance["transcript"]) == 3
    assert Explanation.objects.ready().get().text == WHY


@pytest.mark.parametrize(
    ("content", "usage"), [("Answer: green", '{"prompt_tokens": 1e999}'), ("Answer: green", "[" * 200 + "]" * 200)]
)
def test_a_body_that_no_database_keeps_fails_by_name(server, problem, content, usage):
    body = json.dumps(completion(content, usage=None)).replace('"usage": null', f'"usage": {usage}')
    server.scripted = [Reply(body)]
    ask(problem, explainer())
    work_until_done()
    assert "no sound JSON" in Explanation.objects.failed().get().error


def test_a_worker_without_an_address_leaves_it_to_one_that_has_it(server, problem, settings):
    settings.SAGE_API_URL, settings.EMBEDDED, address = "", False, server.url
    ask(problem, explainer())
    worker.work_on_next()
    trace = queue.waiting().get()
    assert (trace.attempts, trace.stage) == (0, "waiting for a worker with SAGE_API_URL")
    settings.SAGE_API_URL = address
    work_until_done()
    trace.refresh_from_db()
    assert (Explanation.objects.ready().get().text, trace.stage) == (WHY, "")


def test_without_an_address_it_fails_and_says_what_to_set(problem, settings):
    settings.SAGE_API_URL, settings.EMBEDDED = "", True
    ask(problem, explainer())
    work_until_done()
    assert "The server of 'api:small' cannot be asked: SAGE_API_URL is not set" in Explanation.objects.get().error


# -- manage.py explain ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("says", "text"), [("explanation", WHY), ("chain", CHAIN.format("green"))])
def test_the_command_makes_what_the_worker_makes(server, problems, out, says, text):
    explainer(says)
    call_command("explain", problems=problems, explainer=f"api-{says}", out=out, limit=1)
    line = json.loads(out.read_text())
    assert (line["text"], line["trace"]["chain"], line["evidence"]) == (text, CHAIN.format("green"), None)
    assert (line["settings"]["api_url"], line["settings"]["model"]) == (server.url, "small")
    assert len(line["provenance"]["transcript"]) == 2
    assert not Trace.objects.exists()


def test_the_command_says_what_the_server_lacks(server, problems, out, settings):
    explainer()
    server.scripted = [Reply({"error": "no such model"}, 404)]
    with pytest.raises(CommandError, match="404"):
        call_command("explain", problems=problems, explainer="api-explanation", out=out)
    settings.SAGE_API_URL = ""
    with pytest.raises(CommandError, match="SAGE_API_URL is not set"):
        call_command("explain", problems=problems, explainer="api-explanation", out=out)
    assert not out.exists()
