"""From judgements to a head that explains the next study, and every way in which that is refused or undone."""

from __future__ import annotations

import hashlib
import json
import random
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError

from inference import heads, queue, worker
from inference.models import Explanation, HeadAlias, HeadVersion, Promotion, Trace
from studies import judging, launch
from studies.models import Comparison, Judgement, Study
from training import attempts, lineage, retraining, snapshot
from training.core.data import held_out
from training.models import Attempt, TrainingRun
from training.tests.conftest import judge, retrain, work_until_done


def current() -> HeadVersion:
    return HeadVersion.objects.current(settings.SAGE_MODEL)


def latest() -> TrainingRun:
    return TrainingRun.objects.latest("pk")


# -- promoted, held, rejected --------------------------------------------------------------------------------------


def test_a_known_preference_is_recovered_promoted_and_explains_what_is_asked_for_next(study: Study) -> None:
    judge(study, raters=8)
    printed = retrain()
    run = TrainingRun.objects.get()
    assert run.verdict == "promote", run.reason
    assert run.head_version == current()
    assert run.metrics["gain"]["low"] > 0
    assert run.metrics["scores"][0]["accuracy"]["mean"] > 0.9, "raters preferred the shorter text, always"
    assert run.judgement_ids == list(Judgement.objects.order_by("pk").values_list("pk", flat=True))
    assert "Head in use: head v1" in printed
    assert "length alone" in printed
    assert Promotion.objects.get().to_head == run.head_version
    assert Attempt.objects.get().run == run

    launch.launch(launch.copy(study, "again"))
    work_until_done()
    made = Explanation.objects.filter(head_version__number=1)
    assert made.count() == 12
    for explanation in made:
        scores = [candidate["score"] for candidate in explanation.candidates]
        assert explanation.text == explanation.candidates[scores.index(max(scores))]["text"]
        assert explanation.provenance["head"] == "head v1"
        used = run.metrics["steps"]["used"]
        assert explanation.evidence["ranked_by"] == ("head v1" if used else "signals")
        assert len(explanation.evidence["estimates"]) == (len(explanation.evidence["steps"]) if used else 0)


def test_what_is_learned_of_steps_is_checked_on_held_out_ones_and_told(study: Study) -> None:
    judge(study, raters=8)
    printed = retrain()
    found, card = latest().metrics["steps"], (heads.folder() / current().sha256 / "README.md").read_text()
    assert found["training_steps"] + found["held_out_steps"] == 12
    assert {score["name"] for score in found["scores"]} >= {"position", "length", "entropy", "attention"}
    assert f"Of {found['held_out_steps']} held-out tested steps it predicts" in " ".join(printed.split())
    assert f"Learned from {found['training_steps']} tested steps" in card
    assert "never a finding" in card
    assert latest().metrics["fit"]["steps"]["tested"] == found["training_steps"]


def test_a_head_from_shuffled_labels_is_rejected_and_not_even_a_candidate(study: Study) -> None:
    judge(study, raters=8)
    shuffle_labels()
    retrain()
    run = TrainingRun.objects.get()
    assert run.verdict == "reject", run.reason
    assert "better than guessing" in run.reason
    assert current().number == 0
    assert not HeadAlias.objects.filter(name="candidate").exists()


def shuffle_labels() -> None:
    draw = random.Random(1)
    for row in Judgement.objects.order_by("pk"):
        Judgement.objects.filter(pk=row.pk).update(choice=draw.choice(("first", "second")))


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


def test_a_head_that_fails_is_promoted_by_force_only_and_the_reason_is_kept(study: Study) -> None:
    judge(study, raters=8)
    contradict_on_held_out_problems()
    retrain()
    assert latest().verdict == "reject"
    assert current().number == 0
    with pytest.raises(CommandError, match="needs a reason"):
        retrain("--force", " ")
    retrain("--force", "to try the promotion")
    assert latest().verdict == "forced"
    done = Promotion.objects.get()
    assert (done.kind, done.to_head) == ("force", current())
    assert "to try the promotion" in done.reason


def test_the_same_data_again_give_the_same_head_which_is_held(study: Study) -> None:
    judge(study, raters=8)
    retrain("--force", "to have it in use")
    first = latest()
    retrain("--force", "again")
    again = latest()
    assert again.verdict == "hold"
    assert "weight for weight" in again.reason
    assert again.metrics["gain"]["mean"] == 0.0
    assert (again.snapshot_sha256, again.head_version) == (first.snapshot_sha256, first.head_version)
    assert Promotion.objects.count() == 1


def test_the_gate_is_told_how_often_these_held_out_problems_were_used(study: Study) -> None:
    judge(study, raters=8)
    retrain("--dry-run")
    assert "test for the first time" in Attempt.objects.latest("pk").message
    retrain()
    assert latest().metrics["used_before"] == 1


def test_actively_selected_pairs_train_but_do_not_test(study: Study) -> None:
    judge(study, raters=8)
    active = Comparison.objects.filter(position__lt=6)
    active.update(selection="active")
    there = [row for row in active if held_out(f"starter/{row.problem.key}")]
    retrain()
    assert latest().metrics["left_out"] == Judgement.objects.filter(assignment__comparison__in=there).count() > 0


# -- the registry --------------------------------------------------------------------------------------------------


def test_a_rollback_gives_byte_identical_scores(study: Study) -> None:
    judge(study, raters=8)
    retrain("--force", "the first")
    before = scores_of_all()
    files = folder_of(current())
    judge(study, raters=4)
    retrain("--force", "the second", "--seed", "1")
    assert current().number == 2
    assert scores_of_all() != before
    call_command("heads", "rollback", "--reason", "raters complained")
    assert current().number == 1
    assert scores_of_all() == before
    assert folder_of(current()) == files


def scores_of_all() -> bytes:
    """The scores, bit by bit, that the head in use gives all explanations."""
    model = worker.language_model(settings.SAGE_MODEL, "")
    found = retraining.material.of_studies(snapshot.take([Study.objects.get(slug="small")]).studied)
    features = found.pairs(model, worker.feature_cache(model), lambda *_: None).features
    return bytes(worker.head_for(current(), model).score(features).numpy().tobytes())


def folder_of(head: HeadVersion) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (heads.folder() / head.sha256).iterdir()}


def test_the_snapshot_and_the_card_lie_beside_the_model(study: Study) -> None:
    judge(study, raters=8)
    retrain()
    run = TrainingRun.objects.get()
    files = folder_of(current())
    lines = files[f"snapshot-{run.snapshot_sha256}.jsonl"].decode().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["judgement"] for row in rows] == run.judgement_ids == sorted(run.judgement_ids)
    assert {"choice", "strength", "criteria", "selection", "first_on_left", "first_arm", "kind"} <= set(rows[0])
    raters = {str(judgement.assignment.rater_id) for judgement in Judgement.objects.select_related("assignment")}
    assert not raters & {row["rater"] for row in rows}
    card = files["README.md"].decode()
    assert run.reason in card
    assert "never human preference" in card
    assert "Apache-2.0" in card


def test_two_snapshots_of_the_same_judgements_are_the_same_bytes(study: Study) -> None:
    judge(study, raters=2)
    assert snapshot.take([study]).sha256 == snapshot.take([study]).sha256
    Judgement.objects.filter(pk=Judgement.objects.latest("pk").pk).update(strength=3)
    Judgement.objects.filter(pk=Judgement.objects.earliest("pk").pk).update(choice="both_bad")
    text = "".join(snapshot.take([study]).lines())
    assert '"strength":3' in text
    assert '"choice":"both_bad"' in text


def test_withdrawn_judgements_flag_the_head_that_learned_from_them(study: Study) -> None:
    judge(study, raters=8)
    retrain()
    assert lineage.line(current()).withdrawn == 0
    leaving, undoing = study.raters.order_by("pk")[:2]
    gone = leaving.assignments.count()
    leaving.delete()
    judging.undo(undoing, undoing.assignments.latest("pk").judgements.latest("pk").pk)
    line = lineage.line(current())
    assert line.withdrawn == len(lineage.withdrawn(line.run)) == gone + 1
    assert f"{gone + 1} of its" in shown(current().number)


def shown(number: int) -> str:
    out = StringIO()
    call_command("heads", "show", str(number), stdout=out)
    return " ".join(out.getvalue().split())


def test_a_head_file_with_a_wrong_hash_is_refused_by_worker_and_retrain(study: Study) -> None:
    judge(study, raters=8)
    retrain("--force", "to have a file")
    path = heads.folder() / current().sha256 / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    launch.launch(launch.copy(study, "again"))
    while queue.waiting().exists():
        worker.work_on_next()
    errors = {row.error for row in Explanation.objects.failed()}
    assert len(errors) == 1
    assert "SHA-256 does not match" in errors.pop()
    with pytest.raises(CommandError, match="SHA-256 does not match"):
        retrain()
    call_command("heads", "promote", "0", "--reason", "its file is broken")
    retrain("--dry-run")


def test_a_base_model_that_changed_is_refused(study: Study) -> None:
    judge(study, raters=8)
    retrain("--force", "to have it in use")
    config = heads.folder() / current().sha256 / "config.json"
    other = config.read_text().replace('"revision": ""', '"revision": "2"')
    weights = (heads.folder() / current().sha256 / "model.safetensors").read_bytes()
    sha256 = hashlib.sha256(weights + other.encode()).hexdigest()
    config.parent.rename(heads.folder() / sha256)
    (heads.folder() / sha256 / "config.json").write_text(other)
    stale = heads.register(sha256, {"model": settings.SAGE_MODEL, "revision": ""})
    heads.promote(stale, "as if the model had changed under it", "test")
    with pytest.raises(CommandError, match=r"revision '2', not ''.* heads promote 0"):
        retrain()


# -- refusals ------------------------------------------------------------------------------------------------------


def test_too_little_data_says_how_much_is_missing_and_is_logged(study: Study) -> None:
    judge(study, raters=1)
    with pytest.raises(CommandError, match=r"12 decided judgements on \d+ problems; .* 18 decided judgements"):
        retrain()
    assert not TrainingRun.objects.exists()
    attempt = Attempt.objects.get()
    assert (attempt.outcome, attempt.held_out_sha256) == ("refused", "")
    assert "missing" in attempt.message


def test_no_judgement_at_all_is_refused(study: Study) -> None:
    with pytest.raises(CommandError, match="no judgements to learn from"):
        retrain()


def test_an_unknown_study_names_the_known_ones(db: None) -> None:
    with pytest.raises(CommandError, match=r"no study 'other'. Studies: none yet"):
        call_command("retrain", "--study", "other")


def test_nothing_to_learn_from_is_refused(db: None) -> None:
    with pytest.raises(CommandError, match="Say what to learn from"):
        call_command("retrain")


def test_studies_of_several_models_are_refused(study: Study) -> None:
    judge(study, raters=8)
    Trace.objects.filter(pk=study.explanations()[0].trace_id).update(model="another")
    with pytest.raises(CommandError, match=r"several models \(another, smollm2"):
        retrain()


def test_what_a_server_wrote_is_read_by_the_local_model(
    study: Study, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By that of the other explanations, or by the default one where there are no others."""
    judge(study, raters=8)
    traces = Trace.objects.filter(explanations__in=study.explanations())
    for some in (traces.filter(problem__kind="maths"), traces):
        Trace.objects.filter(pk__in=some.values("pk")).update(model="api:small")
        assert retraining.model_of((study,)) == (settings.SAGE_MODEL, "")
    monkeypatch.setattr(settings, "VAR_DIR", tmp_path)  # where no features are cached, as for what a server wrote
    retrain()
    assert TrainingRun.objects.get().head_version.base_model == settings.SAGE_MODEL


def test_two_at_once_the_second_says_who_holds_the_lock(study: Study) -> None:
    judge(study, raters=8)
    attempts.begin("command", "kim@gpu-1")
    with pytest.raises(CommandError, match=r"Another retraining is running: kim@gpu-1 \(process \d+ on .* since"):
        retrain()
    assert not TrainingRun.objects.exists()


@pytest.mark.usefixtures("clean_heads")
def test_another_promotion_meanwhile_is_not_overwritten(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    judge(study, raters=8)
    other = heads.register("a" * 64, {"model": settings.SAGE_MODEL, "revision": ""})
    judged = retraining.judged

    def slow(*given: Any) -> Any:
        heads.promote(other, "by hand, while the fit was running", "kim")
        return judged(*given)

    monkeypatch.setattr(retraining, "judged", slow)
    with pytest.raises(CommandError, match=r"head v1 has come into use .* not head v0"):
        retrain()
    assert current() == other
    assert not TrainingRun.objects.exists()
    assert left_over() == []


def left_over() -> list[str]:
    """Folders and partial files of heads that no row names."""
    named = set(HeadVersion.objects.values_list("sha256", flat=True))
    folder = heads.folder()
    found = [path.name for path in folder.iterdir() if path.name not in named] if folder.exists() else []
    return found + [str(path) for path in folder.glob("*/*.partial")]


@pytest.fixture
def clean_heads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder of heads in which nothing lies from other tests."""
    monkeypatch.setattr(heads, "folder", lambda: tmp_path / "heads")


@pytest.mark.parametrize(
    ("point", "error"),
    [
        ("gather", KeyboardInterrupt),
        ("fit_head", KeyboardInterrupt),
        ("judged", KeyboardInterrupt),
        ("save", KeyboardInterrupt),
        ("save", OSError),
        ("store_run", KeyboardInterrupt),
        ("put_into_use", KeyboardInterrupt),
    ],
)
@pytest.mark.usefixtures("clean_heads")
def test_an_interruption_or_a_full_disk_leaves_nothing_half_registered(
    study: Study, monkeypatch: pytest.MonkeyPatch, point: str, error: type[BaseException]
) -> None:
    judge(study, raters=8)

    def broken(*given: Any, **options: Any) -> None:
        raise error("No space left on device")

    target: Any = snapshot.Snapshot if point == "save" else retraining
    with monkeypatch.context() as patched:
        patched.setattr(target, point, broken)
        with pytest.raises(CommandError, match="Interrupted" if error is KeyboardInterrupt else "No space left"):
            retrain()
    assert not TrainingRun.objects.exists()
    assert HeadVersion.objects.count() == 1
    assert current().number == 0
    assert left_over() == []
    assert Attempt.objects.get().outcome == ("interrupted" if error is KeyboardInterrupt else "failed")
    retrain()
    assert current().number == 1, "the next one finds the lock free"


@pytest.mark.usefixtures("clean_heads")
def test_a_disk_that_fills_while_the_weights_are_written_leaves_nothing(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge(study, raters=8)
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.name == "config.json":
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(CommandError, match="No space left on device"):
        retrain()
    assert left_over() == []


# -- the command ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("clean_heads")
def test_a_dry_run_judges_and_registers_nothing(study: Study) -> None:
    judge(study, raters=8)
    printed = retrain("--dry-run", "--json")
    told = json.loads(printed)
    assert (told["outcome"], told["verdict"], told["head"]) == ("dry", "promote", None)
    assert told["gate"]["scores"][0]["log_loss"] < told["gate"]["scores"][1]["log_loss"]
    assert not TrainingRun.objects.exists()
    assert HeadVersion.objects.count() == 1
    assert left_over() == []


def test_the_json_names_run_and_head(study: Study) -> None:
    judge(study, raters=8)
    told = json.loads(retrain("--json"))
    run = TrainingRun.objects.get()
    assert (told["run"], told["head"], told["sha256"]) == (run.pk, 1, current().sha256)
    assert told["snapshot"] == run.snapshot_sha256


def test_retraining_reads_cached_features_and_never_runs_the_model(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    from inference.core import feature_cache

    judge(study, raters=8)

    def forbidden(*args: Any) -> Any:
        raise AssertionError("a cached feature was computed again")

    monkeypatch.setattr(feature_cache, "text_features", forbidden)
    retrain()
    assert TrainingRun.objects.exists()


def trl_file(path: Path, study: Study) -> Path:
    call_command("export_preferences", "--study", study.slug, "--format", "trl", "--out", str(path))
    return path


@pytest.mark.usefixtures("clean_heads")
def test_files_teach_alone_or_beside_a_study(study: Study, tmp_path: Path) -> None:
    judge(study, raters=8)
    path = trl_file(tmp_path / "preferences.jsonl", study)
    call_command("retrain", "--from", f"trl:{path}", stdout=StringIO())
    alone = latest()
    assert alone.judgement_ids == []
    assert alone.files[0]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert not alone.studies.exists()
    retrain("--from", f"trl:{path}")
    both = latest()
    assert list(both.studies.all()) == [study]
    assert both.metrics["fit"]["judgements"] == 2 * alone.metrics["fit"]["judgements"]
    assert both.metrics["fit"]["problems"] == alone.metrics["fit"]["problems"], (
        "a problem keeps its name and its side"
    )
    snapshot_file = heads.folder() / both.head_version.sha256 / f"snapshot-{both.snapshot_sha256}.jsonl"
    assert len(snapshot_file.read_text().splitlines()) == len(both.judgement_ids) + alone.files[0]["pairs"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("parquet:x", "FORMAT is one of"),
        ("trl:/nowhere/x.jsonl", "/nowhere/x.jsonl"),
        ("trl:{path}", "line 1"),
    ],
)
def test_files_that_cannot_be_read_are_refused(db: None, tmp_path: Path, given: str, said: str) -> None:
    (tmp_path / "bad.jsonl").write_text("no json\n")
    with pytest.raises(CommandError, match=said):
        call_command("retrain", "--from", given.format(path=tmp_path / "bad.jsonl"))
    assert Attempt.objects.get().outcome == "refused"
