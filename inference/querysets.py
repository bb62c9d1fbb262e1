"""The words that rows answer to: pending, has work, free, in use."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models import Exists, OuterRef, Q

if TYPE_CHECKING:
    from inference.models import Explanation, HeadVersion, Trace  # noqa: F401  # named in the bases below


class UnchangeableError(Exception):
    """A row that was written once and for all was about to be changed or deleted."""


class UnchangingQuerySet(models.QuerySet[Any]):
    """Rows that are written once: whole sets of them are not changed or deleted either."""

    def update(self, **values: Any) -> int:
        raise UnchangeableError("These rows are never changed; write new ones instead.")

    def delete(self) -> tuple[int, dict[str, int]]:
        raise UnchangeableError("These rows are never deleted.")


class HeadVersionQuerySet(UnchangingQuerySet):
    def current(self, model: str, revision: str = "") -> HeadVersion:
        """The head in use for a model. There always is one: version 0 comes with the first migration."""
        current: HeadVersion = self.called("current", model, revision) or self.get(number=0)
        return current

    def called(self, alias: str, model: str, revision: str = "") -> HeadVersion | None:
        """The head that an alias of a model names now: current, previous or candidate."""
        where = {"aliases__name": alias, "aliases__base_model": model, "aliases__base_revision": revision}
        return self.filter(**where).first()


class ExplanationQuerySet(models.QuerySet["Explanation"]):
    def pending(self) -> ExplanationQuerySet:
        return self.filter(made_at__isnull=True, failed_at__isnull=True)

    def ready(self) -> ExplanationQuerySet:
        return self.filter(made_at__isnull=False)

    def failed(self) -> ExplanationQuerySet:
        return self.filter(failed_at__isnull=False)


class TraceQuerySet(models.QuerySet["Trace"]):
    def with_work(self) -> TraceQuerySet:
        """Traces that have an explanation still to be made."""
        from inference.models import Explanation

        return self.filter(Exists(Explanation.objects.pending().filter(trace=OuterRef("pk"))))

    def free(self, at: datetime) -> TraceQuerySet:
        """Traces that no living worker holds."""
        return self.filter(Q(lease_until__isnull=True) | Q(lease_until__lt=at))
