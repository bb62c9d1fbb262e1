"""Queries that are put together and compiled once, because that takes longer than answering them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from django.db.models import QuerySet

MARK = -(2**31)  # stands in for the primary key; no row has it


class Prepared:
    """One row of a queryset by its primary key, with its annotations. `rows` must not depend on anything else."""

    def __init__(self, rows: Callable[[], QuerySet[Any]]) -> None:
        self.rows = rows

    @cached_property
    def compiled(self) -> tuple[str, list[Any]]:
        sql, parameters = self.rows().filter(pk=MARK).order_by().query.sql_with_params()
        return sql, list(parameters)

    def get(self, pk: int) -> Any:
        """Raises the model's DoesNotExist."""
        model = self.model
        sql, parameters = self.compiled
        found = list(model._default_manager.raw(sql, [pk if value == MARK else value for value in parameters]))
        if not found:
            raise model.DoesNotExist(f"There is no {model._meta.verbose_name} {pk}.")
        return found[0]

    @cached_property
    def model(self) -> Any:
        return self.rows().model
