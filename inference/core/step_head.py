"""What the head says of steps without rollouts: expected effect, probability of a decision point; and of claims.

Three linear scorers. Two read the same standardised features of a step (step_features.py), the third the numbers of
a finished test (replication.py). All are estimates by a model: they choose what is tested, and are never a finding.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from inference.core.records import StepEstimate, StepTest
from inference.core.replication import CLAIM_NUMBERS, claim_numbers

NUMBERS = (
    "inverse_flow",
    "fork_entropy",
    "mean_entropy",
    "position",
    "length",
    "position_flow",
    "answer_margin",
    "trajectory_shift",
    "suppression",
    "probed",
    "has_options",
    "likely_and_mattered",
)
"""The step features after the hidden states: the step's signals, whether the model could be probed at all and about
options, and the fusion of the signals."""

LEAST_EFFECT = 1e-3  # nats; steps without expected effect are still ranked by their probability


class StepHead(nn.Module):
    """`effect` and `decision` [F] weigh standardised features of a step, `base` [2] are their intercepts, `claim` [C]
    weighs the numbers of a test. All zero: nothing was learned, and every output is None."""

    mean: Tensor
    scale: Tensor
    base: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))
        self.register_buffer("base", torch.zeros(2))
        self.effect = nn.Parameter(torch.zeros(size))
        self.decision = nn.Parameter(torch.zeros(size))
        self.claim = nn.Parameter(torch.zeros(len(CLAIM_NUMBERS)))

    @property
    def tells_effects(self) -> bool:
        return bool(self.effect.any())

    @property
    def tells_decisions(self) -> bool:
        return bool(self.decision.any())

    @property
    def judges_claims(self) -> bool:
        return bool(self.claim.any())

    @property
    def ranks(self) -> bool:
        """Whether it learned anything of steps by which they can be ranked."""
        return self.tells_effects or self.tells_decisions

    def standardised(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.scale

    def forward(self, features: Tensor) -> Tensor:
        """features [S, F] float32 -> [S, 2]: expected effect beyond chance (nats), logit of a decision point."""
        return self.standardised(features) @ torch.stack([self.effect, self.decision], dim=1) + self.base

    @torch.no_grad()
    def estimates(self, features: Tensor) -> tuple[StepEstimate, ...]:
        """One for each of the steps with features [S, F]; empty if nothing was learned of steps."""
        if not self.ranks:
            return ()
        effects, logits = self(features).T
        return tuple(
            StepEstimate(
                effect=max(0.0, effect) if self.tells_effects else None,
                decision_point=probability if self.tells_decisions else None,
            )
            for effect, probability in zip(effects.tolist(), logits.sigmoid().tolist(), strict=True)
        )

    @torch.no_grad()
    def claim_confidence(self, test: StepTest, features: Tensor) -> float | None:
        """Probability, 0 to 1, that a fresh test of the same size comes to the same verdict on a step with features
        [F]. None where the head learned none, or the test compared nothing."""
        if not self.judges_claims or test.verdict == "untested":
            return None
        logit = float(self(features[None])[0, 1]) if self.tells_decisions else None
        return float((torch.tensor(claim_numbers(test, logit)) @ self.claim).sigmoid())

    @torch.no_grad()
    def forget_effects(self) -> None:
        self.effect.zero_()
        self.base[0] = 0.0

    @torch.no_grad()
    def forget_decisions(self) -> None:
        self.decision.zero_()
        self.base[1] = 0.0

    @torch.no_grad()
    def forget_claims(self) -> None:
        self.claim.zero_()


def rank_scores(estimates: Sequence[StepEstimate]) -> tuple[float, ...]:
    """By what steps are tested first: expected effect × probability, or the one of the two that was learned."""
    return tuple(
        (1.0 if one.effect is None else max(one.effect, LEAST_EFFECT))
        * (1.0 if one.decision_point is None else one.decision_point)
        for one in estimates
    )
