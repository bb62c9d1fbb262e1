"""What a head says of steps and claims, and where that stands in the record."""

import json
from dataclasses import replace

import pytest
import torch

from inference.core import EvidenceRecord, Head, InverseSettings, explain_inverse, head_config
from inference.core.ranking import likely_and_mattered
from inference.core.replication import claim_numbers
from inference.core.step_head import NUMBERS, StepHead, rank_scores
from inference.tests.core.test_explain import CONFIRMED, UNCHANGED

FEATURES = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]])


def step_head(effect=(0.0, 0.0), decision=(0.0, 0.0), base=(0.0, 0.0)):
    head = StepHead(2)
    with torch.no_grad():
        head.effect.copy_(torch.tensor(effect))
        head.decision.copy_(torch.tensor(decision))
        head.base.copy_(torch.tensor(base))
    return head


def test_without_tested_steps_nothing_is_estimated():
    head = StepHead(2)
    assert head.estimates(FEATURES) == ()
    assert not head.ranks
    assert head.claim_confidence(CONFIRMED, FEATURES[0]) is None


def test_what_was_learned_is_estimated_and_the_rest_left_open():
    both = step_head((0.5, -1.0), (2.0, 0.0), (0.1, -1.0)).estimates(FEATURES)
    assert [one.effect for one in both] == pytest.approx([0.6, 0.0, 0.0])
    assert [one.decision_point for one in both] == pytest.approx(torch.tensor([1.0, -1.0, 3.0]).sigmoid().tolist())
    effects = step_head((0.5, -1.0)).estimates(FEATURES)
    assert [one.decision_point for one in effects] == [None] * 3
    decisions = step_head(decision=(0.5, -1.0)).estimates(FEATURES)
    assert [one.effect for one in decisions] == [None] * 3


def test_steps_are_ranked_by_effect_times_probability():
    likely, large = step_head(decision=(4.0, 0.0)), step_head((0.0, 1.0), (0.0, 0.0))
    assert rank_scores(likely.estimates(FEATURES))[0] > rank_scores(likely.estimates(FEATURES))[1]
    assert rank_scores(large.estimates(FEATURES))[0] < rank_scores(large.estimates(FEATURES))[1]
    nothing = step_head((-1.0, -1.0), (1.0, 0.0)).estimates(FEATURES)
    assert rank_scores(nothing)[0] > rank_scores(nothing)[1], "no effect expected of either: the likelier one first"


def test_parts_are_forgotten_one_by_one():
    head = step_head((1.0, 1.0), (1.0, 1.0), (1.0, 1.0))
    head.forget_effects()
    assert (head.tells_effects, head.tells_decisions, head.base.tolist()) == (False, True, [0.0, 1.0])
    head.forget_decisions()
    assert head.estimates(FEATURES) == ()


def test_the_numbers_of_a_claim_grow_with_its_distance_from_the_threshold():
    close, far = (replace(CONFIRMED, p_value=p) for p in (0.05, 0.001))
    assert claim_numbers(close, None)[2] == pytest.approx(0)
    assert claim_numbers(far, None)[2] > 1
    assert claim_numbers(replace(UNCHANGED, p_value=1.0), None)[2] == pytest.approx(1)
    assert claim_numbers(far, 2.0)[-1] == -claim_numbers(replace(far, confirmed=False), 2.0)[-1]


def test_the_threshold_of_a_claim_is_that_of_the_tests_own_look():
    early = replace(CONFIRMED, p_value=0.01, level=0.01)
    assert claim_numbers(early, None)[2] == pytest.approx(0)
    assert claim_numbers(replace(early, level=0.05), None)[2] > 0.5
    margins = [claim_numbers(replace(UNCHANGED, p_value=0.03, level=level), None)[2] for level in (1e-9, 1e-99, 0.0)]
    assert margins[0] < margins[1] < margins[2] == 1, "where no look could confirm, nothing is close to it"


def test_a_claim_is_as_sure_as_the_head_says_and_untested_ones_are_no_claim():
    head = StepHead(2)
    with torch.no_grad():
        head.claim[2] = 3.0  # the margin
    sure, unsure = (head.claim_confidence(replace(CONFIRMED, p_value=p), FEATURES[0]) for p in (0.001, 0.05))
    assert sure > unsure == pytest.approx(0.5)
    assert head.claim_confidence(replace(CONFIRMED, verdict="untested"), FEATURES[0]) is None


@pytest.fixture
def knowing(model):
    """A head that expects much of late steps, is half sure of every claim, and follows the first layer alone."""
    head = Head(head_config(model), number=3)
    with torch.no_grad():
        late = NUMBERS.index("position") - len(NUMBERS)
        head.steps.effect[late] = 1.0
        head.steps.decision[late] = 1.0
        head.steps.claim[0] = 0.1
        head.mixing.residual[1] = -30.0
    return head


def test_estimates_stand_in_the_record_for_every_step_and_change_no_sentence(model, trace, head, knowing):
    settings = InverseSettings(tested_steps=3, rollouts=3)
    plain, guided = explain_inverse(model, trace, head, settings), explain_inverse(model, trace, knowing, settings)
    record = guided.record
    assert len(record.estimates) == len(record.steps)
    assert record.ranked_by == "head v3"
    assert record.step_scores == rank_scores(record.estimates)
    assert plain.record.estimates == ()
    by_step = {one.step: one for one in plain.record.tests}
    same = replace(record, tests=tuple(by_step[test.step] for test in record.tests))
    assert same.tests == record.tests
    assert not any("estimates" in pointer for claim in record.claims for pointer in claim.pointers)
    assert EvidenceRecord.from_json(json.loads(json.dumps(record.to_json()))) == record


def test_claim_confidence_comes_from_the_head_alone(model, trace, head, knowing):
    settings = InverseSettings(tested_steps=2, rollouts=3)
    untrained, trained = (explain_inverse(model, trace, one, settings).record for one in (head, knowing))
    assert [finding.confidence.claim for finding in untrained.findings] == [None, None]
    for finding, test in zip(trained.findings, trained.tests, strict=True):
        if test.verdict == "untested":
            assert finding.confidence.claim is None
        else:
            assert finding.confidence.claim == pytest.approx(0.525, abs=1e-3)


def test_a_learned_flow_stands_beside_the_plain_one(model, trace, head, knowing):
    settings = InverseSettings(tested_steps=0)
    plain, own = (explain_inverse(model, trace, one, settings) for one in (head, knowing))
    assert plain.head_flow is None
    assert [signal.learned_flow for signal in plain.record.signals] == [None] * 4
    learned = [signal.learned_flow for signal in own.record.signals]
    assert sum(learned) == pytest.approx(1)
    assert [s.inverse_flow for s in own.record.signals] == pytest.approx(
        [s.inverse_flow for s in plain.record.signals], abs=1e-6
    )
    assert learned != pytest.approx([s.inverse_flow for s in own.record.signals], abs=1e-4)
    assert explain_inverse(model, trace, head, settings, each_head=True).head_flow.heads.shape[:2] == (2, 4)


@pytest.fixture
def mixing(model):
    """A head that learned which attention to follow, and nothing of steps."""
    head = Head(head_config(model), number=3)
    with torch.no_grad():
        head.mixing.weights[0, 1] = 9.0
    return head


def test_without_step_outputs_the_learned_flow_helps_to_choose_what_is_tested(model, trace, head, mixing):
    plain, own = (explain_inverse(model, trace, one, InverseSettings(tested_steps=0)) for one in (head, mixing))
    signals = own.record.signals
    assert own.record.ranked_by == "signals and the flow of head v3"
    assert own.record.step_scores == likely_and_mattered(signals)
    without = likely_and_mattered([replace(signal, learned_flow=None) for signal in signals])
    assert plain.record.step_scores == pytest.approx(without)
    assert own.record.step_scores != pytest.approx(without)
    torch.testing.assert_close(own.step_features, plain.step_features, atol=1e-5, rtol=1e-4)


def test_the_learned_flow_has_the_baseline_of_its_own_mixing(model, trace, mixing):
    """Heads that all look at all alike are the same in any proportion; what stays where it is, differs."""
    settings = InverseSettings(tested_steps=0)
    signals = explain_inverse(model, trace, mixing, settings).record.signals
    expected = [signal.by_position["learned_flow"] for signal in signals]
    assert expected == pytest.approx([signal.position_flow for signal in signals])
    assert "suppression" in signals[0].by_position
    with torch.no_grad():
        mixing.mixing.residual[1] = -3.0
    moved = [
        one.by_position["learned_flow"] for one in explain_inverse(model, trace, mixing, settings).record.signals
    ]
    assert sum(moved) == pytest.approx(1)
    assert moved != pytest.approx(expected, abs=1e-3)
