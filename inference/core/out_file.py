"""The file that `explain` writes: one JSON object a line, one line a problem, and a killed run goes on where it was.

A line is appended whole and is on the disk before the next problem is begun. What a kill left of a last line is cut
off when the file is opened again. Each line carries the settings that it was made with; a file of other settings is
refused untouched, so that no file ever mixes two recipes.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeGuard

SCHEMA = 1
FIELDS = ("schema", "key", "problem", "settings", "trace", "text", "evidence", "error", "provenance", "seconds")
BEGINNING = b'{"schema": '


class OutFileError(Exception):
    """The file cannot be gone on with, and was left as it is. Says why, and what to do."""


def encoded(line: Mapping[str, Any]) -> bytes:
    """Raises ValueError for NaN and infinity, which JSON does not have."""
    ordered = {name: line[name] for name in FIELDS}
    return json.dumps(ordered, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def is_own(line: object) -> TypeGuard[dict[str, Any]]:
    return (
        isinstance(line, dict)
        and tuple(line) == FIELDS
        and line["schema"] == SCHEMA
        and isinstance(line["key"], str)
        and isinstance(line["settings"], dict)
    )


class StandardOut:
    """Lines for another program to read; there is nothing to go on with."""

    known: Mapping[str, dict[str, Any]] = {}
    dropped: Mapping[str, dict[str, Any]] = {}

    def __enter__(self) -> StandardOut:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def append(self, line: Mapping[str, Any]) -> None:
        sys.stdout.write(encoded(line).decode())
        sys.stdout.flush()


class OutFile:
    """`known` maps the key of each problem that is in the file to its line, `dropped` of each that was taken out.

    `settings` are those of this run, `problems` (key -> question and options) what it wants explained. With `again`
    the lines that hold an error are dropped on entering, and so made anew. Entering raises OutFileError when another
    process writes the file, when it holds anything else than lines of `explain`, or lines of other settings or of
    other problems under the same keys.
    """

    def __init__(
        self, path: Path, settings: Mapping[str, Any], problems: Mapping[str, Mapping[str, Any]], again: bool = False
    ) -> None:
        self.path, self.settings, self.problems, self.again = path.resolve(), settings, problems, again
        self.known: dict[str, dict[str, Any]] = {}
        self.dropped: dict[str, dict[str, Any]] = {}
        self.new = False
        self.opened: list[BinaryIO] = []

    def __enter__(self) -> OutFile:
        self.new = not self.path.exists()
        if not self.new and not self.path.is_file():
            raise OutFileError(f"{self.path} is no plain file; name a file for --out.")
        if not self.path.parent.is_dir():
            raise OutFileError(f"There is no folder {self.path.parent}; make it, or name another --out.")
        try:
            self.open(self.path)
            lines, end = self.read()
            os.truncate(self.path, end)
            self.keep(lines)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def append(self, line: Mapping[str, Any]) -> None:
        """Raises OSError when the line cannot be written, for example because the disk is full."""
        self.opened[-1].write(encoded(line))
        self.on_disk()
        self.known[line["key"]] = dict(line)

    def open(self, path: Path) -> None:
        """Open for appending, and lock against other processes. The lock dies with this one."""
        file = path.open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise OutFileError(f"Another process is writing {path}; wait for it, or name another --out.") from error
        self.opened.append(file)

    def close(self) -> None:
        """A new file in which nothing was written is taken away again."""
        if self.opened and self.new and not self.path.stat().st_size:
            self.path.unlink()
        while self.opened:
            self.opened.pop().close()

    def read(self) -> tuple[list[dict[str, Any]], int]:
        """The file's whole lines, and the number of bytes that they take."""
        content = self.path.read_bytes()
        end = content.rfind(b"\n") + 1
        torn = content[end:]
        if not BEGINNING.startswith(torn[: len(BEGINNING)]):
            raise OutFileError(f"{self.path} ends in something that is no line of explain; name another --out.")
        whole = content[:end].split(b"\n")[:-1]
        return [self.checked(raw, number) for number, raw in enumerate(whole, start=1)], end

    def checked(self, raw: bytes, number: int) -> dict[str, Any]:
        where = f"{self.path}, line {number}"
        try:
            line: Any = json.loads(raw)
        except ValueError as error:
            raise OutFileError(f"{where} is no JSON ({error}); name another --out.") from error
        if not is_own(line):
            raise OutFileError(f"{where} is no line of explain with schema {SCHEMA}; name another --out.")
        self.check_settings(line["settings"], where)
        wanted = self.problems.get(line["key"])
        if wanted is not None and wanted != line["problem"]:
            raise OutFileError(
                f"{where} holds another problem under the key {line['key']}. Give the file of problems that it was "
                "made from, or name another --out."
            )
        return line

    def check_settings(self, found: Mapping[str, Any], where: str) -> None:
        names = dict.fromkeys([*self.settings, *found])
        different = [
            f"{name} {found.get(name, 'not set')}, now {self.settings.get(name, 'not set')}"
            for name in names
            if found.get(name) != self.settings.get(name)
        ]
        if different:
            raise OutFileError(
                f"{where} was made with other settings: {'; '.join(different)}. "
                "Go on with the same settings, or name another --out."
            )

    def keep(self, lines: list[dict[str, Any]]) -> None:
        kept = [line for line in lines if line["error"] is None or not self.again]
        self.dropped = {line["key"]: line for line in lines if line["error"] is not None and self.again}
        if self.dropped:
            self.rewrite(kept)
        self.known = {line["key"]: line for line in kept}

    def rewrite(self, lines: list[dict[str, Any]]) -> None:
        """Replace the file by `lines`, at once. The old one stays open and locked, for who may have opened it."""
        partial = self.path.with_name(f"{self.path.name}.partial")
        partial.unlink(missing_ok=True)  # of a run that was killed
        self.open(partial)
        self.opened[-1].writelines(encoded(line) for line in lines)
        self.on_disk()
        partial.replace(self.path)

    def on_disk(self) -> None:
        self.opened[-1].flush()
        os.fsync(self.opened[-1].fileno())
