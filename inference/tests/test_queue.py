from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from inference import heads, queue
from inference.models import Explainer, Explanation, Problem, ProblemSet, Trace

NOW = timezone.now()
OF_DEFAULT = {"model": "smollm2-135m-instruct", "revision": ""}  # as the tests set SAGE_MODEL


@pytest.fixture
def problem(db: None) -> Problem:
    some = ProblemSet.objects.create(slug="some", name="Some")
    return Problem.objects.create(
        problem_set=some, key="p1", position=0, kind="maths", question="2 + 2?", options=["3", "4"], gold=1
    )


@pytest.fixture
def inverse(db: None) -> Explainer:
    return Explainer.objects.create(name="inverse", method="inverse")


@pytest.fixture
def trace(problem: Problem, inverse: Explainer) -> Trace:
    return queue.ask(problem, inverse, queue.head_of(inverse)).trace


def test_asking_twice_makes_one_row(problem: Problem, inverse: Explainer) -> None:
    assert queue.ask(problem, inverse, queue.head_of(inverse)) == queue.ask(problem, inverse, queue.head_of(inverse))
    assert Trace.objects.count() == Explanation.objects.count() == 1


def test_a_new_head_means_a_new_explanation_of_the_same_trace(problem: Problem, inverse: Explainer) -> None:
    before = queue.ask(problem, inverse, queue.head_of(inverse))
    heads.promote(heads.register("0" * 64, OF_DEFAULT), "better", "kim")
    after = queue.ask(problem, inverse, queue.head_of(inverse))
    assert after != before
    assert after.trace == before.trace
    assert (before.head_version.number, after.head_version.number) == (0, 1)


def test_only_one_worker_holds_a_trace(trace: Trace) -> None:
    other = Trace.objects.get()
    assert queue.claim(trace, at=NOW)
    assert not queue.claim(other, at=NOW + timedelta(seconds=30))


def test_a_lease_that_ran_out_is_taken_over_and_the_first_worker_stores_nothing(trace: Trace) -> None:
    other = Trace.objects.get()
    queue.claim(trace, at=NOW)
    assert queue.claim(other, at=NOW + 2 * queue.LEASE)
    explanation = trace.explanations.get()
    explanation.text, explanation.made_at = "late", NOW
    with pytest.raises(queue.LostLeaseError):
        queue.store_explanation(trace, explanation)
    with pytest.raises(queue.LostLeaseError):
        queue.renew(trace, "late")
    assert Explanation.objects.pending().count() == 1


def test_renewing_keeps_the_lease(trace: Trace) -> None:
    other = Trace.objects.get()
    queue.claim(trace, at=NOW)
    queue.renew(trace, "resampling", at=NOW + timedelta(seconds=50))
    assert not queue.claim(other, at=NOW + timedelta(seconds=100))
    assert Trace.objects.get().stage == "resampling"


def test_a_finished_trace_has_no_work(trace: Trace) -> None:
    queue.claim(trace, at=NOW)
    explanation = trace.explanations.get()
    explanation.text, explanation.made_at = "because", NOW
    queue.store_explanation(trace, explanation)
    queue.release(trace, finished=True)
    assert not queue.waiting().exists()
    assert not queue.sweep()


def test_an_interrupted_trace_waits_again_without_a_lost_attempt(trace: Trace) -> None:
    queue.claim(trace, at=NOW)
    queue.release(trace, finished=False)
    assert queue.waiting().get().attempts == 0
    assert queue.sweep()


def test_a_trace_that_kills_its_workers_fails_with_a_reason(trace: Trace) -> None:
    at = NOW
    for _ in range(queue.ATTEMPTS):
        assert queue.claim(trace, at=at)
        at += 2 * queue.LEASE
    assert not queue.sweep(at)
    assert "stopped 3 times" in Explanation.objects.failed().get().error


def test_retry_puts_a_failed_explanation_back(trace: Trace) -> None:
    trace.explanations.update(failed_at=NOW, error="an empty chain")
    Trace.objects.update(attempts=queue.ATTEMPTS)
    assert queue.retry(Explanation.objects.failed()) == 1
    assert queue.waiting().get() == trace
