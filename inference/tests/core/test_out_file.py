"""The file that survives a kill, cut at every byte."""

import json
import os

import pytest

from inference.core.out_file import FIELDS, OutFile, OutFileError, encoded

SETTINGS = {"method": "inverse", "rollouts": 6}
PROBLEMS = {key: {"question": f"Wie heißt {key}?", "options": ["ja", "nein"]} for key in ("a", "b", "c")}


def line(key, **changes):
    made = dict.fromkeys(FIELDS) | {"schema": 1, "key": key, "problem": PROBLEMS[key], "settings": SETTINGS}
    return made | {"text": "Because …\nof this.", "seconds": 0.5} | changes


@pytest.fixture
def path(tmp_path):
    return tmp_path / "out.jsonl"


def opened(path, settings=SETTINGS, problems=PROBLEMS, again=False):
    return OutFile(path, settings, problems, again)


def filled(path, *lines):
    path.write_bytes(b"".join(encoded(one) for one in lines))


def test_lines_are_on_the_disk_at_once_and_found_again(path):
    with opened(path) as out:
        out.append(line("a"))
        assert json.loads(path.read_text()) == line("a")
        out.append(line("b"))
    with opened(path) as out:
        assert out.known == {"a": line("a"), "b": line("b")}


def test_wherever_a_kill_tears_the_last_line_it_is_cut_off_and_the_rest_is_kept(path):
    first, last = encoded(line("a")), encoded(line("b"))
    for length in range(len(last)):
        path.write_bytes(first + last[:length])
        with opened(path) as out:
            assert list(out.known) == ["a"]
            out.append(line("b"))
        assert path.read_bytes() == first + last, length


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"method": "inverse", "rollouts": 8}, "other settings: rollouts 6, now 8"),
        ({"method": "chain"}, "method inverse, now chain; rollouts 6, now not set"),
        (SETTINGS | {"head": "ab"}, "head not set, now ab"),
    ],
)
def test_a_file_of_other_settings_is_refused_untouched(path, settings, words):
    filled(path, line("a"))
    with path.open("ab") as file:
        file.write(encoded(line("b"))[:30])
    before = path.read_bytes()
    with pytest.raises(OutFileError, match=words), opened(path, settings):
        pass
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"my notes", "ends in something that is no line of explain"),
        (b"my notes\n", "line 1 is no JSON"),
        (b"[]\n", "line 1 is no line of explain"),
        (b'{"schema": 1}\n', "line 1 is no line of explain"),
        (encoded(line("a")) + encoded(line("b", schema=2)), "line 2 is no line of explain with schema 1"),
        (encoded(line("a")) + b"\n", "line 2 is no JSON"),
        (encoded(line("a", settings=None)), "line 1 is no line of explain"),
        (b"\xff\xfe\n", "line 1 is no JSON"),
    ],
)
def test_what_is_no_file_of_explain_is_refused_untouched(path, content, words):
    path.write_bytes(content)
    with pytest.raises(OutFileError, match=words), opened(path):
        pass
    assert path.read_bytes() == content


def test_another_problem_under_the_same_key_is_refused(path):
    filled(path, line("a"))
    other = PROBLEMS | {"a": PROBLEMS["b"]}
    with (
        pytest.raises(OutFileError, match="line 1 holds another problem under the key a"),
        opened(path, SETTINGS, other),
    ):
        pass


def test_lines_of_problems_that_are_not_asked_for_are_left_alone(path):
    filled(path, line("a"), line("b"))
    before = path.read_bytes()
    with opened(path, SETTINGS, {"b": PROBLEMS["b"]}) as out:
        assert "b" in out.known
    assert path.read_bytes() == before


def test_failed_lines_are_kept_unless_they_are_to_be_made_again(path):
    failed = line("b", text=None, error="The model wrote nothing.")
    filled(path, line("a"), failed, line("c"))
    with opened(path) as out:
        assert list(out.known) == ["a", "b", "c"]
    with opened(path, again=True) as out:
        assert list(out.known) == ["a", "c"]
        out.append(line("b"))
    assert path.read_bytes() == encoded(line("a")) + encoded(line("c")) + encoded(line("b"))
    assert [entry.name for entry in path.parent.iterdir()] == ["out.jsonl"]


@pytest.mark.parametrize("again", [False, True])
def test_two_runs_do_not_write_one_file(path, again):
    filled(path, line("a"), line("b", error="nothing"))
    with opened(path, again=again) as first:
        with pytest.raises(OutFileError, match="Another process is writing"), opened(path):
            pass
        first.append(line("c"))
    with opened(path) as out:
        assert "c" in out.known


def test_a_refused_second_run_leaves_the_firsts_new_file_there(path):
    with opened(path) as first:
        with pytest.raises(OutFileError), opened(path):
            pass
        first.append(line("a"))
    assert path.read_bytes() == encoded(line("a"))


def test_a_new_file_in_which_nothing_was_written_is_taken_away(path):
    with opened(path):
        assert path.exists()
    assert not path.exists()


def test_a_place_where_no_file_can_be_is_refused(path, tmp_path):
    with pytest.raises(OutFileError, match="no plain file"), opened(tmp_path):
        pass
    with pytest.raises(OutFileError, match="There is no folder"), opened(tmp_path / "none" / "out.jsonl"):
        pass
    os.mkfifo(path)
    with pytest.raises(OutFileError, match="no plain file"), opened(path):
        pass


def test_a_number_that_json_does_not_have_is_not_written(path):
    with opened(path) as out:
        with pytest.raises(ValueError, match="not JSON compliant"):
            out.append(line("a", evidence={"effect": float("nan")}))
        assert path.read_bytes() == b""
