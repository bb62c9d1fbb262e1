"""Withdrawing: the one place that deletes what a rater gave, or cuts it from the person, by the study's rule."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from django.db import transaction
from django.utils import timezone

from inference.events import announce
from studies import assignment
from studies.models import Assignment, CheckAnswer, Invite, Judgement, Rater, Study


def withdraw(rater: Rater, at: datetime | None = None) -> None:
    """End this rater's part for good. Asked twice, it is done once.

    *Erase* deletes every answer and gives their places back, so that others are asked instead. *Anonymise* keeps the
    choices under a rater that nobody can be found by, and deletes what the person wrote. Either way nothing that
    the panel or an invitation knew remains; a row with the dates of the receipt does.
    """
    at = at or timezone.now()
    with transaction.atomic():
        row = Rater.objects.select_for_update().get(pk=rater.pk)
        if row.withdrawn_at:
            return
        # An answer that another tab is storing right now is waited for, so that it goes the way of the others.
        list(Assignment.objects.select_for_update().filter(rater=row).values_list("pk"))
        if row.study.withdrawal == Study.Withdrawal.ERASE:
            assignment.erase(row)
        else:
            anonymise(row)
        leave_a_receipt(row, at)
        transaction.on_commit(partial(announce, f"study.{row.study_id}", "study.changed"), robust=True)


def anonymise(rater: Rater) -> None:
    """The answers go to a rater without a past. People can be known by what they write, so that is deleted."""
    assignment.release_held(rater)
    given = Judgement.objects.filter(assignment__rater=rater)
    given.update(reason="", viewport="", client_key=None)
    for judgement in given.exclude(spans=[]):
        judgement.spans = [span | {"comment": ""} for span in judgement.spans]
        judgement.save(update_fields=("spans",))
    nobody = Rater.objects.create(
        study=rater.study,
        seed=rater.seed,
        consented_at=day_of(rater.consented_at),
        consent_sha256=rater.consent_sha256,
        instructed_at=rater.instructed_at and day_of(rater.instructed_at),
        finished_at=rater.finished_at and day_of(rater.finished_at),
        rejected_at=rater.rejected_at and day_of(rater.rejected_at),
    )
    Assignment.objects.filter(rater=rater).update(rater=nobody)
    CheckAnswer.objects.filter(rater=rater).update(rater=nobody)


def leave_a_receipt(rater: Rater, at: datetime) -> None:
    """Only the days, so that the receipt cannot be laid beside the times of answers that were kept."""
    Invite.objects.filter(rater=rater).update(expires_at=at)  # withdrawing is what uses a personal link up
    rater.invite, rater.participant, rater.panel_session, rater.seed = None, "", "", 0
    rater.consented_at, rater.withdrawn_at = day_of(rater.consented_at), day_of(at)
    rater.instructed_at = rater.finished_at = rater.rejected_at = None
    rater.save()


def day_of(at: datetime) -> datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0)
