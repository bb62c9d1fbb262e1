"""Celery's side of the queue. A message is only a bell: which trace to work on is read from the rows."""

from celery import shared_task


@shared_task(name="inference.work")  # type: ignore[untyped-decorator]  # celery is untyped
def work() -> None:
    """Make what one waiting trace still lacks. Safe to run at any time, twice and at once: a claim decides.

    Whoever found work rings for the next trace: fewer bells than traces were rung, and the sweeper is slow.
    """
    from inference import queue, worker

    if worker.work_on_next():
        queue.ring()
