from __future__ import annotations

import pytest
from django.conf import settings

from inference import heads
from inference.models import Explainer, Explanation, HeadVersion, Trace
from studies import launch
from studies.models import Arm, CheckItem, Study
from studies.tests import cast


@pytest.fixture
def draft(db: None) -> Study:
    study = Study.objects.create(slug="draft", title="Draft", problem_set=cast.make_problem_set(8), chain_shown=False)
    for method in ("inverse", "chain", "self_explain"):
        cast.make_arm(study, method)
    return study


def test_launch_asks_for_explanations_and_lays_out_comparisons(draft: Study) -> None:
    launch.launch(draft)
    assert Trace.objects.count() == 8
    assert Explanation.objects.pending().count() == 24
    assert draft.comparisons.count() == 24
    assert {c.wanted for c in draft.comparisons.all()} == {draft.judgements_wanted}
    assert all(c.first.trace_id == c.second.trace_id for c in draft.comparisons.select_related("first", "second"))


def test_only_inverse_explanations_name_a_head(draft: Study) -> None:
    launch.launch(draft)
    heads = {e.explainer.method: e.head_version for e in Explanation.objects.select_related("explainer")}
    assert heads == {"inverse": HeadVersion.objects.get(number=0), "chain": None, "self_explain": None}


def test_the_problem_limit_spreads_over_the_kinds(draft: Study) -> None:
    draft.problem_limit = 4
    draft.save()
    launch.launch(draft)
    assert {c.problem.kind for c in draft.comparisons.all()} == {"maths", "logic", "commonsense", "ethics"}


def test_a_study_is_launched_once(draft: Study) -> None:
    launch.launch(draft)
    with pytest.raises(launch.NotLaunchable, match="was launched on"):
        launch.launch(draft)
    assert draft.comparisons.count() == 24


def test_one_arm_is_not_enough(draft: Study) -> None:
    Arm.objects.filter(study=draft).exclude(name="inverse").delete()
    with pytest.raises(launch.NotLaunchable, match="has 1 arm"):
        launch.launch(draft)


def test_a_chain_among_the_arms_is_not_shown_above_them(draft: Study) -> None:
    draft.chain_shown = True
    draft.save()
    with pytest.raises(launch.NotLaunchable, match="chain shown"):
        launch.launch(draft)


def test_arms_must_explain_the_same_answer(draft: Study) -> None:
    Explainer.objects.filter(method="chain").update(seed=7)
    with pytest.raises(launch.NotLaunchable, match="same answer"):
        launch.launch(draft)
    assert not Explanation.objects.exists()


def api_arms(study: Study, *says: str) -> None:
    for one in says:
        explainer = Explainer.objects.create(name=f"api-{one}", method="api", model=settings.SAGE_MODEL, says=one)
        Arm.objects.create(study=study, name=explainer.name, explainer=explainer)


def test_chain_and_explanation_of_one_server_are_about_the_same_answer(draft: Study) -> None:
    draft.arms.all().delete()
    api_arms(draft, "chain", "explanation")
    launch.launch(draft)
    assert Trace.objects.count() == 8
    assert set(Trace.objects.values_list("model", flat=True)) == {f"api:{settings.SAGE_MODEL}"}
    assert Explanation.objects.filter(head_version=None).count() == 16


def test_a_server_beside_a_local_model_of_the_same_name_is_refused(draft: Study) -> None:
    api_arms(draft, "explanation")
    with pytest.raises(launch.NotLaunchable, match="same answer"):
        launch.launch(draft)
    assert not Trace.objects.exists()


def test_the_chain_of_a_server_is_not_shown_above_itself_either(draft: Study) -> None:
    draft.arms.all().delete()
    api_arms(draft, "chain", "explanation")
    draft.chain_shown = True
    draft.save()
    with pytest.raises(launch.NotLaunchable, match="chain shown"):
        launch.launch(draft)


def test_the_default_model_may_be_named_or_left_out(draft: Study) -> None:
    Explainer.objects.filter(method="chain").update(model=settings.SAGE_MODEL)
    launch.launch(draft)
    assert Trace.objects.count() == 8


def test_a_copy_reuses_what_does_not_depend_on_the_head(draft: Study) -> None:
    launch.launch(draft)
    heads.promote(heads.register("0" * 64, {"model": settings.SAGE_MODEL, "revision": ""}), "better", "kim")
    again = launch.copy(draft, "draft-2")
    launch.launch(again)
    assert Trace.objects.count() == 8
    assert Explanation.objects.filter(explainer__method="chain").count() == 8
    assert Explanation.objects.filter(head_version__number=1).count() == 8


def test_a_copy_has_the_whole_protocol_and_its_checks(draft: Study) -> None:
    """Every field of a study is either its own or changed here and found again in the copy."""
    changed = {
        "title": "T", "problem_limit": 2, "language": "de", "question": "Q?", "consent_text": "C",
        "instructions": "I",
        "levels": 7, "criteria": ["clarity"], "reason_tags": ["short"], "answer_shown": False, "chain_shown": True,
        "simulation": "forward", "judgements_wanted": 9, "rater_limit": 8, "seed": 7, "repeats": 2, "fast_seconds": 6,
        "reject_failed_checks": True, "pastes_noted": True, "withdrawal": "anonymise", "pay": "P", "break_after": 5,
        "invited_only": True, "panel": "other", "return_url": "https://p.example/", "code_complete": "1",
        "code_screened_out": "2", "code_refused": "3", "code_failed_checks": "4",
    }  # fmt: skip
    fields = {field.name for field in Study._meta.concrete_fields}
    assert fields == set(changed) | launch.OWN | {"problem_set"}, "a new field belongs here or to launch.OWN"
    Study.objects.filter(pk=draft.pk).update(**changed)
    CheckItem.objects.create(study=draft, purpose="gold", question="?", answer="!", better="b", worse="w")
    draft.refresh_from_db()
    again = launch.copy(draft, "again")
    assert {name: getattr(again, name) for name in changed} == changed
    assert [item.better for item in again.check_items.all()] == ["b"]
    assert draft.check_items.count() == 1


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"panel": "prolific"}, "code complete”: Raters are sent back"),
        ({"reject_failed_checks": True}, "Two failed gold"),
        ({"repeats": 12}, "choose fewer repeats"),
    ],
)
def test_a_protocol_that_cannot_run_is_not_launched(draft: Study, fields: dict[str, object], reason: str) -> None:
    Study.objects.filter(pk=draft.pk).update(**fields)
    with pytest.raises(launch.NotLaunchable, match=reason):
        launch.launch(draft)
    assert not draft.comparisons.exists()


def test_a_simulation_needs_problems_with_options(draft: Study) -> None:
    Study.objects.filter(pk=draft.pk).update(simulation="forward")
    draft.problem_set.problems.update(options=[], gold=None)
    with pytest.raises(launch.NotLaunchable, match="no problem here has options"):
        launch.launch(draft)


def test_retry_asks_again_for_what_failed(make_study: object) -> None:
    study = cast.make_study(problems=2, ready=False)
    Explanation.objects.update(failed_at=study.launched_at, error="an empty chain")
    assert launch.retry_failed(study) == 4
    assert Explanation.objects.pending().count() == 4
    assert launch.retry_failed(study) == 0
