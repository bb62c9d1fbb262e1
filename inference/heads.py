"""The registry of heads: the one place that writes which head is in use for a model.

A head version never changes. Three names move between the versions of one base model: `current` is in use,
`previous` was in use before, `candidate` is the newest that was held. Every change of `current` is a row in the log
of promotions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Max

from inference.models import HeadAlias, HeadVersion, Promotion

CURRENT, PREVIOUS, CANDIDATE = HeadAlias.Name.CURRENT, HeadAlias.Name.PREVIOUS, HeadAlias.Name.CANDIDATE


class PromotionError(Exception):
    """The head in use cannot be changed in this way. Says why, and what to do."""


def folder() -> Path:
    """Where head folders lie, each under its content hash. Every worker must see the same ones."""
    return Path(settings.VAR_DIR) / "heads"


def register(sha256: str, config: dict[str, Any]) -> HeadVersion:
    """The head version of files that are already in `folder()`, not in use. The same content is the same version."""
    known: HeadVersion | None = HeadVersion.objects.filter(sha256=sha256).first()
    if known:
        return known
    number = HeadVersion.objects.aggregate(last=Max("number"))["last"] + 1
    names = {"base_model": config["model"], "base_revision": config["revision"]}
    return HeadVersion.objects.create(number=number, sha256=sha256, config=config, **names)


def nominate(head: HeadVersion) -> None:
    """Name a held head the candidate of its model, unless it is the one in use."""
    if HeadVersion.objects.current(head.base_model, head.base_revision) != head:
        point(CANDIDATE, head.base_model, head.base_revision, head)


def promote(
    head: HeadVersion,
    reason: str,
    by: str,
    kind: str = Promotion.Kind.PROMOTE,
    instead_of: HeadVersion | None = None,
    model: str = "",
    revision: str = "",
) -> Promotion:
    """Have newly asked-for explanations use `head`. What was asked for before keeps its own head.

    `model` and `revision` are only needed for the untrained head, which belongs to none. Raises PromotionError when
    `head` belongs to another model or is in use already, when no reason is given, and when the head in use is no
    longer `instead_of`, the one that it was compared with.
    """
    model, revision = model or head.base_model, revision or head.base_revision
    check(head, model, revision, reason)
    with transaction.atomic():
        current = locked_current(model, revision)
        if instead_of not in (None, current):
            raise PromotionError(f"{current} has come into use for {model} meanwhile, not {instead_of}. Look again.")
        if head == current:
            raise PromotionError(f"{head} is in use for {model} already.")
        point(PREVIOUS, model, revision, current)
        point(CURRENT, model, revision, head)
        HeadAlias.objects.filter(name=CANDIDATE, head=head).delete()
        ends = {"from_head": current, "to_head": head, "base_model": model, "base_revision": revision}
        return Promotion.objects.create(kind=kind, reason=reason.strip(), by=by, **ends)


def check(head: HeadVersion, model: str, revision: str, reason: str) -> None:
    if not model:
        raise PromotionError(f"{head} belongs to no model: say for which one it shall be used.")
    if head.trained and (model, revision) != (head.base_model, head.base_revision):
        own = f"{head.base_model} {head.base_revision}".strip()
        raise PromotionError(f"{head} was fitted on {own} and works with nothing else; it cannot serve {model}.")
    if not reason.strip():
        raise PromotionError("Say why: the log of promotions keeps a reason for every change of the head in use.")


def roll_back(model: str, revision: str, reason: str, by: str) -> Promotion:
    """Put the previous head back into use. Rolling back twice returns to where it began.

    Raises PromotionError when no other head was in use before, or without a reason.
    """
    previous = HeadVersion.objects.called(PREVIOUS, model, revision)
    if previous is None:
        raise PromotionError(f"No head was ever promoted for {model}, so there is nothing to roll back to.")
    current = HeadVersion.objects.current(model, revision)
    return promote(previous, reason, by, Promotion.Kind.ROLLBACK, current, model, revision)


def locked_current(model: str, revision: str) -> HeadVersion:
    """The head in use, with its alias locked until the transaction ends. Two promotions then follow one another."""
    where = {"name": CURRENT, "base_model": model, "base_revision": revision}
    HeadAlias.objects.get_or_create(**where, defaults={"head": HeadVersion.objects.get(number=0)})
    alias: HeadAlias = HeadAlias.objects.select_for_update().select_related("head").get(**where)
    return alias.head


def point(name: str, model: str, revision: str, head: HeadVersion) -> None:
    HeadAlias.objects.update_or_create(name=name, base_model=model, base_revision=revision, defaults={"head": head})
