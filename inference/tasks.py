"""Celery's side of the queue. A task carries only an id: everything else is read from the rows."""

from celery import shared_task


@shared_task(name="inference.make", queue="inference")
def make(trace_id: int) -> None:
    """Make what trace `trace_id` still lacks. Safe to run twice, at once or again: the claim refuses the second."""
    from inference import worker

    worker.work_on(trace_id)
