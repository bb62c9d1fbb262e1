"""Celery's side of the trigger policy. A message is only a bell: whether it is time is read from the rows."""

import logging

from celery import shared_task

log = logging.getLogger(__name__)


@shared_task(name="training.retrain")  # type: ignore[untyped-decorator]  # celery is untyped
def retrain() -> None:
    """Retrain if the policy still says so. Safe to run at any time, twice and at once."""
    from training import policy, retraining

    trigger = policy.due()
    if trigger:
        retraining.retrain_by_policy(trigger, policy.wanted_studies())
