"""Queries that are put together and compiled once, because that takes longer than answering them."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from functools import cached_property
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import QuerySet

# What stands in for the values while a query is compiled: nothing that a query of ours says by itself.
MARKS: dict[type, Callable[[int], Any]] = {
    int: lambda place: 2**31 - 1 - place,
    str: lambda place: f"\0{place}",
    UUID: lambda place: UUID(int=place),
}


class Prepared:
    """Rows of a queryset that depends on some values alone: `rows(*values)`, with one int, str or UUID per `kinds`.

    Values may stand in filters and expressions, not in limits, which Django writes into the SQL.
    """

    def __init__(self, rows: Callable[..., QuerySet[Any]], *kinds: type) -> None:
        self.rows, self.marks = rows, [MARKS[kind](place) for place, kind in enumerate(kinds)]

    def get(self, *values: Any) -> Any:
        """Raises the model's DoesNotExist."""
        found = self.first(*values)
        if found is None:
            model = self.queryset.model
            raise model.DoesNotExist(f"There is no {model._meta.verbose_name} {', '.join(map(str, values))}.")
        return found

    def first(self, *values: Any) -> Any:
        return next(iter(self.all(*values)), None)

    def all(self, *values: Any) -> list[Any]:
        compiler, sql, parameters = self.compiled
        given = dict(zip(self.adapted(self.marks), self.adapted(values), strict=True))
        filled = [given[one] if known else one for one, known in parameters]
        mine = copy(compiler)
        mine.connection = connection  # of this thread
        mine.as_sql = lambda *_, **__: (sql, filled)
        found = self.queryset.all()
        found.query.get_compiler = lambda *_, **__: mine  # type: ignore[method-assign]  # the point of this class
        return list(found)

    @cached_property
    def queryset(self) -> QuerySet[Any]:
        return self.rows(*self.marks)

    @cached_property
    def compiled(self) -> tuple[Any, str, list[tuple[Any, bool]]]:
        """The compiler, its SQL and its parameters, each with whether it is a mark."""
        query = self.rows(*self.marks).query  # of its own: compiling changes it, and two threads may be at it
        compiler, marks = query.get_compiler(connection.alias), self.adapted(self.marks)
        sql, parameters = compiler.as_sql()
        return compiler, sql, [(one, one in marks) for one in parameters]

    def adapted(self, values: Any) -> list[Any]:
        """As the database takes them; SQLite knows no UUID."""
        native = connection.features.has_native_uuid_field
        return [one.hex if isinstance(one, UUID) and not native else one for one in values]
