"""Preferences for other tools: what is in a row, what becomes of ties, and that a file is whole or not there."""

from __future__ import annotations

import csv
import json
import tracemalloc
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from studies import assignment, judging, preference_files
from studies.models import Assignment, Judgement, Rater, Study
from studies.preference_codebook import MEANINGS
from studies.preferences import preferences


@pytest.fixture
def judged(study: Study) -> Study:
    """One answer of each kind by one rater, and one that was taken back and one that cannot judge by another."""
    given = answers(study, "first", "second", "tie", "both_bad")
    Judgement.objects.filter(assignment=given[0]).update(strength=3, criteria={"clear": "second"})
    other = answers(study, "cannot_judge", "first")
    judging.undo(other[1].rater, Judgement.objects.get(assignment=other[1]).pk)
    return study


def answers(study: Study, *choices: str) -> list[Assignment]:
    rater = assignment.enrol(study)
    handed_out = []
    for choice in choices:
        given = assignment.next_for(rater)
        assert given is not None
        judging.record(given, choice)
        handed_out.append(given)
    return handed_out


def export(*arguments: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("export_preferences", "--study", "demo", "--format", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def rows(*arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in export(*arguments)[0].splitlines()]


def test_a_chosen_text_is_the_one_the_rater_chose(judged: Study) -> None:
    for row, choice in zip(rows("trl"), ("first", "second"), strict=True):
        comparison = Judgement.objects.get(pk=row["judgement"]).assignment.comparison
        one, other = comparison.first, comparison.second
        chosen, rejected = (one, other) if choice == "first" else (other, one)
        assert (row["chosen_id"], row["rejected_id"]) == (chosen.pk, rejected.pk)
        assert (row["chosen"], row["rejected"]) == (f" {chosen.text}", f" {rejected.text}")
        assert row["prompt"].startswith(comparison.problem.question)
        assert row["problem"] == f"demo-problems/{comparison.problem.key}"


def test_strength_and_criteria_are_kept_and_have_one_type_in_every_row(judged: Study) -> None:
    found = rows("trl")
    assert [row["strength"] for row in found] == [3, 0]
    assert json.loads(found[0]["criteria"]) == {"clear": "second"}
    assert all([type(row[key]) for row in found] == [type(found[0][key])] * len(found) for key in found[0])


@pytest.mark.parametrize(
    ("ties", "expected"),
    [
        ((), [(False, 1.0), (False, 1.0)]),
        (("--ties", "soft"), [(False, 1.0), (False, 1.0), (True, 1.0), (True, 1.0)]),
        (("--ties", "split"), [(False, 1.0), (False, 1.0), (True, 0.5), (True, 0.5), (True, 0.5), (True, 0.5)]),
    ],
)
def test_what_becomes_of_ties(judged: Study, ties: tuple[str, ...], expected: list[tuple[bool, float]]) -> None:
    found = rows("trl", *ties)
    assert [(row["tie"], row["weight"]) for row in found] == expected
    if "split" in ties:
        assert (found[2]["chosen"], found[2]["rejected"]) == (found[3]["rejected"], found[3]["chosen"])


def test_the_default_for_ties_is_said_and_counted(judged: Study) -> None:
    _, said = export("trl")
    assert "2 rows (trl) from 4 judgements: 2 decided, 1 ties, 1 both bad" in said
    assert "left out (--ties drop)" in said
    assert "--ties split or soft" in said


def test_unpaired_labels(judged: Study) -> None:
    labels = [(row["judgement"], row["label"], row["weight"]) for row in rows("unpaired", "--ties", "split")]
    first, second, tie, bad = Judgement.objects.comparing().order_by("pk").values_list("pk", flat=True)
    assert labels == [
        (first, True, 1.0),
        (first, False, 1.0),
        (second, False, 1.0),
        (second, True, 1.0),
        *[(tie, label, 0.5) for label in (True, True, False, False)],
        (bad, False, 1.0),
        (bad, False, 1.0),
    ]


def test_a_battle_has_the_sides_that_the_rater_saw(judged: Study) -> None:
    found = rows("arena")
    assert [row["winner"] for row in found[2:]] == ["tie", "tie (bothbad)"]
    for row in found:
        given = Judgement.objects.get(pk=row["judgement"]).assignment
        comparison = given.comparison
        left, right = (comparison.first, comparison.second)
        if not given.first_on_left:
            left, right = right, left
        assert (row["id_a"], row["id_b"]) == (left.pk, right.pk)
        assert row["conversation_a"][1]["content"] == left.text
        if row["winner"] in ("model_a", "model_b"):
            winner = comparison.first_arm if row["judgement"] == found[0]["judgement"] else comparison.second_arm
            assert row[row["winner"]] == winner.name


def test_conversational_texts_are_messages(judged: Study) -> None:
    row = rows("trl", "--conversational")[0]
    assert [message["role"] for message in row["prompt"] + row["chosen"]] == ["user", "assistant"]


def test_raters_are_pseudonyms_that_stay_the_same(judged: Study) -> None:
    answers(judged, "first")
    raters = [row["rater"] for row in rows("trl")]
    assert len(set(raters)) == 2
    assert raters == [row["rater"] for row in rows("trl")]
    known = {str(value) for pair in judged.raters.values_list("pk", "public_id") for value in pair}
    assert not known & set(raters)


def test_tables_keep_every_judgement_and_guard_against_formulas(judged: Study, tmp_path: Path) -> None:
    explanation = judged.explanations().first()
    assert explanation is not None
    explanation.text = '=HYPERLINK("x")'
    explanation.save()
    table = list(csv.DictReader(StringIO(export("csv")[0])))
    assert [row["choice"] for row in table] == ["first", "second", "tie", "both_bad"]
    assert '\'=HYPERLINK("x")' in [row["first_text"] for row in table] + [row["second_text"] for row in table]

    export("parquet", "--out", str(tmp_path / "some.parquet"))
    read = pyarrow.parquet.read_table(tmp_path / "some.parquet").to_pylist()
    assert [row["choice"] for row in read] == ["first", "second", "tie", "both_bad"]
    assert [row["strength"] for row in read] == [3, None, None, None]
    given = [preference.judged_at for preference in preferences([judged])]
    assert [row["judged_at"] for row in read] == given


@pytest.mark.parametrize("form", preference_files.FORMATS)
def test_the_codebook_explains_every_column_and_says_what_was_done(judged: Study, tmp_path: Path, form: str) -> None:
    path = tmp_path / "out.file"
    _, said = export(form, "--out", str(path))
    book = json.loads((tmp_path / "out.file.codebook.json").read_text())
    if form == "csv":
        columns = next(csv.reader(path.open()))
    elif form == "parquet":
        columns = pyarrow.parquet.read_schema(path).names
    else:
        columns = list(json.loads(path.read_text().splitlines()[0]))
    assert list(book["columns"]) == columns
    assert book["summary"] in said
    assert (book["judgements"], book["studies"]) == (4, ["demo"])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.file", "out.file.codebook.json"]


def test_every_meaning_belongs_to_a_column(judged: Study, tmp_path: Path) -> None:
    columns: set[str] = set()
    for form in preference_files.FORMATS:
        export(form, "--out", str(tmp_path / form))
        columns |= set(json.loads((tmp_path / f"{form}.codebook.json").read_text())["columns"])
    assert columns == set(MEANINGS)


@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError])
@pytest.mark.parametrize("form", ["trl", "parquet"])
def test_an_interrupted_export_leaves_the_old_file_and_nothing_else(
    judged: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: type[BaseException], form: str
) -> None:
    path = tmp_path / "kept"
    path.write_text("from before")

    def broken(*_: Any) -> Iterator[Any]:
        yield from list(preferences([judged]))[:1]
        raise failure

    monkeypatch.setattr("studies.management.commands.export_preferences.preferences", broken)
    with pytest.raises(CommandError if failure is OSError else failure):
        export(form, "--out", str(path))
    assert path.read_text() == "from before"
    assert [file.name for file in tmp_path.iterdir()] == ["kept"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("arena", "--ties", "drop"), "arena has ties of its own"),
        (("csv", "--conversational"), "csv has one way to put texts"),
        (("unpaired", "--ties", "soft"), "give drop or split"),
        (("parquet",), "give a file with --out"),
        (("trl", "--study", "nowhere"), "no study 'nowhere'"),
    ],
)
def test_what_cannot_be_done_is_refused_with_what_can(
    judged: Study, arguments: tuple[str, ...], message: str
) -> None:
    with pytest.raises(CommandError, match=message):
        export(*arguments)


def test_an_export_without_rows_is_refused(study: Study, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="nothing to export"):
        export("trl", "--out", str(tmp_path / "empty"))
    answers(study, "tie", "tie")
    with pytest.raises(CommandError, match="no row would be left of 2 judgements"):
        export("trl", "--out", str(tmp_path / "empty"))
    assert not list(tmp_path.iterdir())


def test_memory_is_bounded_by_the_chunk_and_not_by_the_study(study: Study) -> None:
    """6,000 judgements bring 12,000 texts of 5 kB, 60 MB; at most a few chunks of 500 judgements are held."""
    study.explanations().update(text="a" * 5000)
    comparison = study.comparisons.get(position=0)
    raters = Rater.objects.bulk_create(Rater(study=study) for _ in range(6000))
    given = Assignment.objects.bulk_create(
        Assignment(comparison=comparison, rater=rater, number=1, first_on_left=True) for rater in raters
    )
    Judgement.objects.bulk_create(Judgement(assignment=one, revision=1, choice="first") for one in given)
    tracemalloc.start()
    try:
        assert sum(1 for _ in preferences([study])) == 6000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 25e6
