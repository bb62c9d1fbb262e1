from __future__ import annotations

from collections import Counter
from io import StringIO
from random import Random
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import override_settings

from studies import tastes
from studies.models import Assignment, CheckAnswer, CheckItem, Judgement, Prediction, Rater, Study
from studies.tastes import Habits, Shown


def simulate(study: Study, url: str, *arguments: str) -> str:
    out = StringIO()
    call_command("simulate_raters", "--study", study.slug, "--url", url, *arguments, stdout=out)
    return out.getvalue()


def everything(make_study: Any, **fields: Any) -> Study:
    """A study that asks all that can be asked."""
    study: Study = make_study(
        problems=6,
        wanted=3,
        arms=("inverse", "self_explain"),
        levels=7,
        criteria=["clarity", "trust"],
        reason_tags=["clearer", "shorter"],
        simulation="forward",
        repeats=1,
        instructions="Read first.",
        **fields,
    )
    for purpose in ("practice", "gold"):
        CheckItem.objects.create(
            study=study, purpose=purpose, question="1 + 1?", answer="2", better="Because.", worse="Banana."
        )
    return study


@pytest.mark.django_db(transaction=True)
def test_robots_play_all_that_a_protocol_can_ask(make_study: Any, live_app: str) -> None:
    study = everything(make_study)
    printed = simulate(study, live_app, "--raters", "3", "--workers", "3", "--noise", "0", "--prefer", "longer")
    assert "No place is free." in printed
    assert Rater.objects.filter(instructed_at__isnull=False).count() == 3
    assert Counter(CheckAnswer.objects.values_list("item__purpose", "choice")) == {
        ("practice", "better"): 3,
        ("gold", "better"): 3,
    }
    assert Assignment.objects.filter(repeat_of__isnull=False).count() == 3
    assert Judgement.objects.count() == 3 * 7
    for judgement in Judgement.objects.all():
        assert judgement.criteria.keys() == {"clarity", "trust"}
        assert judgement.tags[0] in ("clearer", "shorter")
        assert judgement.strength in (1, 2, 3)
        assert judgement.active_seconds is not None
    assert Counter(Prediction.objects.values_list("when", flat=True)) == {"before": 18, "after": 18}


@pytest.mark.django_db(transaction=True)
@override_settings(RESERVATION_SECONDS=1)
def test_the_places_of_robots_that_left_go_to_others(make_study: Any, live_app: str) -> None:
    study = make_study(problems=8, wanted=4)
    arguments = ("--raters", "10", "--drop-out", "0.3", "--workers", "5", "--patience", "20")
    printed = simulate(study, live_app, *arguments)
    assert "No place is free." in printed
    assert [comparison.taken for comparison in study.comparisons.all()] == [4] * 8
    counted = Counter(Judgement.objects.current().values_list("assignment__comparison", flat=True))
    assert set(counted.values()) == {4}


@pytest.mark.django_db(transaction=True)
def test_robots_fail_where_a_page_lacks_a_button(make_study: Any, live_app: str, monkeypatch: Any) -> None:
    from studies.views.rater import asked

    monkeypatch.setattr(asked, "OTHERS", {name: asked.OTHERS[name] for name in ("both_bad",)})
    with pytest.raises(CommandError, match=r"/compare/ has no button for the answer 'cannot_judge'"):
        simulate(make_study(), live_app, "--raters", "1")


@pytest.mark.django_db(transaction=True)
def test_robots_fail_where_a_page_lacks_a_criterion(make_study: Any, live_app: str, monkeypatch: Any) -> None:
    from studies.views.rater import asked

    monkeypatch.setattr(asked, "criteria", lambda study, given: [])
    with pytest.raises(CommandError, match=r"no choice for the criterion trust: 'a', 'tie', 'b', 'both_bad'"):
        simulate(make_study(criteria=["trust"]), live_app, "--raters", "2", "--workers", "2")


@pytest.mark.parametrize("wrong", [("--drop-out", "1.5"), ("--raters", "0"), ("--workers", "x")])
def test_robots_refuse_what_cannot_be(study: Study, wrong: tuple[str, str]) -> None:
    with pytest.raises(CommandError, match=wrong[0]):
        simulate(study, "http://127.0.0.1:9", *wrong)


def shares(habits: Habits) -> dict[str | None, float]:
    shown, random = Shown("short", "a longer one", uuid4()), Random(0)
    seen = Counter(habits.side(shown, random) for _ in range(4000))
    return {side: count / 4000 for side, count in seen.items()}


@pytest.mark.django_db
def test_habits_are_the_shares_that_were_asked_for() -> None:
    assert shares(Habits(tastes.longer)) == {"b": 1.0}
    assert shares(Habits(tastes.longer, strength=0.7))["b"] == pytest.approx(0.7, abs=0.04)
    assert shares(Habits(tastes.longer, left_bias=0.4))["a"] == pytest.approx(0.4, abs=0.04)
    mixed = shares(Habits(tastes.longer, noise=0.25, left_bias=0.4))
    assert mixed[None] == pytest.approx(0.25, abs=0.04)
    assert mixed["a"] == pytest.approx(0.75 * 0.4, abs=0.04)


@pytest.mark.parametrize(
    ("left", "right", "liked"), [(99, 110, "a"), (110, 99, "b"), (101, 110, "tie"), (9, 9, "tie")]
)
def test_texts_of_nearly_the_same_length_are_a_tie(left, right, liked):
    shown = Shown("x" * left, "x" * right, uuid4())
    assert tastes.shorter(shown) == liked
    assert tastes.longer(shown) == {"a": "b", "b": "a", "tie": "tie"}[liked]
