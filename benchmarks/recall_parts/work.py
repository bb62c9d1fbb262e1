"""The work file: everything that the model wrote and measured, one problem a line.

A line is appended whole and is on the disk before the next problem is begun; what a kill left of a last line is cut
off. The first line holds the settings. The analysis needs this file and no model.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from inference.core import StepSignals, Trace

SCHEMA = 1


class WorkFileError(Exception):
    """The file cannot be read or gone on with, and was left as it is. Says why, and what to do."""


@dataclass(frozen=True)
class Continuation:
    """What the model wrote from a boundary on, to the end of its turn, and how many tokens that took."""

    text: str
    tokens: int


@dataclass(frozen=True)
class Worked:
    """One problem. `written` maps a boundary, as the number of the chain's token behind it, to R continuations.

    `features` [S, F] float32 are the step features that a head reads. A problem without a usable chain has a reason
    in `failure`, and neither trace nor numbers.
    """

    name: str
    trace: Trace | None = None
    signals: tuple[StepSignals, ...] = ()
    features: Tensor | None = None
    written: Mapping[int, Sequence[Continuation]] | None = None
    failure: str = ""
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        line: dict[str, Any] = {"name": self.name, "failure": self.failure, "seconds": round(self.seconds, 2)}
        if self.trace is None or self.features is None or self.written is None:
            return line
        return line | {
            "trace": self.trace.to_json(),
            "signals": [asdict(signal) for signal in self.signals],
            "features": packed(self.features),
            "written": {str(at): [[one.text, one.tokens] for one in rows] for at, rows in self.written.items()},
        }

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> Worked:
        if "trace" not in line:
            return cls(line["name"], failure=line["failure"], seconds=line["seconds"])
        return cls(
            name=line["name"],
            trace=Trace.from_json(line["trace"]),
            signals=tuple(StepSignals(**signal) for signal in line["signals"]),
            features=unpacked(line["features"]),
            written={int(at): [Continuation(*one) for one in rows] for at, rows in line["written"].items()},
            failure=line["failure"],
            seconds=line["seconds"],
        )


def packed(features: Tensor) -> dict[str, Any]:
    raw = features.to(torch.float32).contiguous().numpy().astype("<f4").tobytes()
    return {"shape": list(features.shape), "float32": base64.b64encode(raw).decode()}


def unpacked(data: Mapping[str, Any]) -> Tensor:
    raw = np.frombuffer(base64.b64decode(data["float32"]), dtype="<f4")
    return torch.from_numpy(raw.reshape(data["shape"]).astype(np.float32))


class WorkFile:
    """`known` maps the names of the problems that are in the file to what is known of them."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Open for going on, or begin. Raises WorkFileError for a file of other settings, or of something else."""
        self.path = path
        self.known: dict[str, Worked] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = locked(path)
        if path.exists() and path.stat().st_size:
            found, worked = read(path)
            if found != dict(settings):
                raise WorkFileError(f"{path} was made with {found}, now {dict(settings)}; name another --work.")
            self.known = {one.name: one for one in worked}
            os.truncate(path, path.read_bytes().rfind(b"\n") + 1)
        else:
            self.write({"schema": SCHEMA, "settings": dict(settings)})

    def append(self, worked: Worked) -> None:
        self.write(worked.to_json())
        self.known[worked.name] = worked

    def write(self, line: Mapping[str, Any]) -> None:
        self.file.write(encoded(line))
        self.file.flush()
        os.fsync(self.file.fileno())


def locked(path: Path) -> BinaryIO:
    """The file, opened for appending by this process alone. The lock goes with the process."""
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise WorkFileError(f"Another process is writing {path}; wait for it, or name another --work.") from error
    return file


def encoded(line: Mapping[str, Any]) -> bytes:
    return json.dumps(line, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def rewrite(path: Path, settings: Mapping[str, Any], worked: Sequence[Worked]) -> None:
    """Replace the file, at once."""
    lines = [{"schema": SCHEMA, "settings": dict(settings)}, *(one.to_json() for one in worked)]
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(b"".join(map(encoded, lines)))
    partial.replace(path)


def read_all(paths: Sequence[Path]) -> tuple[dict[str, Any], list[Worked]]:
    """Several files of the same settings as one; a problem that is in two counts once. Raises WorkFileError."""
    settings, _ = read(paths[0])
    known: dict[str, Worked] = {}
    for path in paths:
        own, worked = read(path)
        if own != settings:
            raise WorkFileError(f"{path} was made with {own}, {paths[0]} with {settings}; name files of one kind.")
        known |= {one.name: one for one in worked}
    return settings, list(known.values())


def read(path: Path) -> tuple[dict[str, Any], list[Worked]]:
    """Settings, and the problems of all whole lines. Raises WorkFileError where the file is no work file."""
    if not path.is_file():
        raise WorkFileError(f"{path} is not there; name a file that --work has written.")
    first, *rest = path.read_bytes().split(b"\n")[:-1] or [b""]
    try:
        head = json.loads(first)
        if head["schema"] != SCHEMA:
            raise WorkFileError(f"{path} has schema {head['schema']}; this version reads {SCHEMA}.")
        return head["settings"], [Worked.from_json(json.loads(line)) for line in rest]
    except (ValueError, KeyError, TypeError) as error:
        raise WorkFileError(f"{path} is no work file of recall.py ({error!r}); name another one.") from error
