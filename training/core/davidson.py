"""Bradley-Terry with ties (Davidson 1970): P(win) : P(tie) : P(loss) = e^(d/2) : ν : e^(-d/2).

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


def accuracy(difference: Tensor, outcomes: Tensor) -> float | None:
    """Share of decided judgements that the sign of `difference` predicts, 0 counting ½. None if all are ties."""
    decided = outcomes != TIE
    if not decided.any():
        return None
    wanted = torch.where(outcomes[decided] == FIRST, 1.0, -1.0)
    agreement = torch.sign(difference[decided]) * wanted
    return float(((agreement + 1) / 2).mean())
