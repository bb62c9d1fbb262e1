"""manage.py explain, with the stand-in model: the explainer's row decides, and only the file is written."""

import json

import pytest
from django.core.management import CommandError, call_command

from inference import heads, queue, worker
from inference.core import head_config
from inference.core.head import Head
from inference.models import Explainer, Explanation, HeadVersion, Problem, ProblemSet, Trace
from inference.tests.standin import stand_in_model

pytestmark = pytest.mark.django_db
ROWS = [
    {"key": f"p{i}", "kind": "commonsense", "question": question, "options": ["green", "rain", "honey"], "gold": i}
    for i, question in enumerate(("What colour is grass?", "What falls from clouds?", "What do bees make?"))
]


@pytest.fixture
def model(monkeypatch, settings):
    """The model of the SAGE_MODEL setting, as the worker loads it."""
    model = stand_in_model(settings.SAGE_MODEL)
    monkeypatch.setattr(worker, "language_model", lambda name, revision: model)
    return model


@pytest.fixture
def inverse():
    return Explainer.objects.create(name="inverse", method="inverse", rollouts=3, tested_steps=1, seed=2)


def lines(out):
    return [json.loads(line) for line in out.read_text().splitlines()]


def files(settings):
    return set(settings.VAR_DIR.glob("features/**/*"))


def explain(problems, out, name="inverse", **options):
    call_command("explain", problems=problems, explainer=name, out=out, **options)


def test_the_row_decides_and_nothing_but_the_file_is_written(model, problems, out, inverse, settings):
    kinds, before = (ProblemSet, Problem, Trace, Explanation), files(settings)
    explain(problems, out, limit=2)
    first, second = lines(out)
    assert (first["key"], second["key"]) == ("p0", "p1")
    assert first["settings"] == {
        "method": "inverse", "model": settings.SAGE_MODEL, "revision": "", "device": "cpu", "dtype": "float32",
        "seed": 2, "max_new_tokens": 160, "candidates": 3, "tested_steps": 1, "rollouts": 3, "head": "untrained",
        "similarity": "words", "writer": "templates", "budget": None,
    }  # fmt: skip
    assert [test["rollouts"] for test in first["evidence"]["tests"]] == [3]
    assert (first["provenance"]["explainer"], first["provenance"]["head"]) == ("inverse v1", "head v0 (untrained)")
    assert [kind.objects.count() for kind in kinds] == [0, 0, 0, 0]
    assert files(settings) == before


def test_a_budget_in_tokens_bounds_the_rollouts(model, problems, out, inverse):
    Explainer.objects.filter(pk=inverse.pk).update(budget=1)
    explain(problems, out, limit=1)
    (line,) = lines(out)
    assert line["evidence"]["tests"] == []
    assert len(line["evidence"]["over_budget"]) == 1


def test_it_makes_what_the_worker_makes(model, problems, out, inverse):
    """The same recipe and problem give the same explanation by either way."""
    explain(problems, out)
    some = ProblemSet.objects.create(slug="some", name="Some")
    for position, row in enumerate(ROWS):
        problem = Problem.objects.create(problem_set=some, position=position, **row)
        queue.ask(problem, inverse, queue.head_of(inverse))
    while queue.waiting().exists():
        worker.work_on_next()
    made = Explanation.objects.ready().order_by("trace__problem__position")
    assert [(one.trace.chain, one.text, one.evidence) for one in made] == [
        (line["trace"]["chain"], line["text"], line["evidence"]) for line in lines(out)
    ]


def test_a_second_run_goes_on(model, problems, out, inverse, capsys):
    explain(problems, out, limit=1)
    before = out.read_bytes()
    explain(problems, out)
    assert out.read_bytes().startswith(before)
    assert [line["key"] for line in lines(out)] == ["p0", "p1", "p2"]
    assert "3 of 3 problems explained, 0 failed; 1 of these were in the file before." in capsys.readouterr().err


def test_lines_are_printed_where_no_file_is_named(model, problems, inverse, capsys):
    call_command("explain", problems=problems, explainer="inverse", limit=1)
    assert [json.loads(line)["key"] for line in capsys.readouterr().out.splitlines()] == ["p0"]


def test_the_head_in_use_chooses_and_its_successor_does_not_go_on_with_its_file(model, problems, out, inverse):
    def promoted(number):
        head = Head(head_config(model), number)
        head.preference.weight.data[-1] = float(number)
        row = heads.register(head.save(heads.folder()), {"model": model.name, "revision": ""})
        heads.promote(row, "to see", "a test")
        return row

    first = promoted(1)
    explain(problems, out, limit=1)
    assert lines(out)[0]["settings"]["head"] == first.sha256
    before = out.read_bytes()
    promoted(2)
    with pytest.raises(CommandError, match=f"other settings: head {first.sha256}, now "):
        explain(problems, out)
    assert out.read_bytes() == before
    assert HeadVersion.objects.count() == 3


def test_the_newest_version_is_meant_unless_another_is_named(model, problems, out, inverse):
    Explainer.objects.create(name="inverse", version=2, method="chain")
    explain(problems, out, limit=1)
    assert lines(out)[0]["settings"]["method"] == "chain"
    with pytest.raises(CommandError, match="method chain, now inverse"):
        explain(problems, out, name="inverse@1")
    with pytest.raises(CommandError, match=r"no explainer inverse@3\. Allowed: inverse@2, inverse@1"):
        explain(problems, out, name="inverse@3")
    with pytest.raises(CommandError, match="no explainer inverse@x"):
        explain(problems, out, name="inverse@x")


def test_without_any_explainer_it_says_what_to_do(problems, out):
    with pytest.raises(CommandError, match="none yet; make one in the admin"):
        explain(problems, out)


def test_options_that_cannot_be_taken_are_said(model, problems, out, inverse):
    with pytest.raises(CommandError, match="limit is 0; allowed is 1 or more"):
        explain(problems, out, limit=0)
    with pytest.raises(CommandError, match="again needs an out file"):
        explain(problems, None, again=True)
    with pytest.raises(CommandError, match="is not a file"):
        explain(problems.parent, out)
    assert not out.exists()


def test_an_interruption_has_an_exit_status_of_its_own(model, problems, out, inverse, monkeypatch):
    generate = model.generate

    def interrupted(ids, *args, **options):
        if "clouds" in model.decode(ids):
            raise KeyboardInterrupt
        return generate(ids, *args, **options)

    monkeypatch.setattr(model, "generate", interrupted)
    with pytest.raises(CommandError, match=r"Interrupted\. 1 of 3 problems explained") as ended:
        explain(problems, out)
    assert ended.value.returncode == 130
    assert [line["key"] for line in lines(out)] == ["p0"]


def test_a_model_that_cannot_be_loaded_is_said(problems, out, inverse, monkeypatch):
    def load(name, revision):
        raise OSError("no such weights")

    monkeypatch.setattr(worker, "language_model", load)
    with pytest.raises(CommandError, match="could not be loaded: no such weights"):
        explain(problems, out)
    assert not out.exists()
