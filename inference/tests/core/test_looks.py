"""Early looks: they confirm no more by chance than one look would, and spare rollouts."""

from itertools import product
from math import comb, prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.core import effect
from inference.core.effect import ALPHA
from inference.core.looks import ALL_DRAWN, CONFIRMED_EARLY, FUTILE, futile, hopeless, looks, out_of_reach, why_stop

OUTCOMES = 4


def played(different, kept, planned, most=4, share=1.0):
    """A test on answers drawn beforehand, by the rules of the looks: (confirmed, why it stopped, rollouts drawn)."""
    for look in looks(planned, most):
        differing = round(share * look.drawn)
        groups = kept[: look.drawn] + different[differing : look.drawn], different[:differing]
        measured = effect.measure(*groups, OUTCOMES, seed=1)
        why = why_stop(look, measured, *groups, differing, OUTCOMES, seed=1)
        if why:
            return effect.confirmed(measured, differing, look.drawn, look.level), why, look.drawn
    raise AssertionError("the last look ends the test")


def many(p_different, p_kept, planned, trials, **options):
    random = np.random.default_rng(8)
    draw = [random.choice(OUTCOMES, p=p, size=(trials, planned)).tolist() for p in (p_different, p_kept)]
    return [played(different, kept, planned, **options) for different, kept in zip(*draw, strict=True)]


@given(st.integers(1, 200), st.integers(1, 8))
def test_the_levels_of_all_looks_sum_to_no_more_than_the_whole(rollouts, most):
    plan = looks(rollouts, most)
    assert sum(look.level for look in plan) == pytest.approx(ALPHA)
    assert [look.drawn for look in plan] == sorted({look.drawn for look in plan})
    assert plan[-1].drawn == plan[-1].planned == rollouts
    assert all(look.level >= 0 for look in plan)
    assert len(plan) <= most


def test_six_rollouts_lose_nothing_to_their_early_look():
    """Three on each side confirm nothing, whatever they say: the look costs no part of the level."""
    first, last = looks(6)
    assert (first.drawn, first.level, last.level) == (3, 0, pytest.approx(ALPHA))


def test_settings_that_cannot_be():
    for wrong in [(0, 4), (6, 0)]:
        with pytest.raises(ValueError, match="both are at least 1"):
            looks(*wrong)


@pytest.mark.parametrize(("planned", "share"), [(12, 1.0), (20, 0.7)])
def test_without_an_effect_at_most_five_percent_are_confirmed_with_early_looks(planned, share):
    """250 tests each: 5 % and three standard errors of that."""
    same = [0.5, 0.3, 0.1, 0.1]
    found = many(same, same, planned, 250, share=share)
    assert sum(confirmed for confirmed, _, _ in found) / len(found) <= 0.05 + 3 * (0.05 * 0.95 / 250) ** 0.5


def test_six_rollouts_confirm_nothing_without_an_effect_more_often_than_in_five_percent():
    """Exactly: over all that six rollouts on each side can be, two answers after three and after six of them."""
    ways = [range(4)] * 4  # how many of the first and of the last three are the one answer, on either side
    row = {at: [1] * at + [0] * (3 - at) for at in range(4)}
    alarms = {way: played(row[way[0]] + row[way[1]], row[way[2]] + row[way[3]], 6)[0] for way in product(*ways)}
    assert any(alarms.values())
    for chance in (0.05, 0.2, 0.35, 0.5):
        share = {at: comb(3, at) * chance**at * (1 - chance) ** (3 - at) for at in range(4)}
        assert sum(alarm * prod(share[at] for at in way) for way, alarm in alarms.items()) <= ALPHA


def test_a_planted_effect_stops_early_and_is_confirmed():
    found = many([0.05, 0.95, 0, 0], [0.95, 0.05, 0, 0], 40, 30)
    assert sum(confirmed for confirmed, _, _ in found) >= 29
    assert sum(why == CONFIRMED_EARLY for _, why, _ in found) >= 29
    assert np.mean([drawn for _, _, drawn in found]) <= 24


@pytest.mark.parametrize("planned", [6, 24])
def test_looking_early_costs_little_power(planned):
    one, other = [0.25, 0.65, 0.05, 0.05], [0.65, 0.25, 0.05, 0.05]
    early = np.mean([confirmed for confirmed, _, _ in many(one, other, planned, 100)])
    late = np.mean([confirmed for confirmed, _, _ in many(one, other, planned, 100, most=1)])
    assert late - early <= 0.1


def counted(*groups):
    return [effect.counts(np.array(group, dtype=int), 2) for group in groups]


@pytest.mark.parametrize("most", [4, 8, 13])
def test_out_of_reach_is_what_no_rest_confirms(most):
    """Against every number of those still to come that may differ, at every later look, with the clearest answers."""
    clearest, plan = effect.Effect(1.0, 1.0, (1.0, 1.0), p_value=0.0), looks(40, most)
    found = set()
    for at, look in enumerate(plan[:-1]):
        for differing in range(look.drawn + 1):
            reached = any(
                effect.confirmed(clearest, differing + more, later.drawn, later.level)
                for later in plan[at + 1 :]
                for more in range(later.drawn - look.drawn + 1)
            )
            assert out_of_reach(look, differing) is not reached
            found.add(reached)
    assert found == ({True} if most == 4 else {True, False})


def test_the_trend_may_give_up_what_another_rest_would_have_confirmed():
    """So a futile test says nothing of what it did not draw."""
    first, last = looks(6)
    kept, different = [0, 0, 1], [0, 0, 0]
    assert why_stop(first, None, kept, different, 3, 2, 0) == FUTILE
    after = effect.measure([*kept, 1, 1, 1, 1], [*different, 0, 0], 2, 0)
    assert effect.confirmed(after, 5, 6, last.level)
    assert why_stop(last, None, kept, different, 3, 2, 0) == ALL_DRAWN


def test_hopeless_is_only_said_of_half_the_rollouts_and_of_no_trend():
    random = np.random.default_rng(0)
    early, half = looks(20)[:2]
    alike, apart = counted([0, 1] * 5, [1, 0] * 5), counted([0] * 10, [1] * 6 + [0] * 4)
    assert hopeless(half, alike, random)
    assert hopeless(half, counted([], [0]), random)
    assert not hopeless(half, apart, random)
    assert not hopeless(early, alike, random)


def test_too_few_that_differ_are_futile():
    first, *_, late = looks(40, most=8)[:-1]
    apart = [1] * 2, [0] * 35
    assert futile(late, *apart, 2, 2, seed=0)
    assert not futile(first, *apart, 2, 2, seed=0)
