"""Writes preferences into a file with its codebook: both whole, or nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from studies import preferences
from studies.export import line
from studies.preference_codebook import MEANINGS
from studies.preferences import DROP, SOFT, SPLIT, TIES, Preference, Row

PAIRED = ("trl", "unpaired")
FORMATS = (*PAIRED, "arena", "csv", "parquet")
BATCH = 500


@dataclass
class Counts:
    """What went in and what came out."""

    judgements: int = 0
    decided: int = 0
    ties: int = 0
    both_bad: int = 0
    left_out: int = 0
    rows: int = 0

    def add(self, given: Preference, rows: int) -> None:
        self.judgements += 1
        self.decided += given.decided
        self.ties += given.choice == "tie"
        self.both_bad += given.choice == "both_bad"
        self.left_out += not rows
        self.rows += rows


@dataclass
class Shape:
    """How to write: the format, and for TRL's formats what becomes of ties and how texts are put."""

    format: str
    ties: str = ""
    conversational: bool = False
    counts: Counts = field(default_factory=Counts)
    columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        paired = self.format in PAIRED
        if self.ties and not paired:
            raise ValueError(f"{self.format} has ties of its own and keeps them all; --ties is for trl and unpaired")
        if self.conversational and not paired:
            raise ValueError(f"{self.format} has one way to put texts; --conversational is for trl and unpaired")
        if self.format == "unpaired" and self.ties == SOFT:
            raise ValueError("an unpaired label is true or false, so a tie cannot be soft; give drop or split")
        self.ties = self.ties or (DROP if paired else "")

    def rows(self, given: Iterable[Preference]) -> Iterator[Row]:
        """The rows of all that is given, counted as they pass. Raises ValueError at the end if there was none."""
        for one in given:
            rows = self.rows_of(one)
            self.counts.add(one, len(rows))
            self.columns = self.columns or tuple(rows[0] if rows else ())
            yield from rows
        if not self.counts.rows:
            raise ValueError(f"no row would be left of {self.counts.judgements} judgements. {self.ties_in_words()}")

    def rows_of(self, one: Preference) -> list[Row]:
        if self.format == "trl":
            return preferences.trl_rows(one, self.ties, self.conversational)
        if self.format == "unpaired":
            return preferences.unpaired_rows(one, self.ties, self.conversational)
        return [preferences.arena_row(one) if self.format == "arena" else preferences.table_row(one)]

    def in_words(self) -> str:
        """One line on what was written, and what became of the answers that prefer neither."""
        counts = self.counts
        wrote = f"{counts.rows} rows ({self.format}) from {counts.judgements} judgements: {counts.decided} decided"
        return f"{wrote}, {counts.ties} ties, {counts.both_bad} both bad. {self.ties_in_words()}"

    def ties_in_words(self) -> str:
        if not self.ties:
            return "Ties and both bad are kept as such."
        both = "Both bad: two rows labelled false." if self.format == "unpaired" else "Both bad: the same."
        others = f" Other choices: --ties {' or '.join(self.other_ties())}." if self.ties == DROP else ""
        return f"Ties: {TIES[self.ties]} (--ties {self.ties}). {both}{others}"

    def other_ties(self) -> tuple[str, ...]:
        return (SPLIT,) if self.format == "unpaired" else (SPLIT, SOFT)


def write(rows: Iterable[Row], shape: Shape, path: Path, about: Row) -> Path:
    """Write `rows` to `path` and beside it the codebook, whose path is returned. On any failure neither is there.

    `about` goes into the codebook. Raises MissingLibraryError for Parquet without pyarrow.
    """
    with renamed(path) as partial:
        if shape.format == "parquet":
            write_parquet(rows, partial)
        else:
            with partial.open("w", encoding="utf-8", newline="") as file:
                file.writelines(lines(rows, shape.format))
        with renamed(path.with_name(f"{path.name}.codebook.json")) as book:
            book.write_text(json.dumps(codebook(partial, shape, path.name, about), indent=2) + "\n")
    return path.with_name(f"{path.name}.codebook.json")


@contextmanager
def renamed(path: Path) -> Iterator[Path]:
    """A file beside `path` that takes its place at the end, or goes away if there is none."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def lines(rows: Iterable[Row], format: str) -> Iterator[str]:
    """JSON lines, or CSV with a header, in which no cell can be run as a formula."""
    if format != "csv":
        yield from (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        return
    for number, row in enumerate(rows):
        if not number:
            yield line(row)
        yield line({**row, "judged_at": row["judged_at"].isoformat()}.values())


class MissingLibraryError(Exception):
    """A library is not installed that this format needs. Says how to get it."""


def write_parquet(rows: Iterable[Row], path: Path) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingLibraryError(
            "Parquet needs pyarrow, which is not installed. Run: pip install -c constraints.txt pyarrow"
        ) from error
    left = iter(rows)
    batch = list(islice(left, BATCH))
    schema = pa.schema([(name, parquet_type(name)) for name in batch[0]])
    with pq.ParquetWriter(path, schema) as writer:
        while batch:
            writer.write_table(pa.Table.from_pylist(batch, schema))
            batch = list(islice(left, BATCH))


def parquet_type(column: str) -> Any:
    import pyarrow as pa

    known = {"first_on_left": pa.bool_(), "strength": pa.int8(), "judged_at": pa.timestamp("us", "UTC")}
    numbers = dict.fromkeys(("first_id", "second_id", "judgement"), pa.int64())
    return {**known, **numbers}.get(column, pa.string())


def codebook(data: Path, shape: Shape, name: str, about: Row) -> Row:
    """What the file is, how it was made, and what its columns mean."""
    with data.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "file": name,
        "sha256": sha256,
        "format": shape.format,
        **about,
        **asdict(shape.counts),
        "ties_option": shape.ties or "none: kept as ties",
        "conversational": shape.conversational,
        "summary": shape.in_words(),
        "columns": {column: MEANINGS[column] for column in shape.columns},
    }
