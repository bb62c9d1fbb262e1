"""Rollouts kept in a file: whole lines, whatever happens to the process or the file."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.core.decode import Sampling
from inference.core.kept import KeptError, KeptFile, check_own, row_keys, trace_digest
from inference.core.records import Token
from inference.core.rollouts import Start

ROWS = {
    f"key-{at}": tuple(Token(at + n, f"wörd {n}\n", -0.1 / (n + 1), 1e-17 * n) for n in range(at)) for at in range(4)
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "rollouts" / "kept.jsonl"


@pytest.fixture
def kept(path):
    made = KeptFile(path)
    for key, tokens in ROWS.items():
        made.put(key, tokens)
    return made


def test_what_was_put_is_there_for_the_next_process(kept, path):
    assert KeptFile(path).rows == ROWS
    assert KeptFile(path).get("key-2") == ROWS["key-2"]
    assert KeptFile(path).get("other") is None


def test_nothing_put_is_no_file(path):
    assert KeptFile(path).rows == {}
    KeptFile(path).remove()
    assert not path.parent.exists()


def test_removed_rows_are_gone(kept, path):
    kept.remove()
    assert not path.exists()
    assert kept.get("key-1") is None
    kept.put("key-1", ROWS["key-1"])
    assert KeptFile(path).rows == {"key-1": ROWS["key-1"]}


@given(share=st.floats(0, 1))
def test_a_torn_end_costs_only_the_row_that_it_was(tmp_path_factory, share):
    path = tmp_path_factory.mktemp("kept") / "kept.jsonl"
    made = KeptFile(path)
    for key, tokens in ROWS.items():
        made.put(key, tokens)
    whole = path.read_bytes()
    size = round(share * len(whole))
    path.write_bytes(whole[:size])
    again = KeptFile(path)
    assert list(again.rows) == list(ROWS)[: whole[:size].count(b"\n")]
    again.put("new", ROWS["key-3"])
    assert KeptFile(path).rows == again.rows


def test_lines_that_are_none_of_its_own_are_passed_over(kept, path):
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([lines[0], b"\x00\xff", b"[1]", b'{"key": 3}', b"", *lines[1:]]) + b"\n")
    assert KeptFile(path).rows == ROWS


@pytest.mark.parametrize(
    "content", [b"my notes", b"my notes\n", b'{"key": "p1", "question": "?"}\n', b"\n", b"\x00" * 50]
)
def test_a_file_of_somebody_else_is_refused_and_left_as_it_is(tmp_path, content):
    path = tmp_path / "out.jsonl.rollouts"
    path.write_bytes(content)
    with pytest.raises(KeptError, match=r"Move it away, or name another --out"):
        check_own(path)
    assert path.read_bytes() == content


def test_its_own_file_is_taken_torn_anywhere(kept, path):
    whole = path.read_bytes()
    for size in (0, 1, 5, 30, len(whole) - 1, len(whole)):
        path.write_bytes(whole[:size])
        check_own(path)
    path.unlink()
    check_own(path)


def test_a_key_stands_for_all_that_decides_a_row(model):
    start, options = Start((1, 2, 3), Sampling(20, 0.7, 0.9, 5)), ("yes", "no")
    keys = row_keys(model, start, options, [0, 1])
    assert keys == row_keys(model, start, options, [0, 1])
    others = [
        row_keys(model, Start((1, 2, 4), start.sampling), options, [0, 1]),
        row_keys(model, Start(start.ids, Sampling(20, 0.7, 0.9, 6)), options, [0, 1]),
        row_keys(model, Start(start.ids, Sampling(21, 0.7, 0.9, 5)), options, [0, 1]),
        row_keys(model, start, ("yes",), [0, 1]),
    ]
    assert len({key for some in (keys, *others) for key in some}) == 10


def test_the_digest_is_of_the_whole_trace(model, trace):
    assert trace_digest(trace) == trace_digest(replace(trace))
    assert trace_digest(trace) != trace_digest(replace(trace, settings=replace(trace.settings, seed=9)))
