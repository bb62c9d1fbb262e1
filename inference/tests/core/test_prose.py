"""The model writes from the record; what the record does not hold never gets into an explanation."""

from dataclasses import replace

import pytest

from inference.core import (
    EvidenceRecord,
    InverseSettings,
    check_claims,
    explain_inverse,
    supported,
)
from inference.core import prose as module
from inference.core.prose import EXAMPLES, facts, plain, posed, says_verdict, write
from inference.tests.core.paraphrase import CHANCE, CONFIRMED, HALF, RECORDS, record

POINT = RECORDS["a decision point"]
NONE = RECORDS["two that were not"]
TRUE = "At step 2 it chose “12 - 3 = 9 are left”. In 14 of 20 attempts it said something else there."
VERDICT = "Step 2 mattered."
MADE_UP = "The model is very good at sums."


@pytest.fixture
def writes(monkeypatch):
    """Have the model write these texts."""

    def writes(*texts):
        monkeypatch.setattr(module, "compose", lambda model, record, n, seed, tick: list(texts)[:n])

    return writes


def styles(made):
    return {candidate.style: candidate.text for candidate in made[0]}


def counts(made):
    return {draft.style: (draft.accepted, draft.rejected) for draft in made[1]}


def test_unsupported_sentences_are_dropped_and_counted(writes):
    writes(f"{MADE_UP} {TRUE} {VERDICT} It is sure.")
    made = write(None, POINT, "model", 1, 0)
    assert styles(made) == {"written 1": f"{TRUE} {VERDICT}"}
    assert counts(made) == {"written 1": (3, 2)}
    assert made[0][0].rejected == 2


def test_a_text_without_a_supported_sentence_is_no_candidate_and_is_counted(writes):
    writes(MADE_UP, f"{TRUE} {VERDICT}", "And then, finally. Step 1 mattered.")
    made = write(None, POINT, "model", 3, 0)
    assert list(styles(made)) == ["written 2"]
    assert counts(made) == {"written 1": (0, 1), "written 2": (3, 0), "written 3": (0, 2)}


def test_templates_stand_in_where_nothing_is_left(writes):
    writes(MADE_UP, MADE_UP)
    made = write(None, POINT, "model", 2, 0)
    assert list(styles(made)) == ["brief", "contrastive"]
    assert counts(made)["written 2"] == (0, 1)


@pytest.mark.parametrize(("writer", "expected"), [("templates", 3), ("model", 1), ("both", 4)])
def test_who_writes(writes, writer, expected):
    writes(f"{TRUE} {VERDICT}")
    assert len(write(None, POINT, writer, 5, 0)[0]) == expected


def test_the_same_text_is_one_candidate(writes):
    writes(f"{TRUE} {VERDICT}", f"{TRUE} {VERDICT} {MADE_UP}")
    made = write(None, POINT, "model", 2, 0)
    assert [(one.style, one.rejected) for one in made[0]] == [("written 1", 0)]
    assert len(made[1]) == 2


@pytest.mark.parametrize(
    ("evidence", "text", "missing"),
    [
        (POINT, TRUE, "Tests showed that step 2 (“12 - 3 = 9 are left”) made a difference to the answer."),
        (NONE, "The model answered “9 eggs”.", "No decisive choice was found: writing step"),
        (NONE, "Tests did not show that step 3 mattered.", "No decisive choice was found: writing step"),
    ],
)
def test_a_text_without_the_verdict_gets_it(writes, evidence, text, missing):
    writes(text)
    made = write(None, evidence, "model", 1, 0)
    assert styles(made)["written 1"].startswith(f"{text} {missing}")
    assert says_verdict(evidence, supported(evidence, made[0][0].text)[1])


def test_a_text_with_the_verdict_is_left_alone(writes):
    writes("The tests found no decision point.")
    assert styles(write(None, NONE, "model", 1, 0)) == {"written 1": "The tests found no decision point."}


def test_every_decision_point_belongs_to_the_verdict():
    both = record(CONFIRMED, replace(HALF, confirmed=True))
    assert not says_verdict(both, supported(both, VERDICT)[1])
    assert says_verdict(both, supported(both, f"{VERDICT} Step 4 mattered.")[1])


def test_what_is_said_again_is_dropped(writes):
    writes(f"{VERDICT} {VERDICT} {TRUE}\n\n{VERDICT}")
    made = write(None, POINT, "model", 1, 0)
    assert styles(made)["written 1"] == f"{VERDICT} {TRUE}"
    assert counts(made) == {"written 1": (3, 0)}


def test_what_was_cut_off_and_markdown_go():
    assert plain("**Explanation:** 1. Step 2 mattered. In 7 of") == "Step 2 mattered."
    assert plain("- Step 2 mattered.\n- It answered “9 eggs.”") == "Step 2 mattered.\nIt answered “9 eggs.”"


@pytest.mark.parametrize("which", RECORDS)
def test_facts_are_all_in_the_record_and_hold_no_attention(which):
    told = facts(RECORDS[which])
    assert supported(RECORDS[which], "\n".join(told))[2] == 0
    assert not any("attention" in fact or "guess" in fact for fact in told)
    assert f"1. {told[0]}" in posed(RECORDS[which])


def test_decision_points_are_told_first():
    many = record(*(replace(CHANCE, step=step) for step in (0, 2, 3)), CONFIRMED)
    told = " ".join(facts(many))
    assert "12 - 3 = 9 are left" in told
    assert "At step 4" not in told


@pytest.mark.parametrize("evidence_and_text", EXAMPLES)
def test_the_worked_examples_pass_the_check_and_have_the_verdict(evidence_and_text):
    evidence, text = evidence_and_text
    claims = [claim for paragraph in check_claims(evidence, text) for claim in paragraph]
    assert [claim for claim in claims if not claim.accepted] == []
    assert says_verdict(evidence, claims)


def test_an_unknown_writer_is_refused():
    with pytest.raises(ValueError, match="writer is 'me'; allowed are templates, model, both"):
        write(None, POINT, "me", 1, 0)


# -- with the stand-in ---------------------------------------------------------------------------------------------


def test_several_texts_are_sampled_by_seed_from_a_shared_prefix(model, monkeypatch):
    asked = []

    def generate(ids, sampling, **options):
        asked.append((sampling, options["rows"], options["prefix"].branch(ids)))
        return [()] * options["rows"]

    monkeypatch.setattr(model, "generate", generate)
    write(model, POINT, "model", 4, 9)
    ((sampling, rows, shared),) = asked
    assert (sampling.seed, rows, sampling.temperature > 0) == (9, 4, True)
    request = model.encode(posed(POINT))
    assert shared.get_seq_length() > len(model.encode_chat(module.messages(POINT))[1]) - len(request) - 20


def test_the_record_says_who_wrote_and_what_was_left_out(model, trace, head):
    made = explain_inverse(model, trace, head, InverseSettings(writer="model", candidates=2, rollouts=2))
    assert made.record.writer == "templates"  # the stand-in writes nothing about the record
    drafts = {draft.style: draft for draft in made.record.drafts}
    assert list(drafts) == ["written 1", "written 2", "brief", "contrastive"]
    assert drafts["written 1"].rejected == 1
    assert made.record.settings["writer"] == "model"
    assert EvidenceRecord.from_json(made.record.to_json()) == made.record


def test_the_head_chooses_among_all(model, trace, head, writes):
    answer = trace.answer.text
    writes(f"“{answer}” was its answer.", f"Why “{answer}” and not something else?")
    settings = InverseSettings(writer="both", candidates=2, tested_steps=0)
    made = explain_inverse(model, trace, head, settings)
    assert [one.style for one in made.candidates] == ["brief", "contrastive", "written 1", "written 2"]
    assert made.candidate_features.shape[0] == 4
    chosen = next(one for one in made.candidates if one.text == made.text)
    assert made.record.writer == ("model" if chosen.style.startswith("written") else "templates")


@pytest.mark.parametrize(("writer", "failed"), [("model", 0), ("both", -1)])
def test_where_the_facts_do_not_fit_the_context_the_templates_write_and_the_reason_is_kept(model, writer, failed):
    long = replace(POINT, question="egg " * 5000)
    model.generate = super(type(model), model).generate
    made = write(model, long, writer, 2, 0)
    assert list(styles(made)) == ["brief", "contrastive"]
    assert "context of 4096 tokens" in made[1][failed].failed
    assert [draft.style for draft in made[1] if not draft.failed] == ["brief", "contrastive"]
