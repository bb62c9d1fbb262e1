"""The evidence record: its published schema, what it reads of older ones, roles, sources and confidences."""

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

import inference
from inference.core import (
    EvidenceRecord,
    InverseSettings,
    Problem,
    explain_inverse,
    invert,
)
from inference.core.findings import confidences, rested_on
from inference.core.roles import ROLES, role
from inference.core.schema import evidence_schema
from inference.tests.core.test_explain import CONFIRMED, UNCHANGED, record

PUBLISHED = Path(inference.__file__).parent.parent / "docs" / "evidence-record.schema.json"
SINCE_2 = ("writer", "drafts", "read_by", "estimates")
SINCE_1 = ("findings", "claims", "rejected", *SINCE_2)


@pytest.fixture
def made(model, trace, head):
    return explain_inverse(model, trace, head, InverseSettings(tested_steps=2, rollouts=3))


def test_the_published_schema_is_that_of_the_code():
    assert json.loads(PUBLISHED.read_text()) == evidence_schema(), "python -m inference.core.schema renews it"


def test_a_measured_record_fits_the_schema_and_comes_back_as_it_was(made):
    stored = json.loads(json.dumps(made.record.to_json(), allow_nan=False))
    jsonschema.Draft202012Validator(evidence_schema()).validate(stored)
    assert EvidenceRecord.from_json(stored) == made.record
    assert [finding.step for finding in made.record.findings] == [test.step for test in made.record.tests]
    broken = stored | {"tests": [stored["tests"][0] | {"different": "many"}]}
    with pytest.raises(jsonschema.ValidationError, match="'many' is not of type 'integer'"):
        jsonschema.validate(broken, evidence_schema())


def test_measured_records_of_schema_2_still_read(made):
    stored = json.loads(json.dumps(made.record.to_json()))
    signals = [{k: v for k, v in signal.items() if k != "learned_flow"} for signal in stored["signals"]]
    old = {k: v for k, v in stored.items() if k not in SINCE_2} | {"schema": 2, "signals": signals}
    jsonschema.validate(old, evidence_schema())
    empty = {"writer": "", "drafts": (), "read_by": "", "estimates": ()}
    assert EvidenceRecord.from_json(old) == replace(made.record, schema=2, **empty)


@pytest.mark.parametrize(("schema", "lacking"), [(1, SINCE_1), (2, SINCE_2)])
def test_records_of_earlier_schemas_still_read(schema, lacking):
    stored = json.loads(json.dumps(record(CONFIRMED, UNCHANGED).to_json()))
    old = {name: value for name, value in stored.items() if name not in lacking} | {"schema": schema}
    jsonschema.validate(old, evidence_schema())
    assert EvidenceRecord.from_json(old) == replace(record(CONFIRMED, UNCHANGED), schema=schema)


def test_records_of_later_schemas_are_refused():
    stored = json.loads(json.dumps(record(CONFIRMED, UNCHANGED).to_json()))
    with pytest.raises(ValueError, match="schema 99"):
        EvidenceRecord.from_json(stored | {"schema": 99})


def test_tests_of_schema_2_were_looked_at_once_at_the_whole_level():
    stored = json.loads(json.dumps(record(CONFIRMED).to_json())) | {"schema": 2}
    for name in ("planned", "level", "stopped"):
        del stored["tests"][0][name]
    jsonschema.validate(stored, evidence_schema())
    (test,) = EvidenceRecord.from_json(stored).tests
    assert (test.planned, test.level, test.stopped) == (None, 0.05, "")


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("Step 1: Let us find the number of eggs.", "plan"),
        ("The tray holds 12 eggs.", "recall"),
        ("12 - 2 = 10 are left.", "computation"),
        ("Wait, that is a mistake: 12 - 2 = 10.", "backtrack"),
        ("Let me check that: 10 + 2 = 12.", "check"),
        ("Therefore the other ones remain.", "conclusion"),
        ("Answer: 10", "answer"),
        ("Birds lay them in nests.", "statement"),
    ],
)
def test_roles_by_their_words(step, expected):
    assert role("A tray holds 12 eggs. Two eggs break. How many are left?", step) == expected
    assert expected in ROLES


def test_a_step_rests_on_earlier_steps_only(model, trace):
    inversion = invert(model, trace)
    assert rested_on(inversion, 0) == ()
    for step in range(1, len(trace.steps)):
        sources = rested_on(inversion, step)
        assert [source.share for source in sources] == sorted((source.share for source in sources), reverse=True)
        assert all(source.step < step for source in sources)
        assert len(sources) == min(3, step)
        total = sum(source.share for source in sources)
        assert total == pytest.approx(1) if step <= 3 else 0 < total < 1


def test_a_step_rests_where_its_attention_went(model, trace):
    """All attention of every layer on the first step: whatever comes later rests on it alone."""
    inversion = invert(model, trace)
    first = inversion.segments.step_of.index(0)
    flow = inversion.flow * 0
    flow[:, :, first] = 1
    (source, *others) = rested_on(replace(inversion, flow=flow), len(trace.steps) - 1)
    assert (source.step, source.share) == (0, pytest.approx(1))
    assert all(other.share == 0 for other in others)


def test_the_confidences_are_shares_of_different_things():
    found = confidences("10", CONFIRMED)
    assert found.answer == pytest.approx(5 / 12)  # six kept "10", one of them the trace itself; 7 others did not
    assert found.step == pytest.approx(5 / 12)  # 5 of 12 replacements stayed similar
    assert found.claim is None
    assert confidences("10", UNCHANGED).step == 1


def test_every_sentence_of_the_explanation_points_into_its_record(made):
    stored = made.record.to_json()
    assert " ".join(claim.sentence for claim in made.record.claims).split() == made.text.split()
    assert made.record.rejected == 0
    for claim in made.record.claims:
        assert claim.pointers
        for pointer in claim.pointers:
            at = stored
            for part in pointer.split("/")[1:]:
                at = at[int(part)] if part.isdigit() else at[part]


def test_a_problem_is_what_the_role_is_read_against():
    problem = Problem("Is the sky blue?", ("yes", "no"))
    assert role(problem.question, "The sky is blue.") == "recall"
