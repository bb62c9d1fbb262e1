"""Data that cannot be trained on, refused before anything is computed."""

from __future__ import annotations

import torch

from training.core.data import Pairs
from training.core.davidson import FIRST, SECOND

LEAST_DECIDED = 30
LEAST_PROBLEMS = 10


class UnfitDataError(ValueError):
    """Nothing can be learned from these judgements. Says what is missing."""


def check_amount(pairs: Pairs) -> None:
    """For all judgements there are, before any is held out. Raises UnfitDataError, saying how many are missing."""
    decided, problems = int(pairs.decided.sum()), pairs.problem_count
    if len(pairs) and not decided:
        raise UnfitDataError(f"All {len(pairs)} judgements are ties; training needs {LEAST_DECIDED} decided ones.")
    if decided < LEAST_DECIDED or problems < LEAST_PROBLEMS:
        raise UnfitDataError(
            f"There are {decided} decided judgements on {problems} problems; training needs at least "
            f"{LEAST_DECIDED} on {LEAST_PROBLEMS}: {missing(decided, problems)} missing."
        )


def check(pairs: Pairs) -> None:
    """For the judgements that are learned from. Raises UnfitDataError where they are all alike, or all of one
    problem, or a feature is no number."""
    decided, problems = int(pairs.decided.sum()), pairs.problem_count
    if not decided or problems < 2:
        raise UnfitDataError(
            f"There are {decided} decided judgements to learn from, on {problems} problems; at least two problems "
            "and a decided judgement are needed. Collect more."
        )
    for outcome, name in ((FIRST, "first"), (SECOND, "second")):
        if int((pairs.outcomes == outcome).sum()) == decided:
            raise UnfitDataError(
                f"All {decided} decided judgements prefer the {name} text of their pair, so that the order of the "
                "texts explains everything. Give pairs in an order that does not depend on the judgement."
            )
    check_features(pairs)


def missing(decided: int, problems: int) -> str:
    lacks = {"decided judgements": LEAST_DECIDED - decided, "problems": LEAST_PROBLEMS - problems}
    said = [f"{count} {name}" for name, count in lacks.items() if count > 0]
    return " and ".join(said) + (" are" if len(said) > 1 or max(lacks.values()) > 1 else " is")


def check_features(pairs: Pairs) -> None:
    used = torch.unique(torch.cat([pairs.first, pairs.second]))
    bad = used[~torch.isfinite(pairs.features[used]).all(1)]
    if len(bad):
        raise UnfitDataError(
            f"The features of {len(bad)} of {len(used)} texts are not finite numbers (rows {bad[:5].tolist()}). "
            "Delete them from the feature cache, and compute them in float32 if they were read in another type."
        )
