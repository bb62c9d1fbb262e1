from __future__ import annotations

import csv

from studies import assignment, judging
from studies.export import csv_lines
from studies.models import Study


def exported(study: Study) -> list[dict[str, str]]:
    return list(csv.DictReader(csv_lines(study)))


def test_every_revision_is_there_and_only_the_last_is_current(study: Study) -> None:
    rater = assignment.enrol(study)
    given = assignment.next_for(rater)
    assert given is not None
    judging.undo(rater, judging.record(given, "first", reason="clear").pk)
    judging.record(given, "second", revision=3)
    rows = exported(study)
    assert [(row["revision"], row["choice"], row["current"]) for row in rows] == [
        ("1", "first", "False"),
        ("2", "undone", "False"),
        ("3", "second", "True"),
    ]
    left = given.comparison.first_arm if given.first_on_left else given.comparison.second_arm
    assert rows[0]["left_arm"] == left.name
    assert rows[2]["preferred_arm"] == given.comparison.second_arm.name


def test_a_formula_in_a_reason_is_made_harmless(study: Study) -> None:
    given = assignment.next_for(assignment.enrol(study))
    assert given is not None
    judging.record(given, "tie", reason='=HYPERLINK("x")')
    assert exported(study)[0]["reason"] == '\'=HYPERLINK("x")'
