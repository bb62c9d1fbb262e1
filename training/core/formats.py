"""Preference files: explanations, and which of two people preferred.

    FORMAT                   what it is
    copa-sse                 COPA-SSE (Brassard et al. 2022), JSON lines: rated explanations of one question
    few-shot-explanations    few_shot_explanations (Wiegreffe et al. 2022), CSV: which of five a rater accepts
    trl                      TRL's preference format, JSON lines: prompt, chosen, rejected
    arena                    Chatbot Arena battles, JSON lines: conversation_a, conversation_b, winner

A file is read whole or refused with the line that is wrong. Of few-shot-explanations, whose published file has
damaged cells, single explanations are left out and counted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from inference.core.features import Text
from training.core.data import Judged, Margins, Pairs, margins_of_ratings


class FormatError(ValueError):
    """The file is not what its format says. Names the line, what is there and what is allowed."""


@dataclass(frozen=True)
class Pair:
    """One judgement about two texts of a file. See data.Judged for the fields."""

    first_id: str
    second_id: str
    choice: str
    problem: str
    rater: str = ""
    strength: float | None = None
    first_on_left: bool | None = None
    random: bool = True
    weight: float = 1.0


@dataclass(frozen=True)
class Rating:
    """The mean of `count` ratings of a text, on any scale."""

    text_id: str
    value: float
    count: int
    problem: str


@dataclass(frozen=True)
class PreferenceFile:
    """What one or several files say. `left_out` counts what could not be used, by reason."""

    texts: tuple[Text, ...]
    pairs: tuple[Pair, ...]
    ratings: tuple[Rating, ...] = ()
    left_out: tuple[tuple[str, int], ...] = ()

    def judged(self) -> list[Judged]:
        """The pairs as judgements about rows of the features of `texts`."""
        place = {text.id: at for at, text in enumerate(self.texts)}
        names = ("choice", "problem", "rater", "strength", "first_on_left", "random", "weight")
        return [
            Judged(place[pair.first_id], place[pair.second_id], **{name: getattr(pair, name) for name in names})
            for pair in self.pairs
        ]

    def margins(self, pairs: Pairs) -> Margins | None:
        """Differences of ratings within a problem; `pairs` are those of `judged`, whose problem numbers they take."""
        place = {text.id: at for at, text in enumerate(self.texts)}
        number = dict(zip((pair.problem for pair in self.pairs), pairs.problems.tolist(), strict=True))
        used = [rating for rating in self.ratings if rating.problem in number]
        if not used:
            return None
        return margins_of_ratings(
            torch.tensor([place[rating.text_id] for rating in used]),
            torch.tensor([rating.value for rating in used]),
            torch.tensor([float(rating.count) for rating in used]),
            torch.tensor([number[rating.problem] for rating in used]),
        )


def read(named: Sequence[str]) -> PreferenceFile:
    """Read files named FORMAT:FILE into one. Raises FormatError, or OSError for a file that cannot be read."""
    return joined([read_file(*split_name(name)) for name in named])


def split_name(named: str) -> tuple[str, Path]:
    form, separator, path = named.partition(":")
    if not separator or not path or form not in FORMATS:
        raise FormatError(f"{named!r} is not FORMAT:FILE; FORMAT is one of {', '.join(FORMATS)}")
    return form, Path(path)


def read_file(form: str, path: Path) -> PreferenceFile:
    """Read one file. Raises FormatError, naming file and line, or OSError."""
    from training.core.readers import READERS

    try:
        return READERS[form](path)
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} is not UTF-8 text: {error}") from error


def joined(files: Sequence[PreferenceFile]) -> PreferenceFile:
    """Several files as one. The same text may come in more than one; two texts of one name may not."""
    texts: dict[str, Text] = {}
    for text in (text for file in files for text in file.texts):
        if texts.setdefault(text.id, text) != text:
            raise FormatError(f"two files have different texts with the id {text.id!r}; rename one")
    return PreferenceFile(
        tuple(texts.values()),
        tuple(pair for file in files for pair in file.pairs),
        tuple(rating for file in files for rating in file.ratings),
        tuple(reason for file in files for reason in file.left_out),
    )


def read_texts(path: Path) -> tuple[Text, ...]:
    """JSON lines of {"id", "question", "answer", "explanation"}. Raises FormatError, also for an empty one."""
    texts = []
    for where, row in json_lines(path):
        words = [text_in(row, name, where) for name in ("question", "answer", "explanation")]
        if not words[2].strip():
            raise FormatError(f"{where}: the explanation is empty; give at least one word")
        if not isinstance(row.get("id"), str | int):
            raise FormatError(f"{where}: 'id' is {row.get('id')!r}; give a text or a number")
        texts.append(Text(row["id"] if isinstance(row["id"], str) else str(row["id"]), *words))
    return tuple(texts)


def json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each object with its place in words; blank lines are skipped."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield f"{path}, line {number}", json_object(line, f"{path}, line {number}")


def json_object(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise FormatError(f"{where}: not JSON ({error}); each line has to be one object") from error
    if not isinstance(row, dict):
        raise FormatError(f"{where}: {type(row).__name__} instead of an object in braces")
    return row


def text_in(row: dict[str, Any], name: str, where: str) -> str:
    if not isinstance(row.get(name), str):
        raise FormatError(f"{where}: {name!r} is {row.get(name)!r}; it has to be a text")
    return str(row[name])


def in_order(one: str, other: str) -> bool:
    """Whether `one` comes first in its pair. Decided by the names alone: the order must not tell who won."""
    return digest(f"{one} {other}") < digest(f"{other} {one}")


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def preferred(winner: str, loser: str, problem: str, **about: Any) -> Pair:
    """The pair of a judgement for `winner`."""
    if in_order(winner, loser):
        return Pair(winner, loser, "first", problem, **about)
    return Pair(loser, winner, "second", problem, **about)


def counted(reasons: Iterable[str]) -> tuple[tuple[str, int], ...]:
    every = list(reasons)
    return tuple((reason, every.count(reason)) for reason in sorted(set(every)))


FORMATS = ("copa-sse", "few-shot-explanations", "trl", "arena")
