"""What `make run` shows: a study that goes through everything a rater can meet."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import call_command
from django.test import Client

from studies import protocol, quality
from studies.models import Assignment, CheckAnswer, Judgement, Study
from studies.tests import cast, pages


@pytest.fixture
def demo(db: None) -> Study:
    call_command("setup_demo", stdout=StringIO())
    study = Study.objects.get(slug="demo")
    cast.make_all_ready(study)
    return study


def test_the_demo_can_be_set_up_twice(demo: Study) -> None:
    call_command("setup_demo", stdout=StringIO())
    assert Study.objects.get() == demo
    assert protocol.faults(demo) == []


def test_a_rater_of_the_demo_meets_instructions_practice_gold_and_a_repeat(demo: Study) -> None:
    client: Client = pages.consent(demo)
    met = []
    for _ in range(40):
        page = pages.compare(client, demo)
        if page.context.get("status"):
            break
        answered = pages.answer(client, page, "a1")
        met.append("feedback" if "rater/feedback.html" in [t.name for t in answered.templates] else "comparison")
    assert met == ["feedback", "feedback", *["comparison"] * (demo.rater_limit + 1 + 1)]
    assert sorted(CheckAnswer.objects.values_list("item__purpose", flat=True)) == ["gold", "practice", "practice"]
    assert Assignment.objects.filter(repeat_of__isnull=False).count() == 1
    assert Judgement.objects.count() == demo.rater_limit + 1
    assert page.context["progress"].done == page.context["progress"].limit


@pytest.mark.django_db(transaction=True)
def test_robots_play_the_demo_as_the_readme_says(live_app: str) -> None:
    call_command("setup_demo", stdout=StringIO())
    demo = Study.objects.get(slug="demo")
    cast.make_all_ready(demo)
    arguments = ("--study", "demo", "--raters", "2", "--prefer", "shorter", "--url", live_app)
    call_command("simulate_raters", *arguments, stdout=StringIO())
    found = quality.of_study(demo)
    assert [one.answers for one in found] == [demo.rater_limit + 1] * 2
    assert [(one.gold_given, one.repeats.answered) for one in found] == [(1, 1)] * 2
