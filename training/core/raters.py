"""How much each rater's judgements count."""

from __future__ import annotations

import torch
from torch import Tensor

from training.core.data import Pairs
from training.core.davidson import agreement

ENOUGH = 20
"""Judgements by which a rater starts to be known. With fewer, a rater counts as everyone."""

MOST = 2.0


def rater_weights(pairs: Pairs, difference: Tensor) -> Tensor:
    """A weight for each judgement, [N], by how often its rater agrees with `difference` [N], which must come from
    scorers that did not see the judgement.

    A rater's agreement above chance, relative to that of all, is drawn towards 1 as if by ENOUGH further judgements
    like everyone's. It stays between 0 (agrees no more than a coin) and MOST. Unknown raters weigh 1.
    """
    weight = torch.ones(len(pairs))
    counted = pairs.decided & (pairs.raters >= 0)
    if not counted.any():
        return weight
    above = agreement(difference, pairs.outcomes) - 0.5
    usual = float(above[counted].mean())
    if usual <= 0:
        return weight  # the scorers know nothing yet: nobody can be measured by them
    for rater in torch.unique(pairs.raters[counted]).tolist():
        own = counted & (pairs.raters == rater)
        count = int(own.sum())
        if count >= ENOUGH:
            shrunk = (float(above[own].sum()) + ENOUGH * usual) / (count + ENOUGH)
            weight[pairs.raters == rater] = min(max(shrunk / usual, 0.0), MOST)
    return weight


def judgement_weights(pairs: Pairs) -> Tensor:
    """[N]: the given weight, times the strength relative to the mean strength of those that have one."""
    known = ~torch.isnan(pairs.strength)
    if not known.any():
        return pairs.weight
    relative = pairs.strength / pairs.strength[known].mean()
    return pairs.weight * torch.where(known, relative, 1.0)
