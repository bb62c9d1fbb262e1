"""Groups of texts that say much the same, by how alike they are."""

from __future__ import annotations

from torch import Tensor


def clustered(cosines: Tensor, similar: float) -> list[list[int]]:
    """Average linkage: the two groups most alike on average are joined, as long as that average is `similar` or more.

    cosines [N, N], symmetric; -1 is not alike, and keeps two texts apart for good. Groups hold numbers of texts in
    order; the largest group first, of two as large the one that begins earlier.
    """
    alike = cosines.double().masked_fill(cosines <= -1, float("-inf"))
    alike.fill_diagonal_(float("-inf"))
    groups = {at: [at] for at in range(len(cosines))}
    while len(groups) > 1:
        best = int(alike.argmax())
        one, other = sorted(divmod(best, len(cosines)))
        if alike[one, other] < similar:
            break
        sizes = len(groups[one]), len(groups[other])
        joined = (sizes[0] * alike[one] + sizes[1] * alike[other]) / sum(sizes)
        alike[one], alike[:, one] = joined, joined
        alike[other], alike[:, other] = float("-inf"), float("-inf")
        alike[one, one] = float("-inf")
        groups[one] = sorted(groups[one] + groups.pop(other))
    return sorted(groups.values(), key=lambda group: (-len(group), group[0]))


def typical(cosines: Tensor, group: list[int]) -> int:
    """The text of a group that is most like the others; the earliest of several, whatever the rounding of cosines."""
    own = cosines[group][:, group].double().fill_diagonal_(0)
    return group[int(own.sum(1).round(decimals=4).argmax())]
