from __future__ import annotations

import csv
import json
from datetime import timedelta
from typing import Any

from studies import assignment, judging, simulation
from studies.export import csv_lines
from studies.models import Assignment, Study


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


def test_everything_about_an_answer_is_there(make_study: Any) -> None:
    study = make_study(problems=4, repeats=1, simulation="forward", criteria=["trust"])
    rater = assignment.enrol(study)
    while (given := assignment.next_for(rater)) is not None:
        assert isinstance(given, Assignment)
        question = simulation.asked(study, given)
        if question:
            judging.predict(given, "before", question, 0)
        judging.record(
            given,
            "first",
            predicted=(question, 1) if question else None,
            at=given.assigned_at + timedelta(seconds=9),
            strength=2,
            criteria={"trust": "tie"},
            tags=["shorter"],
            spans=[{"arm": "first", "start": 0, "end": 3, "comment": "ä"}],
            seconds=8.5,
            active_seconds=7.0,
            first_seconds=0.5,
            pasted=False,
            viewport="360x740@3",
            page_version="abc",
        )
    rows = exported(study)
    assert [row["number"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert [row["repeat"] for row in rows] == ["False"] * 4 + ["True"]
    told = [(row["prediction_before"], row["prediction_after"], row["prediction_truth"]) for row in rows]
    assert told == [("0", "1", "1")] * 4 + [("", "", "")]
    first = rows[0]
    assert json.loads(first["spans"]) == [{"arm": "first", "start": 0, "end": 3, "comment": "ä"}]
    assert (json.loads(first["criteria"]), json.loads(first["tags"])) == ({"trust": "tie"}, ["shorter"])
    wanted = {"strength": "2", "seconds": "8.5", "active_seconds": "7.0", "first_seconds": "0.5", "pasted": "False"}
    assert {name: first[name] for name in wanted} == wanted
    assert (first["viewport"], first["page_version"]) == ("360x740@3", "abc")
