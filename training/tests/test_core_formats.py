"""Preference files: what is read, and what is refused with its line."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from training.core import formats
from training.core.formats import FormatError, PreferenceFile


def json_file(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def winners(file: PreferenceFile) -> set[tuple[str, str]]:
    """(better, worse) of each decided pair, by explanation."""
    words = {text.id: text.explanation for text in file.texts}
    pairs = [pair for pair in file.pairs if pair.choice in ("first", "second")]
    sides = [(pair.first_id, pair.second_id) for pair in pairs]
    return {
        (words[one], words[other]) if pair.choice == "first" else (words[other], words[one])
        for pair, (one, other) in zip(pairs, sides, strict=True)
    }


# -- COPA-SSE --------------------------------------------------------------------------------------------------------


def copa(**changed: Any) -> dict[str, Any]:
    ratings = {"Rain wets streets.": [5, 4], "It rained.": [3], "Yes.": [3, 3], "Unrated.": []}
    explanations = [
        {"expl-id": f"e{i}", "text": text, "all-ratings": r} for i, (text, r) in enumerate(ratings.items())
    ]
    return {
        "id": "7",
        "asks-for": "cause",
        "most-plausible-alternative": "2",
        "p": "The street was wet.",
        "a1": "A bird sang.",
        "a2": "It had rained.",
        "human-explanations": explanations,
    } | changed


def test_ratings_become_pairs_within_a_question(tmp_path: Path) -> None:
    file = formats.read([f"copa-sse:{json_file(tmp_path / 'copa.jsonl', [copa()])}"])
    assert winners(file) == {("Rain wets streets.", "It rained."), ("Rain wets streets.", "Yes.")}
    assert [pair.choice for pair in file.pairs].count("tie") == 1
    assert {pair.strength for pair in file.pairs} == {1.5, None}
    assert {pair.problem for pair in file.pairs} == {"copa-sse/7"}
    assert {text.answer for text in file.texts} == {"It had rained."}
    assert len({text.question for text in file.texts}) == 1
    assert file.texts[0].question.startswith("The street was wet.")
    assert sorted((rating.value, rating.count) for rating in file.ratings) == [(3.0, 1), (3.0, 2), (4.5, 2)]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"asks-for": "reason"}, "'asks-for' is 'reason'; allowed are cause, effect"),
        ({"most-plausible-alternative": "3"}, "allowed are 1 and 2"),
        ({"p": None}, "'p' is None; it has to be a text"),
        ({"human-explanations": "none"}, "has to be a list"),
        ({"human-explanations": [{"expl-id": "e", "text": "t", "all-ratings": ["5"]}]}, "list of numbers"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    path = json_file(tmp_path / "copa.jsonl", [copa(), copa(**changed)])
    with pytest.raises(FormatError, match="line 2") as refused:
        formats.read([f"copa-sse:{path}"])
    assert said in str(refused.value)


# -- few_shot_explanations -------------------------------------------------------------------------------------------


def few_shot(path: Path, *cells: str, blank: int = 0) -> Path:
    """One question with five explanations, rated by as many people as there are cells."""
    fixed = {
        "Input.id": "q1",
        "Input.question": "Where do fish live?",
        "Input.answer_choices": "water, or air",
        "Input.gold_label": "water",
        **{f"Input.explanation_{i}": "" if i == blank else f"Reason {i}." for i in range(1, 6)},
    }
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*fixed, "Answer.acceptable"])
        writer.writeheader()
        writer.writerows({**fixed, "Answer.acceptable": cell} for cell in cells)
    return path


def test_each_rater_prefers_what_is_accepted_to_what_is_not(tmp_path: Path) -> None:
    file = formats.read([f"few-shot-explanations:{few_shot(tmp_path / 'f.csv', '1|2', '3', '', '1|2|3|4|5')}"])
    assert len(file.texts) == 5
    assert len(file.pairs) == 2 * 3 + 1 * 4
    assert ("Reason 3.", "Reason 1.") in winners(file)
    assert ("Reason 1.", "Reason 3.") in winners(file)  # by the other rater: nobody is averaged away
    assert {rating.value for rating in file.ratings} == {0.5, 0.25}
    assert file.left_out == ()


def test_damaged_cells_are_left_out_and_counted(tmp_path: Path) -> None:
    file = formats.read([f"few-shot-explanations:{few_shot(tmp_path / 'f.csv', '1|x|9', '2', blank=5)}"])
    assert dict(file.left_out) == {"an explanation without text": 2, "a mark that names no explanation": 2}
    assert len(file.texts) == 4
    assert len(file.pairs) == 3 + 3


def test_missing_columns_are_named(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text("Input.id,Input.question\n1,2\n")
    with pytest.raises(FormatError, match=r"line 1: the columns Answer\.acceptable, Input\.explanation_1"):
        formats.read([f"few-shot-explanations:{path}"])
    whole = few_shot(tmp_path / "g.csv", "1").read_text()
    path.write_text(whole + "q2,Where\n")
    with pytest.raises(FormatError, match="line 3: the row ends before"):
        formats.read([f"few-shot-explanations:{path}"])


# -- TRL -------------------------------------------------------------------------------------------------------------


def test_plain_and_conversational_trl_say_the_same(tmp_path: Path) -> None:
    prompt = "Is it wet?\nAnswer: Yes\nExplanation:"
    plain = {"prompt": prompt, "chosen": " It rained.", "rejected": " Because."}
    turns = {
        "prompt": [{"role": "user", "content": prompt}],
        "chosen": [{"role": "assistant", "content": "It rained."}],
        "rejected": [{"role": "assistant", "content": "Because."}],
    }
    implicit = {name: turns["prompt"] + turns[name] for name in ("chosen", "rejected")}
    files = [formats.read([f"trl:{json_file(tmp_path / 't.jsonl', [row])}"]) for row in (plain, turns, implicit)]
    assert files[0] == files[1] == files[2]
    assert winners(files[0]) == {("It rained.", "Because.")}
    assert {(text.question, text.answer) for text in files[0].texts} == {("Is it wet?", "Yes")}


def test_what_an_export_adds_is_kept(tmp_path: Path) -> None:
    more = {"question": "Q", "answer": "A", "problem": "set/1", "rater": "r", "selection": "active", "weight": 0.5}
    row = {"prompt": "p", "chosen": "one", "rejected": "two", "chosen_id": 1, "rejected_id": 2, **more}
    tie = row | {"tie": True, "both_bad": True, "strength": 0}
    path = json_file(tmp_path / "t.jsonl", [row | {"strength": 2, "chosen_on_left": True}, tie])
    file = formats.read([f"trl:{path}"])
    strong, both_bad = file.pairs
    assert {(text.id, text.question, text.answer) for text in file.texts} == {("1", "Q", "A"), ("2", "Q", "A")}
    assert (strong.problem, strong.rater, strong.strength, strong.random, strong.weight) == (
        "set/1",
        "r",
        2,
        False,
        0.5,
    )
    assert strong.first_on_left == (strong.first_id == "1")
    assert (both_bad.choice, both_bad.strength) == ("both_bad", None)


def test_the_order_of_a_pair_does_not_tell_who_won(tmp_path: Path) -> None:
    rows = [{"prompt": f"p{i}", "chosen": f"good {i}", "rejected": f"bad {i}"} for i in range(100)]
    file = formats.read([f"trl:{json_file(tmp_path / 't.jsonl', rows)}"])
    assert 30 < [pair.choice for pair in file.pairs].count("first") < 70
    again = [{**row, "chosen": row["rejected"], "rejected": row["chosen"]} for row in rows]
    turned = formats.read([f"trl:{json_file(tmp_path / 'u.jsonl', again)}"])
    assert [pair.first_id for pair in turned.pairs] == [pair.first_id for pair in file.pairs]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "p", "chosen": "", "rejected": "b"}, "'chosen' is ''"),
        ({"prompt": "p", "chosen": "a"}, "'rejected' is None"),
        ({"prompt": "p", "chosen": "a", "rejected": "b", "weight": "much"}, "'weight' is 'much'"),
        ({"prompt": "p", "chosen": "a", "rejected": "b", "chosen_id": 1, "rejected_id": 1}, "named another text"),
    ],
)
def test_a_wrong_trl_row_is_named(tmp_path: Path, row: dict[str, Any], said: str) -> None:
    with pytest.raises(FormatError, match="line 1") as refused:
        formats.read([f"trl:{json_file(tmp_path / 't.jsonl', [row])}"])
    assert said in str(refused.value)


# -- Arena -----------------------------------------------------------------------------------------------------------


def battle(winner: str, a: str = "one", b: str = "two", **more: Any) -> dict[str, Any]:
    prompt = {"role": "user", "content": "Q\nAnswer: A\nExplanation:"}
    sides = {f"conversation_{side}": [prompt, {"role": "assistant", "content": text}] for side, text in (("a", a), ("b", b))}  # fmt: skip  # noqa: E501
    return {"question_id": "7", "winner": winner, "judge": "j", **sides, **more}


def test_battles_keep_ties_sides_and_judges(tmp_path: Path) -> None:
    rows = [battle("model_a"), battle("model_b"), battle("tie"), battle("tie (bothbad)")]
    file = formats.read([f"arena:{json_file(tmp_path / 'a.jsonl', rows)}"])
    assert winners(file) == {("one", "two"), ("two", "one")}
    assert [pair.choice for pair in file.pairs[2:]] == ["tie", "both_bad"]
    first = {text.id: text.explanation for text in file.texts}[file.pairs[0].first_id]
    assert {pair.first_on_left for pair in file.pairs} == {first == "one"}
    assert {pair.rater for pair in file.pairs} == {"j"}


def test_a_wrong_battle_is_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="'winner' is 'left'; allowed are model_a, model_b, tie"):
        formats.read([f"arena:{json_file(tmp_path / 'a.jsonl', [battle('left')])}"])
    with pytest.raises(FormatError, match="at least two messages"):
        formats.read([f"arena:{json_file(tmp_path / 'a.jsonl', [battle('tie', conversation_a=[])])}"])


# -- all -------------------------------------------------------------------------------------------------------------


def test_several_files_make_one(tmp_path: Path) -> None:
    one = json_file(tmp_path / "copa.jsonl", [copa()])
    other = few_shot(tmp_path / "f.csv", "1|2")
    file = formats.read([f"copa-sse:{one}", f"few-shot-explanations:{other}", f"copa-sse:{one}"])
    assert len(file.texts) == 4 + 5
    assert len(file.pairs) == 3 + 6 + 3
    assert len({row.problem for row in file.judged()}) == 2
    changed = json_file(tmp_path / "changed.jsonl", [copa(p="The street was dry.")])
    with pytest.raises(FormatError, match="different texts with the id 'e0'"):
        formats.read([f"copa-sse:{one}", f"copa-sse:{changed}"])


@pytest.mark.parametrize("named", ["copa-sse", "csv:x.csv", "trl:"])
def test_an_unknown_format_is_refused(named: str) -> None:
    with pytest.raises(FormatError, match="is not FORMAT:FILE; FORMAT is one of copa-sse"):
        formats.read([named])


def test_lines_that_are_not_json_are_named(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('\n{"a": \n')
    with pytest.raises(FormatError, match="line 2: not JSON"):
        formats.read([f"trl:{path}"])
    path.write_text("[1]\n")
    with pytest.raises(FormatError, match="line 1: list instead of an object"):
        formats.read([f"trl:{path}"])
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(FormatError, match="not UTF-8"):
        formats.read([f"trl:{path}"])


def test_texts_to_score_need_words(tmp_path: Path) -> None:
    good = {"id": 5, "question": "Q", "answer": "A", "explanation": "E"}
    (text,) = formats.read_texts(json_file(tmp_path / "t.jsonl", [good]))
    assert (text.id, text.explanation) == ("5", "E")
    for changed, said in (
        ({"explanation": " "}, "empty"),
        ({"id": None}, "'id' is None"),
        ({"answer": 3}, "'answer'"),
    ):
        with pytest.raises(FormatError, match="line 1") as refused:
            formats.read_texts(json_file(tmp_path / "t.jsonl", [good | changed]))
        assert said in str(refused.value)
