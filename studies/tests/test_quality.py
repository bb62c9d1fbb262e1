"""Signals of care: each from rows, and none of them a verdict."""

from __future__ import annotations

import csv
from collections.abc import Callable
from itertools import product

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from studies import assignment, progress, quality
from studies.models import Assignment, CheckAnswer, CheckItem, Judgement, Rater, Study
from studies.tests import cast, pages

MakeStudy = Callable[..., Study]


def answer(rater: Rater, number: int, choice: str, left: bool = True, **fields: object) -> Judgement:
    """An answer to the comparison at place `number`, written as rows."""
    comparison = rater.study.comparisons.get(position=number)
    row = Assignment.objects.create(comparison=comparison, rater=rater, first_on_left=left, number=number + 1)
    return Judgement.objects.create(assignment=row, revision=1, choice=choice, **fields)


def repeat(first: Judgement, number: int, choice: str) -> None:
    old = first.assignment
    row = Assignment.objects.create(
        comparison=old.comparison, rater=old.rater, first_on_left=not old.first_on_left, repeat_of=old, number=number
    )
    Judgement.objects.create(assignment=row, revision=1, choice=choice)


def check(rater: Rater, choice: str, purpose: str = "gold") -> None:
    item = CheckItem.objects.create(
        study=rater.study, purpose=purpose, question="?", answer="!", better="b", worse="w"
    )
    CheckAnswer.objects.create(
        item=item, rater=rater, better_on_left=True, choice=choice, answered_at=timezone.now() if choice else None
    )


@pytest.fixture
def rater(make_study: MakeStudy) -> Rater:
    return assignment.enrol(make_study(problems=12, fast_seconds=3))


def signals(rater: Rater) -> quality.Signals:
    return next(one for one in quality.of_study(rater.study) if one.rater == rater)


def test_a_rater_without_answers_has_no_shares_and_no_concern(rater: Rater) -> None:
    found = signals(rater)
    assert (found.answers, found.fast, found.seconds, found.run_chance) == (0, None, None, None)
    assert (found.repeats.answered, found.concern) == (0, 0)


def test_gold_counts_what_was_answered_and_practice_does_not(rater: Rater) -> None:
    for choice in ("better", "worse", "tie", ""):
        check(rater, choice)
    check(rater, "worse", purpose="practice")
    found = signals(rater)
    assert (found.gold_passed, found.gold_failed) == (1, 2)
    assert found.concerns == ["2 failed gold"]


def test_repeats_are_the_same_when_the_arm_is_whatever_the_side(rater: Rater) -> None:
    first, second = answer(rater, 0, "first"), answer(rater, 1, "tie")
    repeat(first, 20, "first")
    repeat(second, 21, "second")
    assert signals(rater).repeats == quality.Repeats(same=1, answered=2)
    assert "repeats differ" not in signals(rater).concerns, "a half is not below a half"


def test_a_repeat_of_an_answer_taken_back_is_not_compared(rater: Rater) -> None:
    first = answer(rater, 0, "first")
    repeat(first, 20, "second")
    Judgement.objects.create(assignment=first.assignment, revision=2, choice="undone")
    assert signals(rater).repeats.answered == 0


def test_fast_is_by_active_time_where_it_is_known(rater: Rater) -> None:
    answer(rater, 0, "tie", seconds=60, active_seconds=2.9)
    answer(rater, 1, "tie", seconds=60, active_seconds=3)
    answer(rater, 2, "tie", seconds=1)
    answer(rater, 3, "tie")
    found = signals(rater)
    assert found.fast == pytest.approx(2 / 3)
    assert found.seconds == 2.9
    assert "often fast" in found.concerns


def test_a_run_is_of_sides_not_of_arms(rater: Rater) -> None:
    for number in range(10):
        left = number % 2 == 0
        answer(rater, number, "first" if left else "second", left=left)
    found = signals(rater)
    assert found.run == 10
    assert found.run_chance == pytest.approx(2 / 2**10)
    assert "one side" in found.concerns


def test_choosing_one_arm_on_changing_sides_is_no_run(rater: Rater) -> None:
    for number in range(10):
        answer(rater, number, "first", left=number % 2 == 0)
    assert (signals(rater).run, signals(rater).concerns) == (1, [])


@pytest.mark.parametrize("tosses", [1, 2, 5, 9])
def test_the_chance_of_a_run_is_that_of_counting_all_sequences(tosses: int) -> None:
    runs = [quality.longest_run("".join(sides)) for sides in product("lr", repeat=tosses)]
    for length in range(1, tosses + 2):
        share = sum(run >= length for run in runs) / len(runs)
        assert quality.chance_of_run(length, tosses) == pytest.approx(share, abs=1e-12)


@pytest.mark.parametrize(("sides", "run"), [([], 0), ([""], 0), (["l", "", "l", "l"], 2), (["r", "r", "l"], 2)])
def test_an_answer_without_a_side_ends_a_run(sides: list[str], run: int) -> None:
    assert quality.longest_run(sides) == run


def test_pastes_are_counted_and_marked(rater: Rater) -> None:
    answer(rater, 0, "tie", pasted=True)
    answer(rater, 1, "tie", pasted=False)
    answer(rater, 2, "tie")
    assert (signals(rater).pastes, signals(rater).concerns) == (1, ["pasted"])


def test_only_current_answers_count_and_withdrawn_raters_are_left_out(rater: Rater) -> None:
    changed = answer(rater, 0, "first", active_seconds=1)
    Judgement.objects.create(assignment=changed.assignment, revision=2, choice="second", active_seconds=20)
    assert (signals(rater).answers, signals(rater).fast) == (1, 0)
    Rater.objects.update(withdrawn_at=timezone.now())
    assert quality.of_study(rater.study) == []


def test_signals_reject_nobody(rater: Rater) -> None:
    for _ in range(3):
        check(rater, "worse")
    signals(rater)
    rater.refresh_from_db()
    assert rater.rejected_at is None


def test_the_signals_of_all_raters_take_as_many_queries_as_of_one(
    rater: Rater, django_assert_num_queries: Callable[..., object]
) -> None:
    for one in [rater, *(assignment.enrol(rater.study) for _ in range(5))]:
        answer(one, 0, "first")
        check(one, "worse")
    with django_assert_num_queries(3):
        assert len(quality.of_study(rater.study)) == 6


# -- The page -----------------------------------------------------------------------------------------------------


@pytest.fixture
def doubtful(rater: Rater) -> Rater:
    """A second rater, with much to look at; `rater` has an answer and nothing else."""
    answer(rater, 0, "tie", active_seconds=30)
    other = assignment.enrol(rater.study, participant="<b>p2</b>")
    answer(other, 0, "tie", active_seconds=1, pasted=True)
    check(other, "worse")
    return other


def page(client: Client, study: Study, sort: str = "") -> list[int]:
    response = client.get(reverse("studies:raters", args=[study.slug]), {"sort": sort})
    assert response.status_code == 200
    return [one.rater.pk for one in response.context["signals"]]


def test_the_page_shows_the_most_concerning_first_and_sorts(
    rater: Rater, doubtful: Rater, staff_client: Client
) -> None:
    assert page(staff_client, rater.study) == [doubtful.pk, rater.pk]
    assert page(staff_client, rater.study, "seconds") == [doubtful.pk, rater.pk]
    assert page(staff_client, rater.study, "nonsense") == [doubtful.pk, rater.pk]
    answer(rater, 1, "tie")
    assert page(staff_client, rater.study, "answers") == [rater.pk, doubtful.pk]


def test_the_page_shows_what_a_panel_sent_as_text(doubtful: Rater, staff_client: Client) -> None:
    html = staff_client.get(reverse("studies:raters", args=["demo"])).content.decode()
    assert "&lt;b&gt;p2&lt;/b&gt;" in html
    assert "1 failed gold, often fast, pasted" in html
    assert "Nobody is rejected by them" in html


def test_the_download_has_a_line_for_each_rater(rater: Rater, doubtful: Rater, staff_client: Client) -> None:
    Rater.objects.filter(pk=doubtful.pk).update(participant="=1+1")
    response = staff_client.get(reverse("studies:raters_csv", args=["demo"]))
    rows = list(csv.DictReader(b"".join(response).decode().splitlines()))
    assert [row["rater"] for row in rows] == [str(doubtful.pk), str(rater.pk)]
    assert (rows[0]["participant"], rows[0]["gold_failed"], rows[0]["fast_share"]) == ("'=1+1", "1", "1.0")


@pytest.mark.parametrize("name", ["raters", "raters_csv", "invites_csv"])
def test_strangers_and_unpermitted_colleagues_see_nothing(study: Study, name: str) -> None:
    address = reverse(f"studies:{name}", args=[study.slug])
    assert Client().get(address).status_code == 302
    colleague = Client()
    colleague.force_login(cast.make_researcher("colleague", permitted=False))
    assert colleague.get(address).status_code == 403


def test_the_results_page_leads_to_the_raters(study: Study, staff_client: Client) -> None:
    html = staff_client.get(reverse("studies:results", args=[study.slug])).content.decode()
    assert reverse("studies:raters", args=[study.slug]) in html


def test_the_progress_says_how_many_are_left_and_about_how_long(make_study: MakeStudy) -> None:
    study = make_study(problems=6, break_after=2)
    client = pages.consent(study)
    where = pages.compare(client, study).context["progress"]
    assert (where.left, where.minutes_left, where.break_due) == (6, None, False)
    rater = pages.rater_of(client, study)
    other = assignment.enrol(study)
    for number in range(5):
        answer(other, number, "tie", active_seconds=(60, 60, 90, 600, 60)[number])
    cache.clear()
    assert pages.compare(client, study).context["progress"].minutes_left == 6, "the study's median: a minute each"
    Assignment.objects.filter(rater=rater).delete()
    for number, seconds in enumerate((2, 900, 30)):
        answer(rater, number, "tie", active_seconds=seconds)
    where = pages.compare(client, study).context["progress"]
    assert (where.left, where.minutes_left, where.break_due) == (3, 2, False), "the own median: half a minute each"
    Assignment.objects.filter(rater=rater, judgements=None).delete()
    answer(rater, 3, "tie")
    assert progress.for_rater(rater).break_due
