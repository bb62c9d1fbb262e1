"""Problem files: JSON lines in, checked problems out. Three formats, and every line is checked before any is used.

sage          {"key": "maths-01", "kind": "maths", "question": "...", "options": ["...", "..."], "gold": 1}
              {"key": "maths-02", "kind": "maths", "question": "...", "asks": "number", "gold": 12.5}
              {"key": "logic-03", "kind": "logic", "question": "...", "asks": "free", "gold": "Carl"}
              `kind` is logic, maths, commonsense or ethics; only a choice needs `gold`, unless of the kind ethics.
aqua-rat      {"question": "...", "options": ["A)21", ...], "rationale": "...", "correct": "B"}
commonsenseqa {"id": "...", "answerKey": "B",
               "question": {"stem": "...", "choices": [{"label": "A", "text": "..."}, ...]}}
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from inference.core.numerals import canonical, stated_numbers, ungrouped
from inference.core.records import ASKS

MAX_FILE_BYTES = 50_000_000
MAX_LINE_BYTES = 100_000
MAX_QUESTION = 5_000
MAX_OPTION = 500
MAX_OPTIONS = 10
MAX_FAULTS_SHOWN = 20

KEY = re.compile(r"[A-Za-z0-9._:-]{1,100}")
KINDS = ("logic", "maths", "commonsense", "ethics")
LETTERS = "ABCDEFGHIJ"
SAGE_FIELDS = ("key", "kind", "question", "asks", "options", "gold")
EMPTY = "{} is empty. Give a file with one JSON object on each line."
MARKS = {"sage": "key", "aqua-rat": "correct", "commonsenseqa": "answerKey"}
"""The field that only this format has."""


@dataclass(frozen=True)
class ParsedProblem:
    """A checked problem, `asks` as in `records.Problem`.

    Of a choice, `gold` counts from 0 into the 2 to 10 `options`; None where no answer is right. Without options
    `gold_text` is the right number or text, empty where there is none.
    """

    key: str
    kind: str
    question: str
    options: tuple[str, ...]
    gold: int | None
    asks: str = "choice"
    gold_text: str = ""


@dataclass(frozen=True)
class Fault:
    """Why one line of a file cannot be used. `line` counts from 1, blank lines included."""

    line: int
    field: str
    given: str
    allowed: str

    def __str__(self) -> str:
        return f"line {self.line}, {self.field}: given {self.given}; allowed: {self.allowed}"


@dataclass(frozen=True)
class Reading:
    """What a file holds: the usable problems in file order, and a fault for every other line."""

    path: Path
    problems: list[ParsedProblem] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    @property
    def count(self) -> str:
        return f"{len(self.faults)} bad line{'' if len(self.faults) == 1 else 's'}"

    def report(self) -> str:
        """The first 20 faults, one a line, and how many more there are."""
        shown = [f"  {fault}" for fault in self.faults[:MAX_FAULTS_SHOWN]]
        more = len(self.faults) - len(shown)
        return "\n".join(shown + ([f"  and {more} more"] if more else []))


class ProblemFileError(Exception):
    """A file that cannot be read as asked. Its text names the lines, what they gave and what is allowed."""


class RefusedError(Exception):
    """Inside this module: a value of one line is not allowed. Becomes a Fault once the line number is known."""

    def __init__(self, name: str, given: object, allowed: str) -> None:
        super().__init__(name, given, allowed)
        self.name, self.given, self.allowed = name, show(given), allowed


def read_problems(path: Path, format: str) -> list[ParsedProblem]:
    """Every problem of the file, or ProblemFileError with all that is wrong: one bad line refuses the file."""
    reading = scan(path, format)
    if reading.faults:
        raise ProblemFileError(f"{path}: {reading.count} for the format {format}.\n{reading.report()}")
    return reading.problems


def scan(path: Path, format: str) -> Reading:
    """Read the file and sort its lines into problems and faults. Raises ProblemFileError only where the file
    as a whole cannot be used: unknown format, no file, too large, or without a single line."""
    if format not in PARSERS:
        raise ProblemFileError(f"Unknown format {format!r}. Allowed: {', '.join(PARSERS)}.")
    reading = Reading(path)
    seen: dict[str, int] = {}
    for line, raw in lines(path):
        try:
            problem = PARSERS[format](decode(raw), line)
            if problem.key in seen:
                raise RefusedError("key", problem.key, f"a key of its own (line {seen[problem.key]} has it)")
        except RefusedError as refused:
            reading.faults.append(Fault(line, refused.name, refused.given, refused.allowed))
        else:
            seen[problem.key] = line
            reading.problems.append(problem)
    if not reading.problems and not reading.faults:
        raise ProblemFileError(EMPTY.format(path))
    return reading


def guess_format(path: Path) -> str:
    """The format that the file's first telling line has. Raises ProblemFileError when no line tells."""
    empty = True
    for _, raw in lines(path):
        empty = False
        try:
            row = decode(raw)
        except RefusedError:
            continue  # `scan` says what is wrong with it
        for format, mark in MARKS.items():
            if mark in row:
                return format
    if empty:
        raise ProblemFileError(EMPTY.format(path))
    marks = ", ".join(f"{mark!r} ({format})" for format, mark in MARKS.items())
    raise ProblemFileError(f"{path} has no line with one of the fields {marks}. Give a file in one of these formats.")


def lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """(line number from 1, bytes without the line end) of every line that is not blank."""
    if not path.is_file():
        raise ProblemFileError(f"{path} is not a file. Give the path of a file of JSON lines.")
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise ProblemFileError(f"{path} has {size:,} bytes; allowed: {MAX_FILE_BYTES:,}. Split the file.")
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            # Some editors put a byte order mark before the first line.
            content = raw.removeprefix(b"\xef\xbb\xbf").strip() if number == 1 else raw.strip()
            if content:
                yield number, content


# -- One line -----------------------------------------------------------------------------------------------------


def decode(raw: bytes) -> dict[str, Any]:
    if len(raw) > MAX_LINE_BYTES:
        raise RefusedError("line", Given(f"{len(raw):,} bytes"), f"at most {MAX_LINE_BYTES:,} bytes")
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=without_repeats)
    except UnicodeDecodeError as error:
        raise RefusedError("line", Given(f"a wrong byte at {error.start}"), "text in UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise RefusedError("line", Given(f"no readable JSON ({error})"), "one JSON object") from error
    if not isinstance(value, dict):
        raise RefusedError("line", value, "one JSON object")
    return value


def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise RefusedError("line", Given("a field twice"), "every field once")
    return members


def parse_sage(row: dict[str, Any], line: int) -> ParsedProblem:
    unknown = [name for name in row if name not in SAGE_FIELDS]
    if unknown:
        raise RefusedError("line", Given(f"the field {show(unknown[0])}"), f"only {', '.join(SAGE_FIELDS)}")
    kind = member(row, "kind", ", ".join(KINDS))
    if kind not in KINDS:
        raise RefusedError("kind", kind, ", ".join(KINDS))
    asks = row.get("asks", "choice")
    if asks not in ASKS:
        raise RefusedError("asks", asks, ", ".join(ASKS))
    key = checked_key(member(row, "key"), "key")
    question = checked_text(member(row, "question"), "question", MAX_QUESTION)
    if asks != "choice":
        return without_options(row, ParsedProblem(key, kind, question, (), None, asks))
    options = checked_options(member(row, "options"))
    gold = member(row, "gold", f"0 to {len(options) - 1}") if kind != "ethics" else row.get("gold")
    return ParsedProblem(key, kind, question, options, checked_gold(gold, kind, len(options)))


def without_options(row: dict[str, Any], problem: ParsedProblem) -> ParsedProblem:
    """The problem with its gold answer: a number (also as a text), or a text."""
    if row.get("options") not in (None, []):
        raise RefusedError("options", row["options"], f"none where asks is {show(problem.asks)}")
    check = checked_number if problem.asks == "number" else checked_words
    return replace(problem, gold_text=check(row.get("gold")))


def parse_aqua_rat(row: dict[str, Any], line: int) -> ParsedProblem:
    """The files give no ids, so the line number is the key."""
    given = member(row, "options")
    texts: object = given
    if isinstance(given, list):
        texts = [without_letter(option, LETTERS[index : index + 1]) for index, option in enumerate(given)]
    options = checked_options(texts)
    return ParsedProblem(
        key=f"line-{line}",
        kind="maths",
        question=checked_text(member(row, "question"), "question", MAX_QUESTION),
        options=options,
        gold=position_of(member(row, "correct"), "correct", list(LETTERS[: len(options)])),
    )


def parse_commonsenseqa(row: dict[str, Any], line: int) -> ParsedProblem:
    question = member(row, "question")
    if not isinstance(question, dict):
        raise RefusedError("question", question, 'an object with "stem" and "choices"')
    choices = member(question, "choices")
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise RefusedError("choices", choices, 'a list of objects with "label" and "text"')
    labels = [checked_text(member(choice, "label"), "label", 10) for choice in choices]
    if len(set(labels)) < len(labels):
        raise RefusedError("label", labels, "a label of its own for every choice")
    return ParsedProblem(
        key=checked_key(member(row, "id"), "id"),
        kind="commonsense",
        question=checked_text(member(question, "stem"), "stem", MAX_QUESTION),
        options=checked_options([member(choice, "text") for choice in choices]),
        gold=position_of(member(row, "answerKey"), "answerKey", labels),
    )


PARSERS: dict[str, Callable[[dict[str, Any], int], ParsedProblem]] = {
    "sage": parse_sage,
    "aqua-rat": parse_aqua_rat,
    "commonsenseqa": parse_commonsenseqa,
}


# -- One value ----------------------------------------------------------------------------------------------------


class Given(str):
    """Words about a value, to be shown as they are; anything else is shown as the JSON that the file gave."""

    __slots__ = ()


def show(value: object) -> str:
    if isinstance(value, Given):
        return str(value)
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= 80 else text[:77] + "..."


def member(row: dict[str, Any], name: str, allowed: str = "this field is required") -> Any:
    if name not in row:
        raise RefusedError(name, Given("nothing"), allowed)
    return row[name]


def checked_key(value: object, name: str) -> str:
    if not isinstance(value, str) or not KEY.fullmatch(value):
        raise RefusedError(name, value, "1 to 100 of the characters A-Z a-z 0-9 . _ : -")
    return value


def checked_text(value: object, name: str, longest: int) -> str:
    """The text without blanks at its ends. No database column takes NUL or half of a surrogate pair."""
    if not isinstance(value, str) or not value.strip():
        raise RefusedError(name, value, f"a text of 1 to {longest:,} characters")
    if len(value.strip()) > longest:
        raise RefusedError(name, Given(f"{len(value.strip()):,} characters"), f"at most {longest:,} characters")
    if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise RefusedError(name, value, "text without NUL and without half surrogate pairs")
    return value.strip()


def checked_options(value: object) -> tuple[str, ...]:
    allowed = f"a list of 2 to {MAX_OPTIONS} different texts"
    if not isinstance(value, list):
        raise RefusedError("options", value, allowed)
    if not 2 <= len(value) <= MAX_OPTIONS:
        raise RefusedError("options", Given(f"{len(value)} of them"), allowed)
    options = tuple(checked_text(option, "options", MAX_OPTION) for option in value)
    twice = [option for index, option in enumerate(options) if option in options[:index]]
    if twice:
        raise RefusedError("options", Given(f"{show(twice[0])} twice"), allowed)
    return options


def checked_gold(value: object, kind: str, count: int) -> int | None:
    if value is None and kind == "ethics":
        return None
    # JSON's true and false are ints to Python.
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < count:
        return value
    raise RefusedError("gold", value, f"0 to {count - 1}, or null for the kind ethics")


def checked_number(value: object) -> str:
    """The number as it is compared, of a JSON number or of a text that is one; empty for null."""
    if value is None:
        return ""
    text = str(value).strip() if isinstance(value, int | float | str) and not isinstance(value, bool) else ""
    found = stated_numbers(text)
    if not found or found != [ungrouped(text)]:
        raise RefusedError("gold", value, 'a number such as 12.5 or "1/3", or null')
    return canonical(found[0])


def checked_words(value: object) -> str:
    return "" if value is None else checked_text(value, "gold", MAX_OPTION)


def without_letter(option: object, letter: str) -> object:
    if isinstance(option, str) and letter and option.startswith(f"{letter})"):
        return option[2:]
    raise RefusedError("options", option, 'texts that begin with "A)", "B)" and so on, in order')


def position_of(value: object, name: str, labels: list[str]) -> int:
    if not isinstance(value, str) or value not in labels:
        raise RefusedError(name, value, f"one of {', '.join(labels)}")
    return labels.index(value)
