"""The numbers of a causal test from which the head predicts whether a fresh test would come to the same verdict.

The probability of that hangs on how far p is from the threshold, and hardly on the size of the test (Goodman 1992):
p just at the threshold is confirmed again about every second time. So all numbers here are such as keep their meaning
when a test gets larger, because the head learns from halves of tests and speaks of whole ones.
"""

from __future__ import annotations

import math

from inference.core.records import StepTest

CLAIM_NUMBERS = (
    "one",
    "confirmed",
    "margin",
    "margin_of_confirmed",
    "excess",
    "balance",
    "balance_of_confirmed",
    "decision_logit",
)
FURTHEST = 2.0  # of margin, in the distance from p at the threshold to p = 1
MOST_LOGIT = 5.0
BALANCED = 0.5


def claim_numbers(test: StepTest, decision_logit: float | None) -> list[float]:
    """One for each of CLAIM_NUMBERS; all about -2 to 2.

    `balance` is the share of the smaller one of the two compared groups. Excess and logit count for a confirmed
    verdict, and against the other. Without a logit, 0.
    """
    confirmed = float(test.confirmed)
    sign = 2 * confirmed - 1
    margin = margin_of(test)
    kept, different = sum(test.kept_answers.values()), sum(test.different_answers.values())
    balance = min(kept, different) / max(1, kept + different) / BALANCED
    logit = max(-MOST_LOGIT, min(MOST_LOGIT, decision_logit or 0.0)) / MOST_LOGIT
    excess = 0.0 if test.excess is None else test.excess
    return [
        1.0,
        confirmed,
        margin,
        confirmed * margin,
        sign * excess,
        balance,
        confirmed * balance,
        sign * logit,
    ]


def margin_of(test: StepTest) -> float:
    """How far ln p lies from the logarithm of the test's level, 0 to FURTHEST, in units of what p = 1 does.

    At level 0 no answers could have confirmed: 1, where it tends to as the level falls.
    """
    if test.level <= 0:
        return 1.0
    p_value = 1.0 if test.p_value is None else max(test.p_value, 1e-6)
    return min(abs(math.log(p_value / test.level)) / -math.log(test.level), FURTHEST)
