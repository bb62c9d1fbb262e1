"""What the head learns of steps, on data with a known answer: effects, decision points, claims, mixing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from inference.core import effect
from inference.core.head import Head, HeadConfig
from inference.core.records import StepTest
from inference.core.step_head import NUMBERS, rank_scores
from training.core import step_gate
from training.core.claim_fit import fit_claims, halves, replications
from training.core.fit import one_thread, teach_steps
from training.core.step_effects import StepEffects, TestedStep, decision_of, effect_of, stacked
from training.core.step_fit import StepFit, fit_steps, platt, rotated
from training.core.step_gate import auroc, check_steps, keep_what_is_better, ranks, spearman
from training.core.step_tasks import EffectTask

CONFIG = HeadConfig("standin", "", 4, 1, (1, 2))
ENTROPY = NUMBERS.index("fork_entropy") - len(NUMBERS)


def planted(problems: int = 40, seed: int = 0, strength: float = 1.0) -> StepEffects:
    """Four steps of every problem, whose effects and decision points hang on entropy and the first hidden state."""
    random = torch.Generator().manual_seed(seed)
    count = 4 * problems
    features = torch.randn(count, CONFIG.step_size, generator=random)
    cause = strength * (features[:, ENTROPY] + 0.5 * features[:, 0])
    effects = 0.3 * (cause + 0.5 * torch.randn(count, generator=random)) + 0.1
    decisions = (torch.rand(count, generator=random) < (2 * cause - 1).sigmoid()).float()
    numbers = torch.arange(problems).repeat_interleave(4)
    return StepEffects(features, effects, decisions, numbers, numbers)


NOISE = planted(seed=9, strength=0.0)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A tenth of the regroupings, which makes p rougher, a fifth of the bootstrap draws, and one thread."""
    monkeypatch.setattr(effect, "DRAWS", 200)
    monkeypatch.setattr(step_gate, "RESAMPLES", 100)
    with one_thread():
        yield


@cache
def fitted() -> StepFit:
    return fit_steps(planted())


def taught(steps: StepEffects, config: HeadConfig = CONFIG) -> Head:
    head = Head(config, number=1)
    teach_steps(head, steps)
    return head


# -- effects and decision points -----------------------------------------------------------------------------------


def test_planted_effects_and_decision_points_are_recovered_on_unseen_problems() -> None:
    head, unseen = fitted().head, planted(seed=1)
    effects, logits = head(unseen.features).detach().T
    assert (spearman(effects, unseen.effects) or 0) > 0.8
    assert (auroc(logits, unseen.decisions) or 0) > 0.8
    order = torch.tensor(rank_scores(head.estimates(unseen.features)))
    assert (auroc(order, unseen.decisions) or 0) > 0.8
    assert float((effects - unseen.effects).mean()) == pytest.approx(0, abs=0.05), "in nats"


def test_probabilities_of_decision_points_are_calibrated() -> None:
    head, unseen = fit_steps(planted(problems=200)).head, planted(problems=500, seed=2)
    stated = head(unseen.features).detach()[:, 1].sigmoid()
    order = stated.argsort()
    for rows in order.chunk(5):
        assert float(stated[rows].mean()) == pytest.approx(float(unseen.decisions[rows].mean()), abs=0.08)


def test_where_nothing_can_be_learned_the_head_says_nothing() -> None:
    for steps in (planted(problems=1), stacked([], CONFIG.step_size)):
        head = fit_steps(steps).head
        assert not head.ranks
        assert head.estimates(NOISE.features) == ()


def test_noise_is_taken_for_something_now_and_then_at_most() -> None:
    """By more than a standard error something is better than the mean in about a sixth of the cases."""
    learned = [fit_steps(planted(problems=12, seed=seed, strength=0.0)).head for seed in range(6)]
    assert sum(head.tells_effects for head in learned) <= 2
    assert sum(head.tells_decisions for head in learned) <= 2


def test_untested_steps_and_unknown_effects_are_left_out() -> None:
    steps = planted()
    odd = torch.arange(len(steps)) % 2 == 1
    spoilt = replace(
        steps,
        effects=steps.effects.masked_fill(odd, torch.nan),
        decisions=steps.decisions.masked_fill(odd, torch.nan),
    )
    head = fit_steps(spoilt).head
    assert torch.isfinite(head.effect).all()
    assert (spearman(head(steps.features).detach()[:, 0], steps.effects) or 0) > 0.7


def test_the_unit_of_the_effects_changes_nothing_but_their_size() -> None:
    steps, unseen = planted(), planted(seed=1).features
    once, thrice = fitted().head, fit_steps(replace(steps, effects=3 * steps.effects)).head
    torch.testing.assert_close(3 * once(unseen)[:, 0], thrice(unseen)[:, 0], atol=0.02, rtol=0.02)


def test_out_of_fold_logits_are_of_heads_that_did_not_see_the_problem() -> None:
    steps = planted()
    changed = replace(steps, decisions=torch.where(steps.problems == 0, 1 - steps.decisions, steps.decisions))
    own = steps.problems == 0
    before, after = fitted().logits[own], fit_steps(changed).logits[own]
    assert (spearman(before, after) or 0) > 0.99


def test_rotation_keeps_every_distance() -> None:
    features = torch.randn(12, 40, generator=torch.Generator().manual_seed(0))
    turned, back = rotated(features)
    torch.testing.assert_close((turned @ back.T).float(), features)
    torch.testing.assert_close(torch.cdist(turned, turned).float(), torch.cdist(features, features))


def test_platt_mends_logits_that_boast_and_turns_none_round() -> None:
    random = torch.Generator().manual_seed(0)
    honest = torch.randn(4000, generator=random, dtype=torch.float64)
    labels = (torch.rand(4000, generator=random) < honest.sigmoid()).double()
    slope, shift = platt(4 * honest + 1, labels)
    assert (slope, shift) == (pytest.approx(0.25, abs=0.03), pytest.approx(-0.25, abs=0.1))
    assert platt(-honest, labels)[0] == 0


# -- what tests become ---------------------------------------------------------------------------------------------


def made_test(
    random: np.random.Generator, step: int, kept: list[float], different: list[float], rollouts: int = 24
) -> StepTest:
    """A test of a step that 60 % of the resamples replace, with the answers' true shares with and without it."""
    count = int(random.binomial(rollouts, 0.6))
    groups = [
        random.choice(len(shares), size=size, p=shares).tolist()
        for shares, size in ((kept, 2 * rollouts - count), (different, count))
    ]
    measured = effect.measure(groups[0], groups[1], len(kept), int(random.integers(2**31)))
    names = [dict(Counter(f"option {answer}" for answer in group)) for group in groups]
    return StepTest(
        step=step,
        rollouts=rollouts,
        different=count,
        kept_answers=Counter(names[0]) + Counter({"option 0": 1}),
        different_answers=names[1],
        effect=measured.value if measured else None,
        effect_interval=measured.interval if measured else None,
        p_value=measured.p_value if measured else None,
        confirmed=effect.confirmed(measured, count, rollouts),
        alternatives=(),
        excess=measured.excess if measured else None,
        verdict=effect.verdict(measured, count, rollouts),
    )


SHARES = [([0.8, 0.1, 0.1], [0.8 - shift, 0.1 + shift, 0.1]) for shift in (0.0, 0.0, 0.3, 0.5)]


@cache
def made_tests(problems: int, seed: int = 0) -> StepEffects:
    """Four tests of every problem: two of steps that do not matter, two of such as do."""
    random, rows = np.random.default_rng(seed), []
    for problem in range(problems):
        for step, (kept, different) in enumerate(SHARES):
            test = made_test(random, step, kept, different)
            features = torch.zeros(CONFIG.step_size)
            rows.append(TestedStep(features, test, 3, "option 0", f"p{problem:03}", f"t{problem:03}"))
    return stacked(rows, CONFIG.step_size)


def test_labels_come_from_the_verdict_and_the_excess() -> None:
    test = made_test(np.random.default_rng(0), 0, *SHARES[3])
    assert (decision_of(test), effect_of(test)) == (1.0, test.excess)
    unread = replace(test, confirmed=False, effect=None, excess=None, verdict="untested")
    assert np.isnan([decision_of(unread), effect_of(unread)]).all()
    always_kept = replace(unread, different=0, verdict="not confirmed")
    assert (decision_of(always_kept), effect_of(always_kept)) == (0.0, 0.0)
    of_schema_1 = replace(test, excess=None, verdict="")
    assert decision_of(of_schema_1) == 1.0
    assert np.isnan(effect_of(of_schema_1))


def test_an_effect_weighs_as_much_as_the_rollouts_that_it_rests_on() -> None:
    test, rows = made_test(np.random.default_rng(0), 0, *SHARES[3]), []
    for at in range(12):
        drawn, excess = (24, 0.1) if at % 3 else (3, 0.9)
        own = replace(test, rollouts=drawn, excess=excess)
        rows.append(TestedStep(torch.zeros(CONFIG.step_size), own, 3, "option 0", f"p{at}", f"t{at}"))
    steps = stacked(rows, CONFIG.step_size)
    assert float(steps.weights.mean()) == pytest.approx(1)
    expected = float(fit_steps(steps).head(steps.features).detach()[0, 0])
    assert expected == pytest.approx((16 * 0.1 + 0.9) / 17, abs=1e-3)


def test_the_slopes_of_weighed_effects_are_those_of_their_loss() -> None:
    random = torch.Generator().manual_seed(0)
    outputs = torch.randn(6, generator=random, requires_grad=True)
    task = EffectTask(torch.randn(6, generator=random), torch.tensor([0, 0, 1, 1, 1, 2]), 5 * torch.rand(6))
    task.loss(outputs).backward()  # type: ignore[no-untyped-call]
    every = torch.ones(6, 1, dtype=torch.bool)
    assert outputs.grad is not None
    torch.testing.assert_close(task.slopes(every)(outputs.detach()[:, None])[:, 0] / 6, outputs.grad)


# -- claims --------------------------------------------------------------------------------------------------------


def test_halves_are_drawn_from_the_answers_of_the_test_without_the_traces_own() -> None:
    test = made_test(np.random.default_rng(1), 0, *SHARES[2])
    row = TestedStep(torch.zeros(3), test, 3, "option 0", "p", "t")
    one, other = halves(row, np.random.default_rng(2))
    assert one.rollouts == other.rollouts == 12
    assert Counter(one.different_answers) + Counter(other.different_answers) == Counter(test.different_answers)
    kept = Counter(one.kept_answers) + Counter(other.kept_answers)
    assert kept <= Counter(test.kept_answers) - Counter({"option 0": 1})
    for made in (one, other):
        assert sum(made.different_answers.values()) == made.different
        assert sum(made.kept_answers.values()) <= 2 * 12 - made.different


def test_a_test_of_one_rollout_has_no_halves() -> None:
    test = made_test(np.random.default_rng(1), 0, *SHARES[2], rollouts=1)
    row = TestedStep(torch.zeros(3), test, 3, "option 0", "p", "t")
    assert [half.verdict for half in halves(row, np.random.default_rng(2))] == ["untested"] * 2


@pytest.mark.parametrize(
    ("stopped", "rollouts", "teaches"),
    [
        ("all drawn", 12, True),
        ("confirmed early", 12, False),
        ("futile", 3, False),
        ("budget", 12, False),
        ("", 12, True),
        ("", 5, False),
    ],
)
def test_tests_that_ended_early_or_have_no_halves_teach_nothing_of_claims(
    stopped: str, rollouts: int, teaches: bool
) -> None:
    """Halves of one or two rollouts never confirm: their verdicts always agree, and would teach confidence."""
    random, rows = np.random.default_rng(4), []
    for at in range(8):
        test = replace(made_test(random, at, *SHARES[3], rollouts=rollouts), stopped=stopped)
        rows.append(TestedStep(torch.zeros(CONFIG.step_size), test, 3, "option 0", f"p{at}", f"t{at}"))
    assert bool(len(replications(stacked(rows, CONFIG.step_size), None))) == teaches


def test_halves_are_judged_at_the_level_of_the_whole_test() -> None:
    test = made_test(np.random.default_rng(0), 0, [1.0, 0.0], [0.0, 1.0])
    verdicts = {}
    for level in (0.05, 1e-9):
        row = TestedStep(torch.zeros(3), replace(test, level=level), 2, "option 0", "p", "t")
        verdicts[level] = [half.verdict for half in halves(row, np.random.default_rng(2))]
    assert verdicts == {0.05: ["confirmed"] * 2, 1e-9: ["not confirmed"] * 2}


def test_claims_of_whole_tests_replicate_as_often_as_the_head_says() -> None:
    """Learned from halves, checked on whole tests, each against a fresh one of the same size."""
    found = fit_claims(made_tests(30), None)
    assert found.report["brier"] < found.report["brier_of_rate"]
    head = Head(CONFIG, number=1)
    with torch.no_grad():
        head.steps.claim.copy_(found.weight)
    first, fresh = made_tests(60, seed=5), made_tests(60, seed=6)
    pairs = list(zip(first.tests, fresh.tests, strict=True))
    stated = [head.steps.claim_confidence(one.test, one.features) or 0.0 for one, _ in pairs]
    same = torch.tensor([float(one.test.verdict == other.test.verdict) for one, other in pairs])
    said = torch.tensor(stated)
    assert float(said.mean()) == pytest.approx(float(same.mean()), abs=0.1)
    rate = found.report["same_verdict"]
    assert float((said - same).square().mean()) < float((rate - same).square().mean())
    surer, less_sure = said.argsort(descending=True).chunk(2)
    assert same[surer].mean() > same[less_sure].mean()


def test_few_tests_teach_nothing_of_claims() -> None:
    assert not fit_claims(made_tests(2), None).weight.any()


def test_the_decision_logit_is_one_of_the_numbers_of_a_claim() -> None:
    steps = made_tests(4)
    without, with_logits = replications(steps, None), replications(steps, torch.full((len(steps),), 2.0))
    assert torch.equal(without.numbers[:, :-1], with_logits.numbers[:, :-1])
    assert not without.numbers[:, -1].any()
    assert with_logits.numbers[:, -1].abs().unique().tolist() == [0.4]


# -- the check on held-out problems --------------------------------------------------------------------------------


def test_what_predicts_held_out_steps_is_kept_and_compared_with_what_is_free() -> None:
    head = taught(planted())
    check = check_steps(head, planted(), planted(seed=1))
    assert check.better
    assert check.effect is not None
    assert check.effect.gain.low > 0
    scores = {score.name: score for score in check.scores}
    assert set(scores) == {"head", "position", "length", "entropy", "attention", "likely × mattered"}
    mine, position, entropy = (scores[name].auroc for name in ("head", "position", "entropy"))
    assert mine is not None
    assert position is not None
    assert entropy is not None
    assert mine.low > position.high
    assert mine.value > entropy.value > position.high
    keep_what_is_better(head, check)
    assert head.ranks_steps


def test_what_does_not_predict_held_out_steps_is_forgotten() -> None:
    head = Head(CONFIG, number=1)
    head.steps.load_state_dict(fitted().head.state_dict())
    check = check_steps(head, planted(), NOISE)
    assert not check.better
    keep_what_is_better(head, check)
    assert not head.ranks_steps
    assert head.steps.estimates(NOISE.features) == ()


def test_without_tested_steps_nothing_is_judged_and_nothing_kept() -> None:
    head, none = Head(CONFIG, number=1), stacked([], CONFIG.step_size)
    head.steps.load_state_dict(fitted().head.state_dict())
    check = check_steps(head, none, planted())
    assert (check.better, check.scores, check.training_steps) == (False, (), 0)
    keep_what_is_better(head, check)
    assert not head.ranks_steps


def test_claims_are_judged_on_halves_of_held_out_tests() -> None:
    steps = made_tests(16)
    head = Head(CONFIG, number=1)
    with torch.no_grad():
        head.steps.claim.copy_(fit_claims(steps, None).weight)
    check = check_steps(head, steps, made_tests(8, seed=3))
    assert check.claim is not None
    assert check.claim.better
    keep_what_is_better(head, check)
    assert head.steps.judges_claims


@pytest.mark.parametrize(
    ("order", "effects", "expected"),
    [([1.0, 2, 3], [1.0, 5, 9], 1.0), ([3.0, 2, 1], [1.0, 5, 9], -1.0), ([1.0, 1, 1], [1.0, 5, 9], None)],
)
def test_spearman(order: list[float], effects: list[float], expected: float | None) -> None:
    found = spearman(torch.tensor(order), torch.tensor(effects))
    assert found == (None if expected is None else pytest.approx(expected))


def test_auroc_counts_pairs_in_the_right_order_and_ties_half() -> None:
    decisions = torch.tensor([1.0, 0, 0, torch.nan])
    assert auroc(torch.tensor([2.0, 1, 3, 9]), decisions) == 0.5
    assert auroc(torch.tensor([2.0, 2, 1, 9]), decisions) == 0.75
    assert auroc(torch.tensor([2.0, 2, 1, 9]), torch.zeros(4)) is None
    assert torch.equal(ranks(torch.tensor([5.0, 1, 5])), Tensor([2.5, 1, 2.5]).double())
