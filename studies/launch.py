"""A study's life: launched once, perhaps retried, perhaps closed, copied to be run again."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.utils import timezone

from inference import queue
from inference.models import Explanation, Problem
from studies import protocol
from studies.models import Arm, CheckItem, Comparison, Study
from studies.pairing import balanced_order, spread_over

OWN = {"id", "slug", "token", "created_at", "launched_at", "closed_at", "review_until"}
COPIED = tuple(field.name for field in Study._meta.concrete_fields if field.name not in OWN)
"""The protocol: everything but what makes a study this one, and a date that belongs to it."""


class NotLaunchable(Exception):
    """The study cannot run as it is configured. Says what is missing."""


def launch(study: Study, at: datetime | None = None) -> None:
    """Freeze the study, ask for its explanations, and lay out its comparisons.

    Raises NotLaunchable and changes nothing when it was launched before or is incomplete.
    """
    with transaction.atomic():
        study = Study.objects.select_for_update().get(pk=study.pk)
        arms, problems = list(study.arms.select_related("explainer")), problems_of(study)
        check(study, arms, problems)
        study.launched_at = at or timezone.now()
        study.save(update_fields=("launched_at",))
        heads = [queue.head_of(arm.explainer) for arm in arms]
        asked = [
            [queue.ask(problem, arm.explainer, head) for arm, head in zip(arms, heads, strict=True)]
            for problem in problems
        ]
        Comparison.objects.bulk_create(comparisons(study, arms, problems, asked))
        queue.ring_on_commit(bells=len(problems))


def problems_of(study: Study) -> list[Problem]:
    groups: dict[str, list[Problem]] = {}
    for problem in study.problem_set.problems.order_by("position"):
        groups.setdefault(problem.kind, []).append(problem)
    total = sum(map(len, groups.values()))
    return spread_over(groups, study.problem_limit or total)


def check(study: Study, arms: list[Arm], problems: list[Problem]) -> None:
    if study.launched_at:
        raise NotLaunchable(f"{study} was launched on {study.launched_at:%d %B %Y}; copy it to run it again.")
    if len(arms) < 2:
        raise NotLaunchable(f"{study} has {len(arms)} arm; a comparison needs at least 2.")
    if not problems:
        raise NotLaunchable(f"The problem set {study.problem_set} is empty; import problems into it first.")
    wrong = [*protocol.faults(study), *protocol.item_faults(study, protocol.gold_items(study))]
    if wrong:
        raise NotLaunchable(" ".join(f"“{name.replace('_', ' ')}”: {why}" for name, why in wrong))
    if study.simulation != Study.Simulation.NONE and not any(p.options for p in problems):
        raise NotLaunchable("A simulation asks which option the model chose, and no problem here has options.")
    if study.chain_shown and any(arm.explainer.shows_chain for arm in arms):
        raise NotLaunchable("One arm is the chain itself, and raters would recognise it: switch off “chain shown”.")
    runs = {(queue.model_name(e), e.revision, e.seed, e.max_new_tokens) for e in (arm.explainer for arm in arms)}
    if len(runs) > 1:
        raise NotLaunchable(
            "The arms of a study must explain the same answer: give their explainers the same model, revision, seed "
            f"and longest chain. Here they differ: {sorted(runs)}."
        )


def comparisons(
    study: Study, arms: list[Arm], problems: list[Problem], asked: list[list[Explanation]]
) -> list[Comparison]:
    order = balanced_order(len(problems), len(arms), study.seed)
    return [
        Comparison(
            study=study,
            problem=problems[problem],
            first_arm=arms[first],
            second_arm=arms[second],
            first=asked[problem][first],
            second=asked[problem][second],
            position=position,
            wanted=study.judgements_wanted,
        )
        for position, (problem, first, second) in enumerate(order)
    ]


def retry_failed(study: Study) -> int:
    """Ask again for what failed in this study; return how many explanations."""
    return queue.retry(study.explanations().failed())


def close(study: Study, at: datetime | None = None) -> None:
    """No new raters and no new comparisons; answers already begun are still taken."""
    Study.objects.filter(pk=study.pk, closed_at__isnull=True).update(closed_at=at or timezone.now())


def copy(study: Study, slug: str) -> Study:
    """A new draft with the same protocol, arms and checks. Its explanations are made with the head then in use."""
    with transaction.atomic():
        draft = Study.objects.create(slug=slug, **{name: getattr(study, name) for name in COPIED})
        Arm.objects.bulk_create(Arm(study=draft, name=arm.name, explainer=arm.explainer) for arm in study.arms.all())
        items = list(study.check_items.all())
        for item in items:
            item.pk, item.study = None, draft
        CheckItem.objects.bulk_create(items)
    return draft
