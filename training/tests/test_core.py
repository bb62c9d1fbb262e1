"""The training core on data with a known answer: fit and calibration."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from inference.core.head import BOOTSTRAPS, Head, HeadConfig
from training.core.calibration import calibrate, reliability
from training.core.checks import UnfitDataError, check, check_amount
from training.core.data import (
    Judged,
    Margins,
    Pairs,
    held_out,
    margins_of_ratings,
    pairs_of,
    split,
)
from training.core.davidson import FIRST, SECOND, TIE, accuracy, log_losses, probabilities
from training.core.fit import Fitted, fit_head
from training.core.raters import rater_weights
from training.core.solver import Contrasts, basis_of, fit_preferences
from training.core.step_effects import StepEffects

CONFIG = HeadConfig("standin", "", 3, 1, (1, 2))  # 15 explanation features, the last three are surface numbers


def planted(
    n: int = 600,
    problems: int = 40,
    seed: int = 0,
    strength: float = 3.0,
    position: float = 0.0,
    raters: int = 1,
) -> Pairs:
    """Judgements by people who like feature 0, with about a fifth of ties, on random features."""
    random = torch.Generator().manual_seed(seed)
    features = torch.randn(2 * n, CONFIG.explanation_size, generator=random)
    left = torch.rand(n, generator=random) < 0.5
    d = strength * (features[:n, 0] - features[n:, 0]) + position * (2 * left.float() - 1)
    chance = torch.stack(probabilities(d, torch.tensor(math.log(0.5))), dim=1)
    outcomes = torch.multinomial(chance, 1, generator=random)[:, 0]
    names = {FIRST: "first", TIE: "tie", SECOND: "second"}
    rows = [
        Judged(i, n + i, names[outcome], f"p{i % problems:03}", f"r{i % raters:02}", first_on_left=on_left)
        for i, (outcome, on_left) in enumerate(zip(outcomes.tolist(), left.tolist(), strict=True))
    ]
    return pairs_of(features, rows)


def fitted(pairs: Pairs, **options: object) -> Fitted:
    return fit_head(pairs, CONFIG, **options)  # type: ignore[arg-type]


def weight_of(head: Head) -> Tensor:
    """Weights of the features themselves, in units of the features."""
    return (head.preference.weight / head.preference.scale)[: CONFIG.explanation_size].detach()


def test_probabilities_are_davidsons() -> None:
    d, log_nu = torch.tensor([0.8]), torch.tensor(math.log(0.7))
    win, tie, loss = math.exp(0.4), 0.7, math.exp(-0.4)
    expected = [x / (win + tie + loss) for x in (win, tie, loss)]
    assert [float(p) for p in probabilities(d, log_nu)] == pytest.approx(expected)
    found = [float(log_losses(d, log_nu, torch.tensor([outcome]))) for outcome in (FIRST, TIE, SECOND)]
    assert found == pytest.approx([-math.log(p) for p in expected], abs=1e-6)


def test_the_solver_reaches_the_minimum_of_every_column() -> None:
    """Columns with other weights and penalties, each against LBFGS on its own."""
    pairs = planted(n=200)
    contrasts = Contrasts(pairs.first, pairs.second, pairs.weight)
    weights = torch.stack([torch.ones(200), (torch.arange(200) % 3).float()], dim=1)
    l2 = torch.tensor([0.01, 0.3])
    found = fit_preferences(basis_of(pairs.features, contrasts), contrasts, pairs.outcomes, pairs.side, weights, l2)
    for column in range(2):
        expected = by_lbfgs(pairs, weights[:, column], float(l2[column]))
        torch.testing.assert_close(found[:, column], expected, atol=2e-3, rtol=2e-3)


def by_lbfgs(pairs: Pairs, weight: Tensor, l2: float) -> Tensor:
    parameters = [torch.zeros(CONFIG.explanation_size, requires_grad=True), torch.zeros(2, requires_grad=True)]
    optimiser = torch.optim.LBFGS(parameters, max_iter=500, line_search_fn="strong_wolfe", tolerance_change=1e-12)

    def closure() -> Tensor:
        optimiser.zero_grad()
        w, (log_nu, position) = parameters
        d = pairs.difference(pairs.features @ w) + position * pairs.side
        losses = log_losses(d, log_nu, pairs.outcomes)
        loss = (losses * weight).sum() / weight.sum() + l2 / 2 * w.square().sum()
        loss = loss + 0.001 * parameters[1].square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    return parameters[0].detach()


def test_the_fit_finds_the_planted_preference() -> None:
    found = fitted(planted())
    weight = weight_of(found.head)
    assert int(weight.abs().argmax()) == 0
    assert weight[0] > 3 * weight[1:].abs().max()
    assert found.accuracy is not None
    assert found.accuracy > 0.85
    assert found.curve[0].log_loss > found.curve[-1].log_loss


def test_swapping_sides_and_outcomes_changes_nothing() -> None:
    pairs = planted()
    rows = [
        Judged(second, first, {FIRST: "second", TIE: "tie", SECOND: "first"}[outcome], f"p{problem:03}")
        for first, second, outcome, problem in zip(
            pairs.first.tolist(),
            pairs.second.tolist(),
            pairs.outcomes.tolist(),
            pairs.problems.tolist(),
            strict=True,
        )
    ]
    kept = [Judged(row.second, row.first, {"first": "second", "second": "first"}.get(row.choice, "tie"), row.problem)
            for row in rows]  # fmt: skip
    one, other = fitted(pairs_of(pairs.features, rows)), fitted(pairs_of(pairs.features, kept))
    assert torch.allclose(weight_of(one.head), weight_of(other.head), atol=1e-3)


def test_the_same_data_and_seed_give_the_same_file(tmp_path) -> None:
    one, other = (fitted(planted(), seed=3).head.save(tmp_path) for _ in range(2))
    assert one == other
    assert fitted(planted(), seed=4).head.save(tmp_path) != one  # other problems were drawn


def test_the_position_of_the_raters_is_found_and_not_learned_as_taste() -> None:
    head = fitted(planted(n=3000, position=1.0)).head
    assert head.calibration[2] == pytest.approx(1.0, abs=0.2)
    assert fitted(planted(n=3000)).head.calibration[2] == pytest.approx(0.0, abs=0.2)


def test_bootstrap_heads_disagree_less_about_more_data() -> None:
    few, many = fitted(planted(n=100, problems=20)).head, fitted(planted(n=3000, problems=300)).head
    texts = torch.randn(2, 50, CONFIG.explanation_size, generator=torch.Generator().manual_seed(5))
    assert few.bootstrap.shape[0] == BOOTSTRAPS
    relative = [float((head.spread(*texts) / (head.score(texts[0]) - head.score(texts[1])).std()).mean()) for head in (few, many)]  # fmt: skip  # noqa: E501
    assert relative[0] > 2 * relative[1] > 0


def test_clear_judgements_count_more() -> None:
    """Half of the judgements are strong and follow feature 0, half are weak and follow feature 1."""
    random = torch.Generator().manual_seed(1)
    features = torch.randn(800, CONFIG.explanation_size, generator=random)
    rows = []
    for i in range(400):
        liked = i % 2
        choice = "first" if features[i, liked] > features[400 + i, liked] else "second"
        rows.append(Judged(i, 400 + i, choice, f"p{i // 4}", strength=3.0 if liked == 0 else 1.0))
    weight = weight_of(fitted(pairs_of(features, rows)).head)
    assert weight[0] > 1.3 * weight[1] > 0


def test_raters_count_by_their_agreement_after_twenty_judgements() -> None:
    pairs = planted(n=400, raters=8)
    sign = pairs.difference(pairs.features)[:, 0]
    sign = torch.where(pairs.raters == 7, -sign, sign)  # rater 7 contradicts
    assert rater_weights(pairs, sign)[pairs.raters == 7].max() < 0.3
    assert rater_weights(pairs, sign)[pairs.raters == 0].min() > 1.0
    few = pairs.where(torch.arange(400) < 100)  # at most 13 each
    assert rater_weights(few, sign[:100]).eq(1).all()


def test_margins_are_used_only_where_they_help() -> None:
    pairs = planted(n=120, problems=30, strength=1.0)
    ratings = pairs.features[:, 0]
    problems = torch.cat([pairs.problems, pairs.problems])
    true = margins_of_ratings(torch.arange(240), ratings, torch.ones(240), problems)
    noise = torch.randn(240, generator=torch.Generator().manual_seed(2))
    false = margins_of_ratings(torch.arange(240), noise, torch.ones(240), problems)
    alone = fitted(pairs)
    helped, unhelped = fitted(pairs, margins=true), fitted(pairs, margins=false)
    assert "margins" in helped.recipe
    assert helped.log_loss < alone.log_loss
    assert unhelped.recipe == alone.recipe


def test_margins_are_least_squares_on_ratings() -> None:
    margins = margins_of_ratings(
        torch.tensor([4, 5, 6, 9]), torch.tensor([1.0, 3.0, 2.0, 5.0]), torch.ones(4), torch.tensor([0, 0, 0, 1])
    )
    assert isinstance(margins, Margins)
    assert list(zip(margins.first.tolist(), margins.second.tolist(), strict=True)) == [(4, 5), (4, 6), (5, 6)]
    assert (margins.values / margins.values[0]).tolist() == pytest.approx([1.0, 0.5, -0.5])
    assert margins.weight.sum() == pytest.approx(1.0)


def test_calibration_finds_scale_ties_and_position() -> None:
    pairs = planted(n=5000, position=0.5)
    found = calibrate(pairs.difference(pairs.features)[:, 0], pairs.outcomes, side=pairs.side)
    assert found.scale == pytest.approx(3.0, abs=0.3)
    assert found.log_nu == pytest.approx(math.log(0.5), abs=0.15)
    assert found.position == pytest.approx(0.5, abs=0.15)


def test_a_scorer_that_points_the_wrong_way_is_not_turned_round() -> None:
    pairs = planted()
    wrong = -pairs.difference(pairs.features)[:, 0]
    assert calibrate(wrong, pairs.outcomes).scale == 0
    assert calibrate(wrong, pairs.outcomes, signed=True).scale < -2


def test_calibration_stays_finite_on_separable_data_and_without_ties() -> None:
    found = calibrate(torch.tensor([1.0, 2.0, -1.0]), torch.tensor([FIRST, FIRST, SECOND]))
    assert 0 < found.scale < 100
    assert -20 < found.log_nu < 0


def test_stated_probabilities_that_are_too_sure_show_as_an_error() -> None:
    pairs = planted(n=4000)
    d = 3 * pairs.difference(pairs.features)[:, 0]
    honest, boasting = reliability(d, pairs.outcomes), reliability(4 * d, pairs.outcomes)
    assert honest is not None
    assert boasting is not None
    assert honest.error < max(0.02, honest.chance)
    assert boasting.error > 0.05 > boasting.chance
    assert sum(count for *_, count in honest.bins) == honest.judgements == int(pairs.decided.sum())


def test_many_raters_of_few_pairs_show_a_large_calibration_error_by_chance() -> None:
    d, compared = torch.full((60,), 2.0), torch.arange(12).repeat_interleave(5)
    outcomes = torch.where(compared == 0, 2, 0)  # one pair in twelve goes the other way, for all its raters
    alone, together = reliability(d, outcomes), reliability(d, outcomes, compared=compared)
    assert alone.error == together.error
    assert together.chance > 1.5 * alone.chance


def test_the_heads_own_probabilities_hold_on_unseen_problems() -> None:
    head = fitted(planted(n=2000, problems=200)).head
    unseen = planted(n=2000, problems=200, seed=9)
    found = reliability(head.calibration[0] * unseen.difference(head.score(unseen.features)), unseen.outcomes)
    assert found is not None
    assert found.error <= 0.05


def test_accuracy_counts_an_undecided_score_as_half() -> None:
    outcomes = torch.tensor([FIRST, SECOND, TIE, FIRST])
    assert accuracy(torch.tensor([1.0, 1.0, 1.0, 0.0]), outcomes) == pytest.approx(0.5)
    assert accuracy(torch.tensor([1.0]), torch.tensor([TIE])) is None


def test_a_head_learns_of_steps_where_there_are_tested_ones() -> None:
    features = torch.randn(80, CONFIG.step_size, generator=torch.Generator().manual_seed(3))
    numbers = torch.arange(40).repeat_interleave(2)
    steps = StepEffects(features, features[:, -1], (features[:, -1] > 1).float(), numbers, numbers)
    found = fitted(planted(), steps=steps)
    assert found.head.ranks_steps
    assert found.to_json()["steps"]["tested"] == 80
    assert not fitted(planted()).head.ranks_steps


def test_a_problem_never_changes_sides_and_never_is_on_both() -> None:
    names = [f"set/{i}" for i in range(2000)]
    sides = {name: held_out(name) for name in names}
    assert {name: held_out(name) for name in reversed(names)} == sides
    assert 0.27 < sum(sides.values()) / len(sides) < 0.33
    assert [held_out(f"set/{i}") for i in range(8)] == [False, False, False, True, False, False, True, False]
    pairs = planted()
    training, testing = split(pairs, [held_out(f"p{problem:03}") for problem in pairs.problems.tolist()])
    assert len(training) + len(testing) == len(pairs)
    assert not set(training.problems.tolist()) & set(testing.problems.tolist())


# -- data that cannot be trained on ----------------------------------------------------------------------------------


def test_too_little_data_says_how_much_is_missing() -> None:
    with pytest.raises(UnfitDataError, match="12 decided judgements and 5 problems are missing"):
        check_amount(of(["first", "second"] * 9, problems=5))
    with pytest.raises(UnfitDataError, match="1 decided judgements is missing"):
        check_amount(of(["first"] * 29, problems=12))
    check_amount(of(["first"] * 30, problems=10))


def of(choices: list[str], problems: int) -> Pairs:
    rows = [Judged(2 * i, 2 * i + 1, choice, f"p{i % problems}") for i, choice in enumerate(choices)]
    return pairs_of(torch.randn(2 * len(choices), CONFIG.explanation_size), rows)


def test_nothing_is_learned_from_ties_alone() -> None:
    with pytest.raises(UnfitDataError, match="All 40 judgements are ties"):
        check_amount(of(["tie", "both_bad"] * 20, problems=12))


def test_nothing_is_learned_from_one_class() -> None:
    with pytest.raises(UnfitDataError, match="All 39 decided judgements prefer the second text"):
        fitted(of(["second"] * 39 + ["tie"], problems=12))


def test_features_that_are_no_numbers_are_refused() -> None:
    pairs = planted()
    pairs.features[7, 3] = math.nan
    with pytest.raises(
        UnfitDataError, match=r"The features of 1 of 1200 texts are not finite numbers \(rows \[7\]\)"
    ):
        check(pairs)
    with pytest.raises(ValueError, match=r"features of explanations \[7\] are not finite"):
        Head(CONFIG).score(pairs.features)


def test_an_unknown_choice_is_refused() -> None:
    with pytest.raises(ValueError, match="allowed are first, second, tie, both_bad"):
        pairs_of(torch.zeros(2, 3), [Judged(0, 1, "left", "p")])
