"""One reader for each format of preference files."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

from inference.core.features import Text
from training.core.formats import (
    FormatError,
    Pair,
    PreferenceFile,
    Rating,
    counted,
    digest,
    in_order,
    json_lines,
    preferred,
    text_in,
)

ASKED = {"cause": "What was the cause?", "effect": "What happened as a result?"}
# A head should not depend on how a question is put. COPA's have no fixed form, so each is put in one of several.
PHRASINGS = ("{p} {asked}", "{p}", "{p} {asked}\nOptions: {a1} {a2}")
FEW_SHOT_EXPLANATIONS = range(1, 6)
Row = dict[str, Any]

# -- COPA-SSE ------------------------------------------------------------------------------------------------------


def copa_sse(path: Path) -> PreferenceFile:
    """Pairs within a question by mean rating, with the difference as strength; equal means are ties."""
    texts: list[Text] = []
    ratings: list[Rating] = []
    pairs: list[Pair] = []
    for where, row in json_lines(path):
        rated = copa_explanations(row, where)
        texts += [text for text, _ in rated]
        mine = [rating for _, rating in rated if rating.count]
        ratings += mine
        pairs += [pair_of_ratings(*two) for two in combinations(mine, 2)]
    return PreferenceFile(tuple(texts), tuple(pairs), tuple(ratings))


def copa_explanations(row: Row, where: str) -> list[tuple[Text, Rating]]:
    asked, chosen = row.get("asks-for"), row.get("most-plausible-alternative")
    if asked not in ASKED:
        raise FormatError(f"{where}: 'asks-for' is {asked!r}; allowed are {', '.join(ASKED)}")
    if str(chosen) not in {"1", "2"}:
        raise FormatError(f"{where}: 'most-plausible-alternative' is {chosen!r}; allowed are 1 and 2")
    if not isinstance(row.get("human-explanations"), list):
        raise FormatError(f"{where}: 'human-explanations' has to be a list")
    words = {name: text_in(row, name, where) for name in ("p", "a1", "a2")}
    problem = f"copa-sse/{row.get('id')}"
    question, answer = phrased(problem, asked=ASKED[asked], **words), words[f"a{chosen}"]
    return [copa_explanation(given, question, answer, problem, where) for given in row["human-explanations"]]


def phrased(problem: str, **words: str) -> str:
    """The question in one of several ways, which its problem's name decides."""
    return PHRASINGS[int(digest(problem), 16) % len(PHRASINGS)].format(**words)


def copa_explanation(given: Row, question: str, answer: str, problem: str, where: str) -> tuple[Text, Rating]:
    name, values = text_in(given, "expl-id", where), given.get("all-ratings")
    if not isinstance(values, list) or not all(isinstance(value, int | float) for value in values):
        raise FormatError(f"{where}: 'all-ratings' of {name} is {values!r}; it has to be a list of numbers")
    text = Text(name, question, answer, text_in(given, "text", where))
    return text, Rating(name, fmean(values) if values else 0.0, len(values), problem)


def pair_of_ratings(one: Rating, other: Rating) -> Pair:
    high, low = sorted((one, other), key=lambda rating: -rating.value)
    if high.value == low.value:
        first, second = (one, other) if in_order(one.text_id, other.text_id) else (other, one)
        return Pair(first.text_id, second.text_id, "tie", one.problem)
    return preferred(high.text_id, low.text_id, one.problem, strength=high.value - low.value)


# -- few_shot_explanations -----------------------------------------------------------------------------------------


def few_shot_explanations(path: Path) -> PreferenceFile:
    """Each row is one rater, who prefers each explanation that is accepted to each that is not.

    Explanations without text and marks that name none of the five are left out and counted.
    """
    texts: dict[str, Text] = {}
    pairs: list[Pair] = []
    accepted: dict[tuple[str, str], list[float]] = {}
    reasons: list[str] = []
    for where, row in csv_rows(path):
        mine = few_shot_texts(row, where)
        texts |= {text.id: text for text in mine.values()}
        problem = f"few-shot-explanations/{row['Input.id']}"
        marks = few_shot_marks(row["Answer.acceptable"], reasons)
        reasons += ["an explanation without text"] * (len(FEW_SHOT_EXPLANATIONS) - len(mine))
        for at, text in mine.items():
            accepted.setdefault((text.id, problem), []).append(float(at in marks))
            others = [other for place, other in mine.items() if place not in marks]
            pairs += [preferred(text.id, other.id, problem) for other in others if at in marks]
    ratings = [Rating(name, fmean(shares), len(shares), problem) for (name, problem), shares in accepted.items()]
    return PreferenceFile(tuple(texts.values()), tuple(pairs), tuple(ratings), counted(reasons))


def csv_rows(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Rows with the columns that are read, none of them missing."""
    names = {"Input.id", "Input.question", "Input.gold_label", "Answer.acceptable"}
    names |= {f"Input.explanation_{at}" for at in FEW_SHOT_EXPLANATIONS}
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        missing = sorted(names - set(rows.fieldnames or ()))
        if missing:
            raise FormatError(f"{path}, line 1: the columns {', '.join(missing)} are missing")
        for row in rows:
            if any(row[name] is None for name in names):
                raise FormatError(f"{path}, line {rows.line_num}: the row ends before its last column")
            yield f"{path}, line {rows.line_num}", row


def few_shot_texts(row: dict[str, str], where: str) -> dict[int, Text]:
    """Explanations by their number. Two workers' rows of one question have the same texts, and so the same names."""
    if not row["Input.id"].strip() or not row["Input.question"].strip():
        raise FormatError(f"{where}: 'Input.id' or 'Input.question' is empty")
    written = {at: row[f"Input.explanation_{at}"].strip() for at in FEW_SHOT_EXPLANATIONS}
    about = row["Input.question"], row["Input.gold_label"]
    return {
        at: Text(f"{row['Input.id']}#{at}-{digest(text)[:8]}", *about, text) for at, text in written.items() if text
    }


def few_shot_marks(cell: str, reasons: list[str]) -> set[int]:
    """The numbers in `1|3|5`; an empty cell accepts none."""
    marks = [mark.strip() for mark in cell.split("|") if mark.strip()]
    known = {str(at) for at in FEW_SHOT_EXPLANATIONS}
    reasons += ["a mark that names no explanation" for mark in marks if mark not in known]
    return {int(mark) for mark in marks if mark in known}


# -- TRL -----------------------------------------------------------------------------------------------------------


def trl(path: Path) -> PreferenceFile:
    """`prompt`, `chosen`, `rejected`, as texts or as conversations. Further columns are used where they are: `tie`,
    `both_bad`, `weight`, `problem`, `question`, `answer`, `chosen_id`, `rejected_id`, `rater`, `strength`,
    `selection`, `chosen_on_left`. Without `problem`, the prompt is the problem."""
    texts: dict[str, Text] = {}
    pairs = []
    for where, row in json_lines(path):
        prompt, chosen, rejected = trl_parts(row, where)
        won = text_of(texts, row, "chosen_id", prompt, chosen, where)
        lost = text_of(texts, row, "rejected_id", prompt, rejected, where)
        about = about_of(row, prompt, where)
        left = row.get("chosen_on_left")
        if row.get("tie"):
            pairs.append(Pair(won, lost, "both_bad" if row.get("both_bad") else "tie", **about, first_on_left=left))
            continue
        pair = preferred(won, lost, **about)
        on_left = left if left is None or pair.first_id == won else not left
        pairs.append(Pair(**(vars(pair) | {"first_on_left": on_left})))
    return PreferenceFile(tuple(texts.values()), tuple(pairs))


def trl_parts(row: Row, where: str) -> tuple[str, str, str]:
    chosen, rejected = row.get("chosen"), row.get("rejected")
    prompt = row.get("prompt")
    if prompt is None and isinstance(chosen, list) and isinstance(rejected, list):
        shared = next((i for i, two in enumerate(zip(chosen, rejected, strict=False)) if two[0] != two[1]), 0)
        prompt, chosen, rejected = chosen[:shared], chosen[shared:], rejected[shared:]
    return said(prompt, "prompt", where), said(chosen, "chosen", where), said(rejected, "rejected", where)


def said(given: Any, name: str, where: str) -> str:
    """A text, or the contents of a conversation's messages."""
    if isinstance(given, list) and all(isinstance(turn, dict) and "content" in turn for turn in given):
        given = "\n".join(str(turn["content"]) for turn in given)
    if not isinstance(given, str) or not given.strip():
        raise FormatError(f"{where}: {name!r} is {given!r}; it has to be a text or a list of messages, and not empty")
    return given.strip()


def text_of(texts: dict[str, Text], row: Row, name: str, prompt: str, written: str, where: str) -> str:
    """The id of the text, which is put with the others."""
    stem = prompt.removesuffix("Explanation:").rstrip()
    question, _, answer = stem.rpartition("\nAnswer:")
    known = (question, answer.strip()) if question else (stem, "")
    if isinstance(row.get("question"), str) and isinstance(row.get("answer"), str):
        known = row["question"], row["answer"]
    identity = row.get(name)
    text = Text(str(identity) if identity is not None else digest(f"{prompt}\0{written}")[:16], *known, written)
    if texts.setdefault(text.id, text) != text:
        raise FormatError(f"{where}: {name} {text.id!r} named another text before; ids have to be of one text each")
    return text.id


def about_of(row: Row, prompt: str, where: str) -> Row:
    """What is said about a judgement besides its texts."""
    strength, weight = row.get("strength") or None, row.get("weight", 1.0)
    for name, value in (("strength", strength), ("weight", weight)):
        if value is not None and (not isinstance(value, int | float) or value < 0):
            raise FormatError(f"{where}: {name!r} is {value!r}; it has to be a number that is not negative")
    return {
        "problem": str(row.get("problem") or f"prompt/{digest(prompt)[:16]}"),
        "rater": str(row.get("rater") or row.get("judge") or ""),
        "strength": strength,
        "weight": float(weight),
        "random": row.get("selection", "random") == "random",
    }


# -- Arena ---------------------------------------------------------------------------------------------------------

WINNERS = {"tie": "tie", "tie (bothbad)": "both_bad", "both_bad": "both_bad"}


def arena(path: Path) -> PreferenceFile:
    """Battles: `conversation_a` (on the left), `conversation_b`, whose last turn is the explanation, and `winner`."""
    texts: dict[str, Text] = {}
    pairs = []
    for where, row in json_lines(path):
        prompt, left = battle_side(row, "conversation_a", where)
        other_prompt, right = battle_side(row, "conversation_b", where)
        if prompt != other_prompt:
            raise FormatError(f"{where}: the two conversations differ before their last turn")
        a = text_of(texts, row, "id_a", prompt, left, where)
        b = text_of(texts, row, "id_b", prompt, right, where)
        about = about_of(row, prompt, where)
        pairs.append(battle(a, b, row.get("winner"), about, where))
    return PreferenceFile(tuple(texts.values()), tuple(pairs))


def battle_side(row: Row, name: str, where: str) -> tuple[str, str]:
    """What was said before the last turn, and the last turn."""
    turns = row.get(name)
    if not isinstance(turns, list) or len(turns) < 2:
        raise FormatError(f"{where}: {name!r} has to be a list of at least two messages")
    return said(turns[:-1], name, where), said(turns[-1:], name, where)


def battle(a: str, b: str, winner: Any, about: Row, where: str) -> Pair:
    if winner not in {"model_a", "model_b", *WINNERS}:
        raise FormatError(f"{where}: 'winner' is {winner!r}; allowed are model_a, model_b, {', '.join(WINNERS)}")
    a_first = in_order(a, b)
    first, second = (a, b) if a_first else (b, a)
    won = "first" if (winner == "model_a") == a_first else "second"
    return Pair(first, second, WINNERS.get(winner, won), **about, first_on_left=a_first)


READERS: dict[str, Callable[[Path], PreferenceFile]] = {
    "copa-sse": copa_sse,
    "few-shot-explanations": few_shot_explanations,
    "trl": trl,
    "arena": arena,
}
