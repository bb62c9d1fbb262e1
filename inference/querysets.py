"""The words that rows answer to: pending, has work, free, in use."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Exists, OuterRef, Q

if TYPE_CHECKING:
    from inference.models import Explanation, HeadVersion, Trace  # noqa: F401  # named in the bases below


class HeadVersionQuerySet(models.QuerySet["HeadVersion"]):
    def current(self, model: str, revision: str = "") -> HeadVersion:
        """The head in use for a model. There always is one: version 0 comes with the first migration."""
        return self.filter(in_use=True, base_model=model, base_revision=revision).first() or self.get(number=0)


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
