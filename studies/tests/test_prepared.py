from __future__ import annotations

from typing import Any

import pytest

from studies import assignment, judging
from studies.models import CheckItem, Rater, Study
from studies.prepared import Prepared


@pytest.mark.parametrize("rows", [Rater.objects.with_hand, Rater.objects.with_counts])
def test_a_prepared_query_finds_what_the_query_finds(study: Study, rows: Any) -> None:
    CheckItem.objects.create(study=study, purpose="gold", question="?", answer="!")
    raters = [assignment.enrol(study) for _ in range(3)]
    for rater in raters[:2]:
        judging.record(assignment.next_for(rater), "first", seconds=2.5)  # type: ignore[arg-type]
        assignment.next_for(rater)
    prepared = Prepared(rows)
    for rater in raters:
        found, plain = prepared.get(rater.pk), rows().get(pk=rater.pk)
        assert found == plain
        for name in rows().query.annotations:
            assert getattr(found, name) == getattr(plain, name), name


def test_a_row_that_is_not_there_is_not_found(db: None) -> None:
    with pytest.raises(Rater.DoesNotExist, match=r"no rater 7"):
        Prepared(Rater.objects.with_hand).get(7)
