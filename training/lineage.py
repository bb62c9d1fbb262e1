"""What a head was made from, what it made, and whether what it was made from still stands. All by query."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import Count

from inference.models import HeadAlias, HeadVersion
from studies.models import Judgement
from training.models import TrainingRun


@dataclass(frozen=True)
class Line:
    """One head version with all that a list of heads shows. `withdrawn` judgements were used but do not stand now."""

    head: HeadVersion
    aliases: tuple[str, ...]
    run: TrainingRun | None
    judgements: int
    withdrawn: int
    explanations: int

    @property
    def called(self) -> str:
        return ", ".join(self.aliases)


def withdrawn(run: TrainingRun) -> list[int]:
    """Ids of judgements that the run used and that do not stand any more: taken back, changed since, or deleted with
    their rater.
    """
    of_studies = Judgement.objects.comparing().filter(assignment__comparison__study__in=run.studies.all())
    return sorted(set(run.judgement_ids) - set(of_studies.values_list("pk", flat=True)))


def standing() -> set[int]:
    """Ids of all judgements that raters stand by now."""
    return set(Judgement.objects.comparing().values_list("pk", flat=True))


def lines(heads: Iterable[HeadVersion]) -> list[Line]:
    """The newest heads first, in a handful of queries however many there are."""
    chosen = HeadVersion.objects.filter(pk__in=[head.pk for head in heads]).annotate(made=Count("explanations"))
    stand, found = standing(), []
    for head in chosen.order_by("-number").prefetch_related("aliases", "training_runs"):
        runs = list(head.training_runs.all())
        used = {pk for run in runs for pk in run.judgement_ids}
        names = tuple(sorted(alias.name for alias in head.aliases.all()))
        found.append(Line(head, names, runs[0] if runs else None, len(used), len(used - stand), head.made))
    return found


def line(head: HeadVersion) -> Line:
    return lines([head])[0]


def current_models() -> list[tuple[str, str]]:
    """The models, with their revisions, for which a head was ever promoted."""
    current = HeadAlias.objects.filter(name=HeadAlias.Name.CURRENT).order_by("base_model", "base_revision")
    return list(current.values_list("base_model", "base_revision"))


def flag(withdrawn: int, judgements: int) -> str:
    """What is said beside a head whose judgements do not all stand; empty when they do."""
    if not withdrawn:
        return ""
    return f"{withdrawn} of its {judgements} judgements were withdrawn since; retrain to leave them out."
