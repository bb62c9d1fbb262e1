"""What the admin shows of a training run and of a head version: charts, tables, and the lineage with its links."""

from __future__ import annotations

from typing import Any

from django.db.models import Q
from django.urls import reverse
from django.utils.http import urlencode

from inference.models import HeadVersion, Promotion
from training import charts, lineage
from training.models import TrainingRun


def of_run(run: TrainingRun) -> dict[str, Any]:
    """The context of a run's page. Runs of earlier versions of the gate have no charts."""
    head = run.head_version
    shown = charts_of(run.metrics) if "fit" in run.metrics else {}
    return {
        "run": run,
        "studies": [(study, judgements_of(study.pk)) for study in run.studies.all()],
        "judgements": len(run.judgement_ids),
        "withdrawn": lineage.withdrawn(run),
        "line": lineage.line(head) if head else None,
        "explanations": explanations_by(head) if head else "",
        **shown,
    }


def charts_of(metrics: dict[str, Any]) -> dict[str, Any]:
    fit, tested, slices = metrics["fit"], metrics["reliability"], metrics.get("slices", [])
    scores = [(score["name"], score["accuracy"]) for score in metrics["scores"] if score["accuracy"]]
    return {
        "metrics": metrics,
        "scores": metrics["scores"],
        "guards": metrics["guards"],
        "fit": fit,
        "slices": slices,
        "accuracy": charts.accuracy_chart(scores),
        "by_slice": charts.accuracy_chart([(row["name"], row["accuracy"]) for row in slices]),
        "curve": charts.learning_curve(fit["curve"]),
        "reliability": tested,
        "diagram": charts.reliability_diagram(tested["bins"]) if tested else None,
        "surface": charts.weight_chart(fit["surface"]),
    }


def of_head(head: HeadVersion) -> dict[str, Any]:
    """The context of a head's page."""
    moved = Promotion.objects.filter(Q(to_head=head) | Q(from_head=head)).select_related("from_head", "to_head")
    line = lineage.line(head)
    return {
        "head": head,
        "line": line,
        "flag": lineage.flag(line.withdrawn, line.judgements),
        "runs": head.training_runs.all(),
        "promotions": moved,
        "explanations": explanations_by(head),
        "can_roll_back": "current" in line.aliases and previous_of(head) is not None,
        "can_promote": "current" not in line.aliases,
    }


def previous_of(head: HeadVersion) -> HeadVersion | None:
    return HeadVersion.objects.called("previous", head.base_model, head.base_revision)


def explanations_by(head: HeadVersion) -> str:
    return listed("inference_explanation", head_version__id__exact=head.pk)


def judgements_of(study: int) -> str:
    return listed("studies_judgement", assignment__comparison__study__id__exact=study)


def listed(model: str, **filters: Any) -> str:
    """The address of a filtered list of the admin."""
    return f"{reverse(f'admin:{model}_changelist')}?{urlencode(filters)}"
