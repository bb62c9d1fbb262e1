"""Rollouts that are finished, kept until the explanation that they are for is stored: a kill costs one batch.

One file of JSON lines for each trace or run. A line is whole or ignored, so that neither a kill nor a second writer
can do worse than have a row written again. Lines are handed to the system at once and not synced to the disk: what a
power failure takes is written anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, astuple
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from inference.core.provenance import provenance
from inference.core.records import Token, Trace

if TYPE_CHECKING:
    from inference.core.language_model import LanguageModel
    from inference.core.rollouts import Start

MADE_BY = ("model", "revision", "weights", "device", "dtype", "torch", "transformers", "code")

BEGINNING = b'{"key": '

Tokens = tuple[Token, ...]


class Kept(Protocol):
    """Rows by a key that stands for everything that decides them."""

    def get(self, key: str) -> Tokens | None: ...

    def put(self, key: str, tokens: Tokens) -> None: ...


class KeptError(OSError):
    """The file is somebody else's, and was left untouched. Says what to do."""


class KeptFile:
    """`Kept` in a file of JSON lines, which is made at the first `put`, with its folder.

    Opening reads what is there and cuts off a last line that a kill left torn. Raises OSError where the file cannot
    be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = read(path)

    def __str__(self) -> str:
        return str(self.path)

    def get(self, key: str) -> Tokens | None:
        return self.rows.get(key)

    def put(self, key: str, tokens: Tokens) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"key": key, "tokens": [astuple(token) for token in tokens]})
        with self.path.open("ab", buffering=0) as file:
            file.write(line.encode() + b"\n")
        self.rows[key] = tokens

    def remove(self) -> None:
        """Once what the rows were for is stored."""
        self.path.unlink(missing_ok=True)
        self.rows = {}


def remove_old(folder: Path, before: float) -> int:
    """Remove the files of `folder` that no row was added to since `before` (seconds since 1970); how many."""
    old = [path for path in folder.glob("*.jsonl") if path.stat().st_mtime < before]
    for path in old:
        path.unlink(missing_ok=True)
    return len(old)


def read(path: Path) -> dict[str, Tokens]:
    if not path.exists():
        return {}
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    if end < len(content):
        with path.open("r+b") as file:
            file.truncate(end)
    return dict(row for line in content[:end].splitlines() if (row := row_of(line)))


def check_own(path: Path) -> None:
    """Raises KeptError where a file is there whose first line, whole or torn, is not one of these."""
    first, newline, _ = path.read_bytes().partition(b"\n") if path.exists() else (b"", b"", b"")
    if not (row_of(first) if newline else BEGINNING.startswith(first[: len(BEGINNING)])):
        raise KeptError(
            f"{path} holds no rollouts of an interrupted run, and would be written over. Move it away, or name "
            "another --out."
        )


def row_of(line: bytes) -> tuple[str, Tokens] | None:
    """None for what is no line of this file."""
    try:
        found: Any = json.loads(line)
        return found["key"], tuple(Token(*token) for token in found["tokens"])
    except (ValueError, TypeError, KeyError):
        return None


def row_keys(model: LanguageModel, start: Start, options: Sequence[str], rows: Sequence[int]) -> list[str]:
    """The key of each of the rows of a start: of model, code, all that is before them, and how they are drawn."""
    made_by = {name: value for name, value in provenance(model).items() if name in MADE_BY}
    decides = [made_by, list(start.ids), asdict(start.sampling), list(options)]
    digest = hashlib.sha256(json.dumps(decides).encode()).hexdigest()
    return [f"{digest}-{row}" for row in rows]


def trace_digest(trace: Trace) -> str:
    """A name for the file of a trace's rows."""
    return hashlib.sha256(json.dumps(trace.to_json(), sort_keys=True).encode()).hexdigest()
