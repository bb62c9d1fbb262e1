"""Bradley-Terry with ties (Davidson 1970): P(first) : P(tie) : P(second) = e^(d/2) : ν : e^(-d/2).

d = s_first - s_second is the difference of scores. Outcomes are class indices in the order below.
"""

from __future__ import annotations

import torch
from torch import Tensor

FIRST, TIE, SECOND = 0, 1, 2


def log_losses(difference: Tensor, log_nu: Tensor, outcomes: Tensor) -> Tensor:
    """Negative log-likelihood (nats) of each judgement, [N]. Outcomes [N] int64, differences [N] float."""
    logits = torch.stack([difference / 2, log_nu.expand_as(difference), -difference / 2], dim=1)
    return torch.nn.functional.cross_entropy(logits, outcomes, reduction="none")


def probabilities(difference: Tensor, log_nu: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """P(first), P(tie), P(second), each [...], of differences [...]."""
    win, loss = (difference / 2).exp(), (-difference / 2).exp()
    total = win + loss + log_nu.exp()
    return win / total, log_nu.exp() / total, loss / total


def accuracy(difference: Tensor, outcomes: Tensor) -> float | None:
    """Share of decided judgements that the sign of `difference` predicts, 0 counting ½. None if all are ties."""
    decided = outcomes != TIE
    return float(agreement(difference[decided], outcomes[decided]).mean()) if decided.any() else None


def agreement(difference: Tensor, outcomes: Tensor) -> Tensor:
    """1 where the sign of `difference` [N] is that of the outcome, 0 where it is not, ½ for a tie or 0: [N]."""
    return (torch.sign(difference) * (1.0 - outcomes) + 1) / 2
