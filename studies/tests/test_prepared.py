from __future__ import annotations

from typing import Any
from uuid import UUID

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
    prepared = Prepared(lambda pk: rows().filter(pk=pk), int)
    for rater in raters:
        found, plain = prepared.get(rater.pk), rows().get(pk=rater.pk)
        assert found == plain
        for name in rows().query.annotations:
            assert getattr(found, name) == getattr(plain, name), name


def test_a_row_that_is_not_there_is_not_found(db: None) -> None:
    with pytest.raises(Rater.DoesNotExist, match=r"no rater 7"):
        Prepared(lambda pk: Rater.objects.filter(pk=pk), int).get(7)


def test_values_of_every_kind_take_the_places_of_their_marks(study: Study) -> None:
    raters = [assignment.enrol(study) for _ in range(3)]
    named = Prepared(
        lambda token, name, *numbers: Rater.objects.select_related("study").filter(
            study__token=token, public_id=name, pk__in=numbers
        ),
        *(str, UUID, int, int),
    )
    for rater in raters:
        assert named.all(study.token, rater.public_id, rater.pk, 0) == [rater]
        assert named.first(study.token, rater.public_id, 0, 0) is None
        assert named.first("other", rater.public_id, rater.pk, rater.pk) is None
