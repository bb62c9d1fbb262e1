"""The one place that says which head is in use for a model."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from inference.models import HeadVersion


def folder() -> Path:
    """Where head files lie, each under its content hash. Every worker must see the same folder."""
    return Path(settings.VAR_DIR) / "heads"


def register(sha256: str, config: dict[str, Any]) -> HeadVersion:
    """A new, inactive head version for a file that is already in `folder()`."""
    number = HeadVersion.objects.aggregate(last=Max("number"))["last"] + 1
    names = {"base_model": config["model"], "base_revision": config["revision"]}
    return HeadVersion.objects.create(number=number, sha256=sha256, config=config, **names)


def activate(head: HeadVersion, at: datetime | None = None) -> None:
    """Make `head` the one that newly asked-for explanations of its model use. What was asked for keeps its head."""
    same_model = HeadVersion.objects.filter(base_model=head.base_model, base_revision=head.base_revision)
    with transaction.atomic():
        same_model.filter(in_use=True).update(in_use=False)
        head.in_use, head.activated_at = True, at or timezone.now()
        head.save(update_fields=("in_use", "activated_at"))
