"""Studies, the people who rate in them, and what they answered.

A comparison is *open* while both its explanations are ready and it still wants judgements: a query, not a flag.
"""

from studies.models.checks import CheckAnswer, CheckItem
from studies.models.rating import Assignment, Judgement, Prediction, Rater
from studies.models.study import CONSENT, INSTRUCTIONS, QUESTION, Arm, Comparison, Invite, Study, new_token

__all__ = [
    "CONSENT",
    "INSTRUCTIONS",
    "QUESTION",
    "Arm",
    "Assignment",
    "CheckAnswer",
    "CheckItem",
    "Comparison",
    "Invite",
    "Judgement",
    "Prediction",
    "Rater",
    "Study",
    "new_token",
]
