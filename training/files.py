"""Preference files as a source of judgements: read by the core's formats, named by their hash."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from training.attempts import RefusedError
from training.core.data import Margins, Pairs
from training.core.formats import FormatError, PreferenceFile, read_file, split_name
from training.material import Material


@dataclass(frozen=True)
class Source:
    """A file that was read. A run names it without the folder that it lay in."""

    form: str
    path: Path
    sha256: str
    content: PreferenceFile

    def named_json(self) -> dict[str, Any]:
        about = {"format": self.form, "name": self.path.name, "sha256": self.sha256}
        return {**about, "pairs": len(self.content.pairs), "left_out": dict(self.content.left_out)}

    def lines(self) -> list[dict[str, Any]]:
        """What a snapshot keeps of each pair: the file, and which texts of it were compared how."""
        return [{"file": self.sha256, **vars(pair)} for pair in self.content.pairs]

    def material(self) -> Material:
        slices = tuple({"file": self.path.name} for _ in self.content.pairs)
        return Material(self.content.texts, tuple(self.content.judged()), slices)


def read(named: str) -> Source:
    """Read FORMAT:FILE. Raises RefusedError, naming file and line, for anything that is not as the format says."""
    try:
        form, path = split_name(named)
        return Source(form, path, hashlib.sha256(path.read_bytes()).hexdigest(), read_file(form, path))
    except (FormatError, OSError) as error:
        raise RefusedError(str(error)) from error


def margins(sources: Sequence[Source], pairs: Pairs) -> Margins | None:
    """What the files' ratings say, about the rows of `pairs`, at whose end the files' texts and judgements stand."""
    text = len(pairs.features) - sum(len(source.content.texts) for source in sources)
    row = len(pairs) - sum(len(source.content.pairs) for source in sources)
    found = []
    for source in sources:
        here = torch.arange(len(pairs))
        mine = pairs.where((here >= row) & (here < row + len(source.content.pairs)))
        own = source.content.margins(mine)
        if own is not None:
            found.append(Margins(own.first + text, own.second + text, own.values, own.weight, own.problems))
        text, row = text + len(source.content.texts), row + len(source.content.pairs)
    return joined(found) if found else None


def joined(parts: Sequence[Margins]) -> Margins:
    names = ("first", "second", "values", "weight", "problems")
    return Margins(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})
