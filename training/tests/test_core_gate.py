"""The gate: what it promotes, holds and rejects, and what it says about it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from inference.core.head import Head
from training.core import gate
from training.core.calibration import Calibration
from training.core.data import Pairs
from training.core.fit import fit_head
from training.core.gate import Contender, GateReport, judge, judge_head
from training.core.resampling import resampling
from training.tests.test_core import CONFIG, planted

UNTRAINED = Head(CONFIG)


def contender(name: str, feature: int, scale: float = 1.0, calibration: Calibration | None = None) -> Contender:
    def difference(pairs: Pairs) -> Tensor:
        return scale * pairs.difference(pairs.features[:, feature])

    return Contender(name, difference, calibration=calibration)


TRUE, NOISE = contender("true", 0), contender("noise", 5)
NOTHING = contender("nothing", 0, scale=0.0)


def noisy(share: float) -> Contender:
    """Feature 0 with another that has nothing to do with the judgements."""
    return Contender("noisy", lambda pairs: pairs.difference(pairs.features[:, 0] + share * pairs.features[:, 5]))


def score(report: GateReport, name: str) -> gate.Score:
    return next(score for score in report.scores if score.name == name)


def test_a_head_that_learned_something_is_promoted_over_the_untrained_one() -> None:
    new = fit_head(planted(seed=1), CONFIG).head
    report = judge_head(new, UNTRAINED, planted(n=300, problems=30, seed=2))
    assert report.verdict == "promote", report.reason
    assert report.gain.low > 0
    assert "The whole interval is above 0" in report.reason
    right = score(report, "head v0 (in use)").accuracy
    assert right is not None
    assert right.mean == 0.5
    for name in ("random", "length alone", "likelihood alone"):
        gain = score(report, name).gain
        assert gain is not None
        assert gain.low > 0, name


def test_heads_fitted_on_shuffled_answers_are_rejected() -> None:
    """Nominally 5 % slip through; twelve of them leave room for its roughness."""
    verdicts = []
    for seed in range(12):
        pairs, unseen = planted(n=200, seed=seed), planted(n=150, problems=20, seed=100 + seed)
        shuffled = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(seed))
        new = fit_head(replace(pairs, outcomes=pairs.outcomes[shuffled]), CONFIG).head
        verdicts.append(judge_head(new, UNTRAINED, unseen).verdict)
    assert verdicts.count("reject") >= 10


def test_a_head_is_held_against_itself() -> None:
    head = fit_head(planted(seed=1), CONFIG).head
    report = judge_head(head, head, planted(n=300, problems=30, seed=2))
    assert report.verdict == "hold"
    assert report.gain.mean == 0
    assert report.gain.detectable == 0


def test_a_worse_one_is_rejected_though_better_than_guessing() -> None:
    report = judge(noisy(1.5), TRUE, planted(n=1500, problems=100))
    assert report.verdict == "reject"
    assert report.reason.startswith("It is worse than the one in use.")
    gain = score(report, "random").gain
    assert gain is not None
    assert gain.low > 0


def test_what_points_the_wrong_way_is_not_turned_round() -> None:
    report = judge(contender("wrong", 0, scale=-1.0), NOTHING, planted(n=300))
    assert report.verdict == "reject"
    assert "better than guessing" in report.reason


def test_only_randomly_selected_pairs_count() -> None:
    pairs = planted(n=400)
    chosen = replace(pairs, random=torch.arange(400) >= 150)
    report = judge(TRUE, NOTHING, chosen)
    alone = judge(TRUE, NOTHING, pairs.where(torch.arange(400) >= 150))
    assert (report.judgements, report.left_out) == (250, 150)
    assert report.gain == alone.gain


def test_a_broken_guard_rejects_what_is_better_on_the_whole() -> None:
    """The new one is wrong on every judgement of one slice."""
    pairs = planted(n=1500, problems=100)
    maths = torch.arange(1500) % 6 == 0
    sign = torch.where(maths, -1.0, 1.0)
    new = Contender("new", lambda _: sign * pairs.difference(pairs.features[:, 0]))
    old = noisy(3.0)
    slices = {"kind maths": maths, "kind logic": ~maths, "kind tiny": torch.arange(1500) < 90}
    report = judge(new, old, pairs, slices=slices)
    broken = {guard.name: guard.broken for guard in report.guards}
    assert broken["kind maths"]
    assert not broken["kind logic"]
    assert "kind tiny" not in broken  # fewer than a hundred judgements show nothing
    assert report.gain.low > 0
    assert report.verdict == "reject"
    assert "It breaks a guard: On kind maths" in report.reason


def test_pairs_of_one_length_are_guarded() -> None:
    pairs = planted(n=600)
    pairs.features[:, -3] = torch.log1p(torch.tensor([10.0, 11.0, 30.0])[torch.arange(1200) % 3])
    report = judge(TRUE, NOTHING, pairs)
    guard = next(guard for guard in report.guards if guard.name == "length within 15 %")
    first, second = (torch.arange(1200) % 3)[pairs.first], (torch.arange(1200) % 3)[pairs.second]
    same = ((first == 2) == (second == 2)) & pairs.decided
    assert guard.judgements == int(same.sum())
    assert guard.value > 0.85


def test_probabilities_that_are_too_sure_break_a_guard() -> None:
    pairs = planted(n=2000, problems=100)
    honest, boasting = (
        judge(replace(TRUE, calibration=Calibration(scale, -0.7)), NOTHING, pairs) for scale in (3.0, 15.0)
    )
    assert honest.verdict == "promote"
    assert boasting.verdict == "reject"
    assert "Its stated probabilities are off" in boasting.reason


def test_a_slow_one_is_rejected() -> None:
    pairs = planted(n=300)
    assert judge(TRUE, NOTHING, pairs, latency=(0.01, 0.01, 0.05)).verdict == "promote"
    report = judge(TRUE, NOTHING, pairs, latency=(0.2, 0.01, 0.05))
    assert report.verdict == "reject"
    assert "0.200 s" in report.reason


def test_the_report_says_how_often_the_test_was_used_and_what_it_could_show() -> None:
    pairs = planted(n=300)
    report = judge(TRUE, NOTHING, pairs, used_before=3)
    assert "have tested a head 3 times before" in report.reason
    assert f"a gain of {report.gain.detectable:.3f} nats or more" in report.reason
    more = judge(TRUE, NOTHING, planted(n=3000, problems=300))
    assert more.gain.detectable < 0.6 * report.gain.detectable


def test_the_report_is_json() -> None:
    import json

    report = judge(TRUE, NOTHING, planted(n=300), slices={"kind maths": torch.ones(300, dtype=torch.bool)})
    assert json.loads(json.dumps(report.to_json()))["verdict"] == "promote"


def test_too_few_problems_are_refused() -> None:
    with pytest.raises(ValueError, match="on 1 held-out problems and needs 2"):
        judge(TRUE, NOTHING, planted(n=100, problems=1))


def test_scores_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="true has scores that are not finite"):
        judge(contender("true", 0, scale=float("nan")), NOTHING, planted(n=100))


def test_intervals_are_wider_where_judgements_hang_together() -> None:
    """By problems; and by problems and raters once there are ten raters."""
    by_problem = planted(n=400, problems=20)
    alone = planted(n=400, problems=400)
    values = (torch.arange(400) % 20 < 10).float()  # the same within a problem
    together, apart = (resampling(pairs, 0).estimate(values) for pairs in (by_problem, alone))
    assert together.high - together.low > 2 * (apart.high - apart.low)

    nine, ten = planted(n=400, problems=400, raters=9), planted(n=400, problems=400, raters=10)
    assert resampling(nine, 0).raters is None
    taste = (ten.raters < 5).float()  # the same within a rater
    crossed = resampling(ten, 0).estimate(taste)
    assert crossed.high - crossed.low > 2 * (apart.high - apart.low)
    assert judge(TRUE, NOTHING, ten).raters == 10
