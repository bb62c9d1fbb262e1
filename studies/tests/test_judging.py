from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from studies import assignment, judging, progress
from studies.models import Judgement, Rater, Study


def last_of(rater: Rater) -> int:
    last = progress.for_rater(rater).last_judgement
    assert last is not None
    return last


@pytest.fixture
def given(study: Study) -> assignment.Assignment:
    row = assignment.next_for(assignment.enrol(study))
    assert row is not None
    return row


def test_an_answer_is_stored_with_its_reason(given: assignment.Assignment) -> None:
    later = given.assigned_at + timedelta(minutes=1)
    judging.record(given, "second", reason="clearer", seconds=12.5, at=later)
    stored = Judgement.objects.get()
    assert (stored.choice, stored.reason, stored.seconds, stored.revision) == ("second", "clearer", 12.5, 1)


def test_the_same_form_twice_is_refused(given: assignment.Assignment) -> None:
    judging.record(given, "first")
    with pytest.raises(judging.AlreadyJudged):
        judging.record(given, "second")
    assert Judgement.objects.get().choice == "first"


def test_a_form_from_before_an_undo_is_refused(given: assignment.Assignment) -> None:
    judging.record(given, "first")
    judging.undo(given.rater, last_of(given.rater))
    with pytest.raises(judging.AlreadyJudged):
        judging.record(given, "second", revision=1)
    judging.record(given, "second", revision=judging.next_revision(given))
    assert Judgement.objects.current().get().choice == "second"


def test_undo_adds_a_row_and_hands_the_comparison_out_again(given: assignment.Assignment) -> None:
    judging.record(given, "first")
    after = assignment.next_for(given.rater)
    assert judging.undo(given.rater, last_of(given.rater)) == given
    assert assignment.next_for(given.rater) == given
    assert list(Judgement.objects.values_list("revision", "choice")) == [(1, "first"), (2, "undone")]
    assert not Judgement.objects.current().exists()
    judging.record(given, "tie", revision=3)
    assert assignment.next_for(given.rater) == after


def test_an_undo_sent_twice_takes_back_one_answer(given: assignment.Assignment) -> None:
    judging.record(given, "first")
    second = assignment.next_for(given.rater)
    assert second is not None
    judging.record(second, "second")
    last = last_of(given.rater)
    judging.undo(given.rater, last)
    with pytest.raises(judging.AlreadyJudged):
        judging.undo(given.rater, last)
    assert Judgement.objects.current().get().assignment == given


def test_only_an_own_answer_can_be_taken_back(given: assignment.Assignment) -> None:
    judging.record(given, "first")
    with pytest.raises(judging.AlreadyJudged):
        judging.undo(assignment.enrol(given.rater.study), last_of(given.rater))
    assert Judgement.objects.get().choice == "first"


def test_no_time_is_longer_than_the_servers_own(given: assignment.Assignment) -> None:
    later = given.assigned_at + timedelta(seconds=20)
    stored = judging.record(given, "first", at=later, seconds=3600, active_seconds=1800, first_seconds=4)
    assert (stored.seconds, stored.active_seconds, stored.first_seconds) == (20, 20, 4)


def test_the_same_key_is_the_same_answer(given: assignment.Assignment) -> None:
    key = uuid4()
    first = judging.record(given, "first", client_key=key)
    assert judging.record(given, "second", client_key=key) == first
    with pytest.raises(judging.AlreadyJudged):
        judging.record(given, "second", client_key=uuid4())
    assert Judgement.objects.get().choice == "first"


def test_a_key_sent_again_after_an_undo_brings_the_old_answer_not_back(given: assignment.Assignment) -> None:
    key = uuid4()
    judging.undo(given.rater, judging.record(given, "first", client_key=key).pk)
    judging.record(given, "first", client_key=key)
    assert not Judgement.objects.current().exists()


def test_an_answer_is_only_changed_where_one_stands(given: assignment.Assignment) -> None:
    with pytest.raises(judging.AlreadyJudged):
        judging.answer(given, "first", changing=True)
    judging.record(given, "first")
    judging.answer(given, "second", revision=2, changing=True)
    assert list(Judgement.objects.values_list("revision", "choice")) == [(1, "first"), (2, "second")]
    assert Judgement.objects.current().get().choice == "second"
