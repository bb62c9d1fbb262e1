import json
import os
from collections import Counter
from pathlib import Path

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.core import problem_files
from inference.core.problem_files import KINDS, ProblemFileError, guess_format, read_problems
from inference.models import Problem, ProblemSet
from inference.problem_files import STARTER, store

SAGE = {"key": "p1", "kind": "maths", "question": "What is 2 + 3?", "options": ["4", "5"], "gold": 1}
AQUA = {"question": "What is 2 + 3?", "options": ["A)4", "B) 5"], "rationale": "Add.", "correct": "B"}
CHOICES = [{"label": "A", "text": "in a cup"}, {"label": "B", "text": "in a sieve"}]
QA = {
    "id": "0f1e",
    "answerKey": "A",
    "question": {"stem": "Where do you keep tea?", "question_concept": "tea", "choices": CHOICES},
}


@pytest.fixture
def write(tmp_path):
    def write(*rows, name="problems.jsonl"):
        path = tmp_path / name
        texts = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
        path.write_bytes(b"\n".join(texts))
        return path

    return write


@pytest.mark.parametrize(
    ("format", "row", "expected"),
    [
        ("sage", SAGE, ("p1", "maths", "What is 2 + 3?", ("4", "5"), 1)),
        ("aqua-rat", AQUA, ("line-1", "maths", "What is 2 + 3?", ("4", "5"), 1)),
        ("commonsenseqa", QA, ("0f1e", "commonsense", "Where do you keep tea?", ("in a cup", "in a sieve"), 0)),
    ],
)
def test_every_format_becomes_the_same_kind_of_problem(write, format, row, expected):
    [problem] = read_problems(write(row), format)
    assert (problem.key, problem.kind, problem.question, problem.options, problem.gold) == expected


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"key": "two words"}, "key", "A-Z a-z 0-9"),
        ({"kind": "history"}, "kind", 'given "history"; allowed: logic, maths, commonsense, ethics'),
        ({"question": "  "}, "question", "1 to 5,000 characters"),
        ({"question": "x" * 5001}, "question", "given 5,001 characters"),
        ({"question": "a\0b"}, "question", "without NUL"),
        ({"question": "\ud800"}, "question", "half surrogate pairs"),
        ({"options": "4, 5"}, "options", "a list of 2 to 10 different texts"),
        ({"options": ["4"]}, "options", "given 1 of them"),
        ({"options": [str(n) for n in range(11)]}, "options", "given 11 of them"),
        ({"options": ["4", " 4 "]}, "options", 'given "4" twice'),
        ({"options": ["4", 5]}, "options", "given 5"),
        ({"options": ["4", "x" * 501]}, "options", "at most 500"),
        ({"gold": 2}, "gold", "given 2; allowed: 0 to 1"),
        ({"gold": -1}, "gold", "given -1"),
        ({"gold": True}, "gold", "given true"),
        ({"gold": None}, "gold", "null for the kind ethics"),
        ({"answer": 1}, "line", "only key, kind, question, asks, options, gold"),
        ({"asks": "essay"}, "asks", 'given "essay"; allowed: choice, number, free'),
        ({"asks": ["free"]}, "asks", "choice, number, free"),
        ({"asks": "number"}, "options", 'none where asks is "number"'),
        ({"asks": "number", "options": [], "gold": "ten"}, "gold", 'given "ten"; allowed: a number'),
        ({"asks": "number", "options": [], "gold": "7 apples"}, "gold", "a number such as 12.5"),
        ({"asks": "number", "options": [], "gold": True}, "gold", "given true"),
        ({"asks": "number", "options": [], "gold": float("inf")}, "gold", "given Infinity"),
        ({"asks": "free", "options": [], "gold": 7}, "gold", "given 7; allowed: a text"),
        ({"asks": "free", "options": [], "gold": "x" * 501}, "gold", "at most 500"),
    ],
)
def test_a_bad_value_is_named_with_its_line_and_what_is_allowed(write, change, field, words):
    with pytest.raises(ProblemFileError) as error:
        read_problems(write(SAGE | {"key": "p0"}, SAGE | change), "sage")
    assert f"line 2, {field}: " in str(error.value)
    assert words in str(error.value)


ASKED = {name: SAGE[name] for name in ("key", "kind", "question")}


@pytest.mark.parametrize(
    ("asks", "gold", "text"),
    [
        ("number", 5, "5"),
        ("number", 12.50, "12.5"),
        ("number", "1,000", "1000"),
        ("number", "1/3", "1/3"),
        ("number", -2, "-2"),
        ("number", None, ""),
        ("free", " In a cup ", "In a cup"),
        ("free", None, ""),
    ],
)
def test_a_problem_without_options_has_a_number_or_a_text_as_gold(write, asks, gold, text):
    [problem] = read_problems(write(ASKED | {"asks": asks, "gold": gold}), "sage")
    assert (problem.asks, problem.options, problem.gold, problem.gold_text) == (asks, (), None, text)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"{", "no readable JSON"),
        (b"[1, 2]", "one JSON object"),
        (b"[" * 50_000, "no readable JSON"),
        (b'{"key": "a", "key": "b"}', "every field once"),
        (b'{"key": "\xff"}', "text in UTF-8"),
        (b" " + b"x" * 100_001, "at most 100,000 bytes"),
        (b"{}", "kind: given nothing; allowed: logic, maths, commonsense, ethics"),
        (b'{"kind": "maths"}', "key: given nothing; allowed: this field is required"),
    ],
)
def test_a_line_that_is_no_problem_at_all_is_reported(write, line, words):
    with pytest.raises(ProblemFileError, match="line 2, ") as error:
        read_problems(write(SAGE, line), "sage")
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("format", "row", "field"),
    [
        ("aqua-rat", AQUA | {"correct": "C"}, "correct"),
        ("aqua-rat", AQUA | {"options": ["A)4", "5"]}, "options"),
        ("aqua-rat", AQUA | {"options": ["B)4", "A)5"]}, "options"),
        ("commonsenseqa", QA | {"answerKey": "C"}, "answerKey"),
        ("commonsenseqa", {name: QA[name] for name in ("id", "question")}, "answerKey"),
        ("commonsenseqa", QA | {"question": "Where?"}, "question"),
        ("commonsenseqa", QA | {"question": {"stem": "Where?", "choices": [CHOICES[0]] * 2}}, "label"),
    ],
)
def test_the_public_formats_are_checked_too(write, format, row, field):
    with pytest.raises(ProblemFileError, match=f"line 1, {field}: given"):
        read_problems(write(row), format)


def test_the_report_has_twenty_lines_and_counts_the_rest(write):
    with pytest.raises(ProblemFileError) as error:
        read_problems(write(*[{"gold": n} for n in range(23)]), "sage")
    assert str(error.value).count("line ") == 20
    assert "23 bad lines" in str(error.value)
    assert "and 3 more" in str(error.value)


def test_a_key_may_occur_once(write):
    with pytest.raises(ProblemFileError, match=r"line 3, key: given \"p1\"; .*line 1 has it"):
        read_problems(write(SAGE, SAGE | {"key": "p2"}, SAGE), "sage")


def test_a_byte_order_mark_windows_line_ends_and_blank_lines_do_no_harm(write):
    row = json.dumps(SAGE).encode()
    assert len(read_problems(write(b"\xef\xbb\xbf" + row + b"\r", b"", b"  "), "sage")) == 1


def test_files_that_cannot_be_used_as_a_whole(write, tmp_path, monkeypatch):
    with pytest.raises(ProblemFileError, match="is empty"):
        read_problems(write(b"\n\n"), "sage")
    with pytest.raises(ProblemFileError, match="is not a file"):
        read_problems(tmp_path, "sage")
    with pytest.raises(ProblemFileError, match="Allowed: sage, aqua-rat, commonsenseqa"):
        read_problems(write(SAGE), "csv")
    monkeypatch.setattr(problem_files, "MAX_FILE_BYTES", 10)
    with pytest.raises(ProblemFileError, match=r"allowed: 10\. Split the file"):
        read_problems(write(SAGE), "sage")


def test_the_reader_and_the_rows_know_the_same_kinds():
    assert list(KINDS) == Problem.Kind.values


@pytest.mark.parametrize(("format", "row"), [("sage", SAGE), ("aqua-rat", AQUA), ("commonsenseqa", QA)])
def test_the_format_is_told_by_the_first_line_that_can_be_read(write, format, row):
    assert guess_format(write(b"{", b"[]", row)) == format


def test_a_file_of_no_known_format_is_refused_with_what_would_tell(write):
    with pytest.raises(ProblemFileError, match=r"'key' \(sage\), 'correct' \(aqua-rat\), 'answerKey'"):
        guess_format(write({"question": "What is 2 + 3?"}))


TEXTS = st.text(alphabet="aB) 05\0\ud800", max_size=5)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)  # the time goes into files
@given(
    base=st.sampled_from([("sage", SAGE), ("aqua-rat", AQUA), ("commonsenseqa", QA)]),
    changes=st.dictionaries(st.sampled_from([*SAGE, *AQUA, *QA]), VALUES, max_size=3),
)
def test_whatever_a_line_holds_it_is_a_problem_or_a_fault(tmp_path_factory, base, changes):
    format, row = base
    path = tmp_path_factory.mktemp("fuzz") / "problems.jsonl"
    path.write_text(json.dumps(row | changes) + "\n")
    reading = problem_files.scan(path, format)
    assert len(reading.problems) + len(reading.faults) == 1


# -- The starter set ----------------------------------------------------------------------------------------------


def test_the_starter_set_has_ten_problems_of_each_kind():
    problems = read_problems(STARTER, "sage")
    assert Counter(problem.kind for problem in problems) == dict.fromkeys(Problem.Kind.values, 10)
    assert all(3 <= len(problem.options) <= 5 for problem in problems)
    assert all((problem.gold is None) == (problem.kind == "ethics") for problem in problems)
    positions = Counter(problem.gold for problem in problems if problem.gold is not None)
    assert min(positions[index] for index in range(4)) >= 6  # no position gives the answer away
    assert all(len({p.kind for p in problems[at : at + 4]}) == 4 for at in range(0, 40, 4))  # the first N are mixed


def test_the_gold_answers_of_the_starter_maths_are_right():
    right = [4 * 6 - 9, 5 * 7, 18 - 5 + 8, 36 / 4, 80 * 0.75, 16 * 60 + 10 - (14 * 60 + 40), 2 * (8 + 5), 3 * 15]
    right += [12 + 2 * 12, 28 * 3 / 4]
    maths = [problem for problem in read_problems(STARTER, "sage") if problem.kind == "maths"]
    assert [float(problem.options[problem.gold].split()[0]) for problem in maths] == right


# -- Storing ------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_same_content_is_stored_once_and_a_change_is_a_new_version(write):
    first = store("tea", "Tea", "own work", read_problems(write(SAGE), "sage"))
    again = store("tea", "Tea", "own work", read_problems(write(SAGE), "sage"))
    changed = store("tea", "Tea", "own work", read_problems(write(SAGE | {"gold": 0}), "sage"))
    back = store("tea", "Tea", "own work", read_problems(write(SAGE), "sage"))
    assert again == back == first
    assert (first.version, changed.version) == (1, 2)
    assert [problem.gold for problem in changed.problems.all()] == [0]
    assert Problem.objects.count() == 2


@pytest.mark.django_db
def test_what_a_problem_asks_for_is_stored_and_makes_a_version(write):
    number, free = ASKED | {"asks": "number", "gold": "1,000"}, ASKED | {"asks": "free", "gold": "1000"}
    first = store("tea", "Tea", "", read_problems(write(number), "sage"))
    assert store("tea", "Tea", "", read_problems(write(number | {"gold": 1000}), "sage")) == first
    second = store("tea", "Tea", "", read_problems(write(free), "sage"))
    assert (first.version, second.version) == (1, 2)
    rows = Problem.objects.order_by("problem_set__version").values_list("asks", "options", "gold", "gold_text")
    assert list(rows) == [("number", [], None, "1000"), ("free", [], None, "1000")]


@pytest.mark.django_db
@pytest.mark.parametrize("wrong", [{"asks": "number", "gold": 1}, {"asks": "choice", "gold_text": "5"}])
def test_gold_fits_what_is_asked(write, wrong):
    tea = store("tea", "Tea", "", read_problems(write(SAGE), "sage"))
    with pytest.raises(IntegrityError, match="gold_is_an_option_or_a_text"), transaction.atomic():
        tea.problems.update(**wrong)


@pytest.mark.django_db
def test_the_order_of_the_file_is_kept(write):
    rows = [SAGE | {"key": key} for key in ("c", "a", "b")]
    problem_set = store("tea", "Tea", "", read_problems(write(*rows), "sage"))
    assert list(problem_set.problems.values_list("key", "position")) == [("c", 0), ("a", 1), ("b", 2)]


@pytest.mark.django_db
def test_many_problems_are_stored_in_few_queries(write, django_assert_max_num_queries):
    problems = read_problems(write(*[SAGE | {"key": f"p{n}"} for n in range(500)]), "sage")
    with django_assert_max_num_queries(20):
        store("tea", "Tea", "", problems)


@pytest.mark.django_db
def test_a_set_without_problems_or_with_a_bad_slug_is_refused(write):
    with pytest.raises(ValueError, match="at least one problem"):
        store("tea", "Tea", "", [])
    with pytest.raises(ValidationError):
        store("not a slug", "Tea", "", read_problems(write(SAGE), "sage"))
    assert not ProblemSet.objects.exists()


# -- The command --------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_command_imports_and_limits(write, capsys):
    rows = [SAGE | {"key": f"p{n}"} for n in range(5)]
    call_command("import_problems", write(*rows), slug="tea", name="Tea", source="own work", limit=3)
    problem_set = ProblemSet.objects.get()
    assert (problem_set.slug, problem_set.name, problem_set.source) == ("tea", "Tea", "own work")
    assert problem_set.problems.count() == 3
    assert "tea version 1 holds these 3 problems" in capsys.readouterr().out


@pytest.mark.django_db
def test_one_bad_line_imports_nothing(write):
    with pytest.raises(CommandError, match=r"(?s)1 bad line for.*line 2, gold: given 9.*Nothing was imported"):
        call_command("import_problems", write(SAGE, SAGE | {"key": "p2", "gold": 9}), slug="tea", name="Tea")
    assert not ProblemSet.objects.exists()


@pytest.mark.django_db
def test_bad_lines_are_left_out_only_when_asked_and_are_listed(write, capsys):
    path = write(SAGE, SAGE | {"key": "p2", "gold": 9})
    call_command("import_problems", path, slug="tea", name="Tea", skip_bad_lines=True)
    assert Problem.objects.values_list("key", flat=True).get() == "p1"
    assert "line 2, gold: given 9" in capsys.readouterr().err
    with pytest.raises(CommandError, match=r"Nothing was imported\. Correct the file\.$"):
        call_command("import_problems", write({}), slug="tea", name="Tea", skip_bad_lines=True)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"slug": "no slug"}, "--slug: "),
        ({"name": "x" * 201}, "--name: .*200"),
        ({"source": "x" * 301}, "--source: .*300"),
        ({"limit": 0}, "--limit 0: allowed is 1 or more"),
    ],
)
def test_the_command_says_which_option_it_cannot_take(write, change, words):
    with pytest.raises(CommandError, match=words):
        call_command("import_problems", write(SAGE), **({"slug": "tea", "name": "Tea"} | change))
    assert not ProblemSet.objects.exists()


# -- The public files themselves ----------------------------------------------------------------------------------


@pytest.mark.skipif("SAGE_DATA" not in os.environ, reason="SAGE_DATA names no folder with the public files")
@pytest.mark.parametrize(
    ("name", "format", "bad"), [("aqua_rat*.jsonl", "aqua-rat", 1), ("commonsenseqa*.jsonl", "commonsenseqa", 14)]
)
def test_the_public_files_are_read_but_for_questions_with_an_option_twice(name, format, bad):
    [path] = Path(os.environ["SAGE_DATA"]).rglob(name)
    reading = problem_files.scan(path, format)
    assert len(reading.problems) + len(reading.faults) == len(path.read_bytes().splitlines())
    assert len(reading.faults) == bad
    assert all(fault.field == "options" and fault.given.endswith(" twice") for fault in reading.faults)
    assert {len(problem.options) for problem in reading.problems} == {5}
