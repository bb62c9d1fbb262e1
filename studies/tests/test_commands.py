from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from studies import assignment, statistics
from studies.models import Judgement, Study


def run(name: str, *arguments: str) -> str:
    out = StringIO()
    call_command(name, *arguments, stdout=out)
    return out.getvalue()


def test_rerun_study_launches_a_copy(study: Study) -> None:
    printed = run("rerun_study", study.slug, "demo-2")
    copy = Study.objects.get(slug="demo-2")
    assert copy.launched_at
    assert copy.comparisons.count() == study.comparisons.count()
    assert copy.token in printed
    assert copy.token != study.token


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere", "demo-2"), r"no study 'nowhere'. Studies: demo"),
        (("demo", "demo"), r"already is a study 'demo'"),
        (("demo", "de mo"), r"valid .slug."),
    ],
)
def test_rerun_study_refuses(study: Study, arguments: tuple[str, str], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        run("rerun_study", *arguments)
    assert Study.objects.count() == 1


@pytest.fixture
def live_study(live_app: str, make_study: Any) -> Study:
    return make_study(problems=6, wanted=5, slug="live")


@pytest.mark.django_db(transaction=True)
def test_robots_rate_through_the_real_pages(live_study: Study, live_app: str) -> None:
    printed = run("simulate_raters", "--study", "live", "--raters", "5", "--url", live_app, "--noise", "0")
    assert "5 robots gave 30 answers" in printed
    assert [comparison.taken for comparison in live_study.comparisons.all()] == [5] * 6
    for judgement in Judgement.objects.select_related(
        "assignment__comparison__first", "assignment__comparison__second"
    ):
        comparison = judgement.assignment.comparison
        shorter = "first" if len(comparison.first.text) < len(comparison.second.text) else "second"
        assert judgement.choice == shorter


@pytest.mark.django_db(transaction=True)
def test_robots_can_prefer_an_arm(live_study: Study, live_app: str) -> None:
    run(
        "simulate_raters",
        "--study",
        "live",
        "--raters",
        "2",
        "--url",
        live_app,
        "--noise",
        "0",
        "--prefer",
        "arm:chain",
    )
    result = statistics.results(live_study).pairs[0]
    winner = result.first if result.score == 1 else result.second
    assert (winner, result.n) == ("chain", 12)


def test_robots_say_what_they_can_prefer(study: Study) -> None:
    with pytest.raises(CommandError, match=r"It can prefer: shorter, longer, arm:inverse, arm:chain"):
        run("simulate_raters", "--study", "demo", "--prefer", "arm:other")


def test_robots_need_a_server(study: Study) -> None:
    with pytest.raises(CommandError, match=r"Nothing answers at http://127.0.0.1:9"):
        run("simulate_raters", "--study", "demo", "--url", "http://127.0.0.1:9")
    assert not assignment.Assignment.objects.exists()
