"""Which devices this machine has."""

from __future__ import annotations

import torch


def devices() -> list[str]:
    """Names of what torch can compute on here: "cpu" always, then "cuda" and each of its cards, "mps"."""
    found = ["cpu"]
    if torch.cuda.is_available():
        found += ["cuda", *(f"cuda:{card}" for card in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        found.append("mps")
    return found


def check_device(device: str) -> None:
    """Raises ValueError for a device that is none, or not here."""
    here = devices()
    if device not in here:
        kind = "is not on this machine" if device.partition(":")[0] in ("cuda", "mps") else "is no device"
        raise ValueError(f"device is {device!r}, which {kind}; it has {', '.join(here)}. Name one of these.")
