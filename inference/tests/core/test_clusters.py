"""Groups of replacements, by average linkage."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from inference.core.clusters import clustered, typical


def symmetric(size, pairs, others=0.0):
    made = torch.full((size, size), others)
    for (one, other), value in pairs.items():
        made[one, other] = made[other, one] = value
    return made.fill_diagonal_(1.0)


def test_the_average_decides_and_no_chain_of_neighbours():
    """0 is like 1 and 1 like 2, but 0 and 2 are far apart: single linkage would join all three."""
    cosines = symmetric(4, {(0, 1): 0.9, (1, 2): 0.85, (0, 2): 0.5})
    assert clustered(cosines, 0.8) == [[0, 1], [2], [3]]
    assert clustered(cosines, 0.6) == [[0, 1, 2], [3]]


def test_what_is_not_alike_at_all_never_joins():
    cosines = symmetric(3, {(0, 1): -1.0, (0, 2): 0.99, (1, 2): 0.99})
    assert [len(group) for group in clustered(cosines, -0.5)] == [2, 1]


def test_the_example_is_the_one_most_like_all_others():
    cosines = symmetric(4, {(0, 1): 0.81, (1, 2): 0.95, (0, 2): 0.81, (1, 3): 0.95, (2, 3): 0.9, (0, 3): 0.81})
    assert typical(cosines, [0, 1, 2, 3]) == 1
    assert typical(cosines, [3]) == 3


@given(st.lists(st.integers(0, 3), max_size=12))
def test_equal_texts_come_together_and_others_stay_apart(kinds):
    cosines = torch.tensor([[1.0 if one == other else 0.2 for other in kinds] for one in kinds])
    groups = clustered(cosines.reshape(len(kinds), len(kinds)), 0.8)
    assert sorted(at for group in groups for at in group) == list(range(len(kinds)))
    assert all(len({kinds[at] for at in group}) == 1 for group in groups)
    assert len(groups) == len(set(kinds))
    assert [len(group) for group in groups] == sorted(map(len, groups), reverse=True)


@pytest.mark.parametrize("similar", [0.3, 0.8])
def test_the_order_of_the_texts_does_not_matter(similar):
    random = torch.Generator().manual_seed(3)
    rows = torch.nn.functional.normalize(torch.rand(9, 4, generator=random) - 0.3, dim=-1)
    order = torch.randperm(9, generator=random)
    plain, shuffled = clustered(rows @ rows.T, similar), clustered(rows[order] @ rows[order].T, similar)
    assert {frozenset(group) for group in plain} == {frozenset(order[group].tolist()) for group in shuffled}


def test_of_two_texts_the_earlier_is_typical_whatever_the_rounding():
    """The cosine of a text with itself, and of two texts either way round, are off by a bit, by batch."""
    bit = 1e-7
    for own, other, back in ((0.0, bit, 0.0), (0.0, 0.0, bit), (bit, 0.0, 0.0), (-bit, bit, -bit)):
        cosines = torch.tensor([[1 - own, 0.9 - back], [0.9 + other, 1 + own]])
        assert typical(cosines, [0, 1]) == 0
