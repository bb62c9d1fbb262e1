"""What a worker makes of the rows, with the stand-in model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from django.core.exceptions import ValidationError

from inference import core, queue, worker
from inference.core import inverse, prose
from inference.core.decode import Sampling
from inference.core.similarity import SimilarityError
from inference.models import Explainer, Explanation, Problem, ProblemSet, Trace
from inference.tasks import work


@pytest.fixture
def problems(db: None) -> list[Problem]:
    some = ProblemSet.objects.create(slug="some", name="Some")
    questions = ("What colour is grass?", "What falls from clouds?")
    options = (["green", "red", "blue"], ["rain", "stones", "milk"])
    return [
        Problem.objects.create(
            problem_set=some, key=f"p{i}", position=i, kind="commonsense", question=question, options=of, gold=0
        )
        for i, (question, of) in enumerate(zip(questions, options, strict=True))
    ]


@pytest.fixture
def explainers(db: None) -> list[Explainer]:
    methods = ("inverse", "self_explain", "chain")
    return [Explainer.objects.create(name=method.replace("_", "-"), method=method) for method in methods]


def ask_all(problems: list[Problem], explainers: list[Explainer]) -> None:
    for problem in problems:
        for explainer in explainers:
            queue.ask(problem, explainer, queue.head_of(explainer))


def work_until_done() -> None:
    while queue.waiting().exists():
        worker.work_on_next()


def test_one_bell_is_enough_for_all_that_waits(
    stand_in: Any, problems: list[Problem], explainers: list[Explainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    bells = [work]
    monkeypatch.setattr(queue, "ring", lambda: bells.append(work))
    ask_all(problems, explainers)
    while bells:
        bells.pop()()
    assert not queue.waiting().exists()
    assert Explanation.objects.ready().count() == 6


def test_all_methods_are_made_from_one_trace(
    stand_in: Any, problems: list[Problem], explainers: list[Explainer]
) -> None:
    ask_all(problems, explainers)
    work_until_done()
    assert Trace.objects.count() == 2
    assert Explanation.objects.ready().count() == 6
    trace = Trace.objects.first()
    assert trace is not None
    assert trace.answer_text in problems[0].options
    assert (trace.worker, trace.lease_until, trace.stage, trace.attempts) == ("", None, "", 0)
    assert trace.explanations.get(explainer__method="chain").text == trace.chain


@pytest.mark.parametrize(("asks", "question"), [("number", "How many legs has a cat?"), ("free", "Which city?")])
def test_problems_without_options_are_explained(
    stand_in: Any, problems: list[Problem], explainers: list[Explainer], asks: str, question: str
) -> None:
    Problem.objects.update(asks=asks, question=question, options=[], gold=None)
    ask_all(list(Problem.objects.all()[:1]), explainers)
    work_until_done()
    assert Explanation.objects.ready().count() == 3
    trace = Trace.objects.get()
    assert trace.answer_index is None
    assert trace.answer_text
    assert trace.record["problem"]["asks"] == asks
    inverse = Explanation.objects.get(explainer__method="inverse")
    assert trace.answer_text in inverse.text


def test_the_chain_is_shown_without_an_answer_that_was_put_behind_it(
    stand_in: Any, problems: list[Problem], explainers: list[Explainer]
) -> None:
    own = "Step 1: Grass grows.\nStep 2: It is"
    stand_in.generate = lambda *args, **options: [stand_in.spelled(own, Sampling(99))]
    ask_all(problems[:1], explainers[2:])
    work_until_done()
    trace = Trace.objects.get()
    assert trace.explanations.get().text == own
    assert trace.record["answer"]["read_by"] == "likelihood"
    assert trace.chain == f"{own}\nAnswer: {trace.answer_text}"


def test_every_row_says_how_it_was_made(stand_in: Any, problems: list[Problem], explainers: list[Explainer]) -> None:
    ask_all(problems[:1], explainers)
    work_until_done()
    for explanation in Explanation.objects.select_related("explainer"):
        assert {"model", "revision", "device", "dtype", "code", "seconds"} <= set(explanation.provenance)
    inverse = Explanation.objects.get(explainer__method="inverse")
    assert inverse.provenance["similarity"] == "words"
    assert inverse.provenance["head"] == "head v0 (untrained)"
    assert len(inverse.candidates) == 3
    assert inverse.text in [candidate["text"] for candidate in inverse.candidates]
    assert [test["planned"] for test in inverse.evidence["tests"]] == [6, 6, 6]
    assert inverse.provenance["settings"]["similarity"] == "words"


def test_the_attention_of_each_head_is_kept_where_it_is_asked_for(
    stand_in: Any, problems: list[Problem], explainers: list[Explainer], settings: Any
) -> None:
    for problem, wanted in zip(problems, (False, True), strict=True):
        settings.SAGE_KEEP_HEAD_FLOW = wanted
        ask_all([problem], explainers)
        work_until_done()
        trace = core.Trace.from_json(problem.traces.get().record)
        kept = worker.feature_cache(worker.language_model("", "")).get_flow(trace)
        assert (kept is not None) == wanted


def test_a_head_that_mixes_keeps_no_attention_that_was_not_asked_for(
    stand_in: Any,
    problems: list[Problem],
    explainers: list[Explainer],
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.SAGE_KEEP_HEAD_FLOW = False
    mixing = core.Head(core.head_config(stand_in))
    with torch.no_grad():
        mixing.mixing.weights[0, 1] = 4.0
    monkeypatch.setattr(worker, "head_for", lambda row, model: mixing)
    Problem.objects.update(question="What is mixed?")
    queue.ask(problems[0], explainers[0], queue.head_of(explainers[0]))
    work_until_done()
    made = Explanation.objects.ready().get()
    assert made.evidence["signals"][0]["learned_flow"] is not None
    trace = core.Trace.from_json(Trace.objects.get().record)
    assert worker.feature_cache(stand_in).get_flow(trace) is None


def test_the_similarity_is_loaded_before_the_claim_and_missed_only_by_whom_it_serves(
    stand_in: Any, problems: list[Problem], explainers: list[Explainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    held = []

    def missing(name: str, model: Any) -> Any:
        held.append(Trace.objects.exclude(worker="").exists())
        raise SimilarityError("There is no sentence encoder here.")

    monkeypatch.setattr(worker, "loaded", missing)
    ask_all(problems[:1], explainers)
    queue.ask(problems[1], explainers[2], None)
    work_until_done()
    failed = Explanation.objects.failed().get()
    assert (failed.explainer.method, failed.error) == ("inverse", "There is no sentence encoder here.")
    assert Explanation.objects.ready().count() == 3
    assert held == [False]


def test_the_model_may_write_and_everything_is_kept(stand_in: Any, problems: list[Problem]) -> None:
    both = Explainer.objects.create(name="both", method="inverse", writer="both", candidates=2, tested_steps=1)
    ask_all(problems[:1], [both])
    work_until_done()
    made = Explanation.objects.get()
    assert [draft["style"] for draft in made.evidence["drafts"]] == ["brief", "contrastive", "written 1", "written 2"]
    assert made.evidence["writer"] == "templates"  # nothing of what the stand-in writes is in the record
    assert made.evidence["drafts"][2]["rejected"] == 1
    assert all({"text", "style", "score", "rejected"} <= set(candidate) for candidate in made.candidates)


def test_more_texts_than_the_templates_have_are_refused_in_the_admin(db: None) -> None:
    with pytest.raises(ValidationError, match="the templates have 1 to 3"):
        Explainer(name="many", method="inverse", candidates=5).full_clean()
    Explainer(name="many", method="inverse", candidates=5, writer="model").full_clean()


def test_working_again_changes_nothing(stand_in: Any, problems: list[Problem], explainers: list[Explainer]) -> None:
    ask_all(problems[:1], explainers)
    work_until_done()
    before = list(Explanation.objects.values_list("pk", "made_at", "text"))
    worker.work_on_next()
    ask_all(problems[:1], explainers)
    worker.work_on_next()
    assert list(Explanation.objects.values_list("pk", "made_at", "text")) == before


def test_an_empty_chain_fails_with_its_reason_and_the_rest_goes_on(
    stand_in: Any, problems: list[Problem], explainers: list[Explainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask_all(problems, explainers)
    generate = stand_in.generate

    def silent_on_grass(ids: Any, *args: Any, **options: Any) -> Any:
        return [()] if "grass" in stand_in.decode(ids) else generate(ids, *args, **options)

    monkeypatch.setattr(stand_in, "generate", silent_on_grass)
    work_until_done()
    failed = Explanation.objects.failed()
    assert {row.trace.problem.key for row in failed} == {"p0"}
    assert all("seeds 0 to 2 tried" in row.error for row in failed)
    assert Explanation.objects.ready().count() == 3

    monkeypatch.setattr(stand_in, "generate", generate)
    assert queue.retry(failed) == 3
    work_until_done()
    assert Explanation.objects.ready().count() == 6
    trace = Trace.objects.get(problem=problems[0])
    assert trace.record["settings"]["seed"] == 3
    assert trace.provenance["failed_seeds"] == [0, 1, 2]


def test_what_no_seed_can_help_fails_at_once_and_stores_no_trace(
    stand_in: Any, problems: list[Problem], explainers: list[Explainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask_all(problems[:1], explainers)
    tried = []

    def no_numbers(*args: Any, **options: Any) -> Any:
        tried.append(args)
        raise core.NumbersError("The model's scores for the next token are not numbers.")

    monkeypatch.setattr(stand_in, "generate", no_numbers)
    work_until_done()
    assert len(tried) == 1
    assert [row.error for row in Explanation.objects.failed()] == [
        "The model's scores for the next token are not numbers."
    ] * 3
    trace = Trace.objects.get()
    assert (trace.made_at, trace.chain, trace.record) == (None, "", {})
    assert not any(Explanation.objects.values_list("text", flat=True))


def test_a_limit_of_one_method_leaves_the_others(
    stand_in: Any, problems: list[Problem], explainers: list[Explainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask_all(problems[:1], explainers)

    def full(*args: Any, **options: Any) -> Any:
        raise core.RolloutMemoryError("Not even one rollout fits.")

    monkeypatch.setattr(stand_in, "generate_many", full)
    work_until_done()
    failed = Explanation.objects.failed().get()
    assert (failed.explainer.method, failed.error) == ("inverse", "Not even one rollout fits.")
    assert (failed.text, failed.evidence) == ("", {})
    assert Explanation.objects.ready().count() == 2


def test_rollouts_outlast_a_worker_and_go_when_the_explanation_is_stored(
    stand_in: Any,
    problems: list[Problem],
    explainers: list[Explainer],
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
) -> None:
    queue.ask(problems[0], explainers[0], queue.head_of(explainers[0]))
    rollouts = Path(settings.VAR_DIR) / "rollouts"
    before = set(rollouts.glob("*"))
    write, drawn = stand_in.generate_many, []

    def counted(starts: Any, *, rows: Any, **options: Any) -> Any:
        if not drawn:
            worker.stop.set()
        drawn.extend((start.sampling.seed, row) for start, some in zip(starts, rows, strict=True) for row in some)
        return write(starts, rows=rows, **options | {"tick": lambda share: None})

    monkeypatch.setattr(stand_in, "generate_many", counted)
    worker.work_on_next()
    worker.stop.clear()
    (kept,) = set(rollouts.glob("*")) - before
    assert kept.read_bytes().count(b"\n") == len(drawn)
    work_until_done()
    assert len(set(drawn)) == len(drawn)  # nothing is drawn twice
    assert Explanation.objects.ready().count() == 1
    assert set(rollouts.glob("*")) == before


def test_rollouts_of_a_failed_explanation_wait_for_the_next_asking_but_not_for_good(
    stand_in: Any,
    problems: list[Problem],
    explainers: list[Explainer],
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
    tmp_path: Path,
) -> None:
    settings.VAR_DIR = tmp_path
    ask_all(problems[:1], explainers)
    write, drawn = stand_in.generate_many, []

    def counted(starts: Any, *, rows: Any, **options: Any) -> Any:
        drawn.extend((start.sampling.seed, row) for start, some in zip(starts, rows, strict=True) for row in some)
        return write(starts, rows=rows, **options)

    def full(*args: Any) -> Any:
        raise core.DeviceMemoryError("The device's memory is too small.")

    monkeypatch.setattr(stand_in, "generate_many", counted)
    with monkeypatch.context() as patched:
        patched.setattr(inverse, "explanation_features", full)
        work_until_done()
    failed = Explanation.objects.failed()
    assert [row.explainer.method for row in failed] == ["inverse"]
    before, (kept,) = len(drawn), (tmp_path / "rollouts").iterdir()
    queue.retry(failed)
    with monkeypatch.context() as patched:
        patched.setattr(inverse, "explanation_features", full)
        work_until_done()
    assert len(drawn) == before > 0
    assert worker.forget_old_rollouts(kept.stat().st_mtime + 13 * 24 * 3600) == 0
    assert worker.forget_old_rollouts(kept.stat().st_mtime + 15 * 24 * 3600) == 1
    assert not kept.exists()


def test_what_keeps_the_model_from_writing_fails_no_explanation(
    stand_in: Any, problems: list[Problem], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any) -> Any:
        raise core.DeviceMemoryError("The device's memory is too small.")

    monkeypatch.setattr(prose, "compose", full)
    written = Explainer.objects.create(name="written", method="inverse", writer="model", tested_steps=1)
    ask_all(problems[:1], [written])
    work_until_done()
    made = Explanation.objects.ready().get()
    assert made.evidence["writer"] == "templates"
    assert made.evidence["drafts"][0]["failed"] == "The device's memory is too small."


def test_a_stopped_worker_hands_its_work_back(
    stand_in: Any, problems: list[Problem], explainers: list[Explainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask_all(problems[:1], explainers)
    reason = core.reason

    def interrupted(*args: Any) -> Any:
        worker.stop.set()
        return reason(*args)

    monkeypatch.setattr(core, "reason", interrupted)
    try:
        worker.work_on_next()
    finally:
        worker.stop.clear()
    assert queue.waiting().get().attempts == 0
    assert not Explanation.objects.ready().exists()
    monkeypatch.undo()


def test_the_attention_method_needs_no_head_and_keeps_what_it_measured(
    stand_in: Any, problems: list[Problem]
) -> None:
    ask_all(problems[:1], [Explainer.objects.create(name="attention", method="attention", model="stand-in")])
    work_until_done()
    made = Explanation.objects.ready().get()
    assert made.head_version is None
    assert made.evidence["tests"] == []
    assert sum(made.evidence["step_scores"]) == pytest.approx(1)
    assert "led to step" in made.text


def test_a_worker_that_lost_its_lease_stores_nothing(
    stand_in: Any, problems: list[Problem], explainers: list[Explainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask_all(problems[:1], explainers)
    reason = core.reason

    def overtaken(*args: Any) -> Any:
        Trace.objects.update(worker="somebody else")
        return reason(*args)

    monkeypatch.setattr(core, "reason", overtaken)
    worker.work_on_next()
    assert Trace.objects.get().made_at is None
    assert Trace.objects.get().worker == "somebody else"
    assert Explanation.objects.pending().count() == 3


def test_a_model_that_cannot_be_loaded_fails_with_its_reason(
    problems: list[Problem], monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = Explainer.objects.create(name="lost", method="chain", model="/no/such/folder")
    explanation = queue.ask(problems[0], lost, None)
    worker.work_on_next()
    explanation.refresh_from_db()
    assert "'/no/such/folder' could not be loaded" in explanation.error
    assert not queue.waiting().exists()
