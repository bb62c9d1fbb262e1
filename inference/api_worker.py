"""The worker's part for method api: a server writes chain and explanation, and no model is loaded."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.utils import timezone

from inference import core, models, queue
from inference.claimed import fail, keep, until_answered
from inference.core.api import ApiRun, api_provenance
from inference.core.conversation import Conversation
from inference.core.endpoint import Endpoint
from inference.core.records import Progress, Trace


def endpoint() -> Endpoint:
    """The server of method api, as the settings have it. Raises ValueError where they cannot be used."""
    return Endpoint(
        url=settings.SAGE_API_URL,
        key=settings.SAGE_API_KEY,
        sends=tuple(settings.SAGE_API_SENDS),
        timeout=settings.SAGE_API_TIMEOUT,
        retries=settings.SAGE_API_RETRIES,
        budget=settings.SAGE_API_BUDGET,
    )


def make_by_api(row: models.Trace, server: Endpoint, progress: Progress) -> None:
    """Chain and explanation come from one run, whose transcript stays with the trace. Nothing local has a part in it.

    No features are kept: there is no local model whose head could be meant. Retraining reads the texts when it needs
    them, with the model that it fits a head for.
    """
    run = run_of(row, server, progress)
    for explanation in row.explanations.pending().select_related("explainer"):
        explainer = explanation.explainer
        if explainer.method != models.Explainer.Method.API:
            fail(row, explanation, f"{explainer} is of method {explainer.method}, and this chain is a server's.")
            continue
        explanation.text, explanation.made_at = run.text(explainer.says), timezone.now()
        told = {name: value for name, value in row.provenance.items() if name not in ("transcript", "failed_seeds")}
        explanation.provenance = {**told, "says": explainer.says}
        queue.store_explanation(row, explanation)


def run_of(row: models.Trace, server: Endpoint, progress: Progress) -> ApiRun:
    """The run of a trace, made unless it was made before; then it is read from the row.

    Whatever ends it, the calls that were answered stay in the row's transcript: they are paid, and the budget counts
    them when the trace is taken up again.
    """
    if row.made_at:
        return ApiRun(Trace.from_json(row.record), row.provenance["transcript"][-1]["text"].strip())
    earlier = row.provenance.get("transcript", [])
    conversation = Conversation(server, row.model.removeprefix(queue.API), earlier=earlier)

    def made_by() -> dict[str, Any]:
        return api_provenance(conversation)

    try:
        run, failed_seeds = until_answered(
            row, lambda problem, chosen: core.explain_api(conversation, problem, chosen, progress), made_by
        )
    except Exception:
        if conversation.exchanges:
            row.provenance = {**made_by(), "failed_seeds": row.provenance.get("failed_seeds", [])}
            queue.store_trace(row)
        raise
    keep(row, run.trace, {**made_by(), "failed_seeds": failed_seeds})
    return run
