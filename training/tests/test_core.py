"""The training core on data with a known answer."""

from __future__ import annotations

import math

import pytest
import torch

from inference.core.head import Head, HeadConfig, Scorer
from training.core.data import Pairs, StepEffects, pairs_of
from training.core.davidson import FIRST, SECOND, TIE, accuracy, log_losses
from training.core.fit import assemble, calibrate, fit_preference, fit_scorer, fit_steps
from training.core.gate import check_steps, cluster_interval, compare

CONFIG = HeadConfig("standin", "", 1, 3)  # 8 explanation features, the last two are surface features


def planted(n: int = 600, problems: int = 20, seed: int = 0, strength: float = 3.0) -> Pairs:
    """Judgements by a rater who likes feature 0, with about a fifth of ties, on random features."""
    random = torch.Generator().manual_seed(seed)
    first, second = torch.randn(2, n, CONFIG.explanation_size, generator=random)
    d = strength * (first[:, 0] - second[:, 0])
    logits = torch.stack([d / 2, torch.full((n,), math.log(0.5)), -d / 2], dim=1)
    outcomes = torch.multinomial(logits.softmax(1), 1, generator=random)[:, 0]
    return Pairs(first, second, outcomes, torch.arange(n) % problems)


def nothing(_what: str, _share: float) -> None:
    pass


def test_probabilities_are_davidsons() -> None:
    d, log_nu = torch.tensor([0.8]), torch.tensor(math.log(0.7))
    win, tie, loss = math.exp(0.4), 0.7, math.exp(-0.4)
    expected = [-math.log(x / (win + tie + loss)) for x in (win, tie, loss)]
    found = [float(log_losses(d, log_nu, torch.tensor([outcome]))) for outcome in (FIRST, TIE, SECOND)]
    assert found == pytest.approx(expected, abs=1e-6)


def test_swapping_sides_and_outcomes_changes_nothing() -> None:
    pairs = planted()
    swapped = Pairs(pairs.second, pairs.first, 2 - pairs.outcomes, pairs.problems)
    assert torch.allclose(fit_scorer(pairs, 0.1).weight, fit_scorer(swapped, 0.1).weight, atol=1e-4)


def test_the_fit_finds_the_planted_preference() -> None:
    fitted = fit_preference(planted(), nothing)
    weight = fitted.scorer.weight.detach()
    assert int(weight.abs().argmax()) == 0
    assert weight[0] > 3 * weight[1:].abs().max()


def test_the_same_data_gives_the_same_weights() -> None:
    first, second = (fit_preference(planted(), nothing).scorer.weight for _ in range(2))
    assert torch.equal(first, second)


def test_calibration_finds_scale_and_ties() -> None:
    pairs = planted(n=5000)
    found = calibrate(pairs.first[:, 0] - pairs.second[:, 0], pairs.outcomes)
    assert found.scale == pytest.approx(3.0, abs=0.3)
    assert found.log_nu == pytest.approx(math.log(0.5), abs=0.15)


def test_accuracy_counts_an_undecided_score_as_half() -> None:
    outcomes = torch.tensor([FIRST, SECOND, TIE, FIRST])
    assert accuracy(torch.tensor([1.0, 1.0, 1.0, 0.0]), outcomes) == pytest.approx(0.5)
    assert accuracy(torch.tensor([1.0]), torch.tensor([TIE])) is None


def head_of(scorer: Scorer, number: int = 1) -> Head:
    return assemble(CONFIG, number, scorer, Scorer(CONFIG.step_size))


UNTRAINED = head_of(Scorer(CONFIG.explanation_size), number=0)


def test_a_head_that_learned_something_beats_the_untrained_one() -> None:
    fitted = fit_preference(planted(seed=1), nothing)
    comparison = compare(head_of(fitted.scorer), UNTRAINED, planted(n=200, problems=8, seed=2))
    assert comparison.better
    by_name = {score.name: score for score in comparison.scores}
    assert by_name["head v0 (in use)"].accuracy == 0.5
    assert by_name["new head"].log_loss < by_name["length alone"].log_loss


def test_heads_fitted_on_noise_are_hardly_ever_promoted() -> None:
    """The gate's nominal error is 5 %; twelve heads fitted on coin flips leave room for its roughness."""
    promoted = 0
    for seed in range(12):
        training, held_out = planted(n=200, seed=seed, strength=0.0), planted(n=100, seed=100 + seed, strength=0.0)
        promoted += compare(head_of(fit_preference(training, nothing).scorer), UNTRAINED, held_out).better
    assert promoted <= 2


def test_a_head_that_points_the_wrong_way_is_not_turned_round() -> None:
    wrong = Scorer(CONFIG.explanation_size)
    with torch.no_grad():
        wrong.weight[0] = -1.0
    comparison = compare(head_of(wrong), UNTRAINED, planted(n=200, problems=8))
    assert comparison.gain < 0
    assert comparison.scores[0].accuracy is not None
    assert comparison.scores[0].accuracy < 0.2


def test_a_head_is_not_better_than_itself() -> None:
    scorer = fit_preference(planted(seed=1), nothing).scorer
    comparison = compare(head_of(scorer, 2), head_of(scorer, 1), planted(n=200, problems=8, seed=2))
    assert comparison.gain == 0
    assert not comparison.better


def test_step_scores_follow_the_measured_effects() -> None:
    features = torch.randn(80, CONFIG.step_size, generator=torch.Generator().manual_seed(3))
    scorer = fit_steps(StepEffects(features, 2 * features[:, 4] + 0.5))
    assert torch.corrcoef(torch.stack([scorer(features).detach(), features[:, 4]]))[0, 1] > 0.95


def test_step_scores_are_used_only_where_they_predict_held_out_steps() -> None:
    random = torch.Generator().manual_seed(4)
    seen, unseen = (torch.randn(60, CONFIG.step_size, generator=random) for _ in range(2))
    follows, unrelated = StepEffects(seen, seen[:, 4]), StepEffects(seen, torch.randn(60, generator=random))
    held_out = StepEffects(unseen, unseen[:, 4])
    assert check_steps(fit_steps(follows), follows, held_out).better
    noise = StepEffects(unseen, torch.randn(60, generator=random))
    assert not check_steps(fit_steps(unrelated), unrelated, noise).better
    nothing_tested = StepEffects(torch.zeros(0, CONFIG.step_size), torch.zeros(0))
    assert not check_steps(fit_steps(nothing_tested), nothing_tested, held_out).better


def test_cluster_interval_is_wider_than_if_judgements_were_independent() -> None:
    values = torch.tensor([0.0] * 50 + [1.0] * 50)
    clusters = torch.arange(100) // 10
    together = cluster_interval(values, clusters, 0)
    alone = cluster_interval(values, torch.arange(100), 0)
    assert together[1] - together[0] > 2 * (alone[1] - alone[0])


def test_pairs_number_problems_by_name() -> None:
    one = torch.ones(2)
    pairs = pairs_of([one, one], [one, one], ["both_bad", "second"], ["b", "a"])
    assert pairs.outcomes.tolist() == [TIE, SECOND]
    assert pairs.problems.tolist() == [1, 0]
