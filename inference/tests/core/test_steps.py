"""Splitting a chain into steps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.core.steps import content, split_spans, split_steps


def texts(chain):
    return [chain[start:end] for start, end in split_spans(chain)]


@pytest.mark.parametrize(
    ("chain", "steps"),
    [
        (
            "Step 1: 3 * 4 = 12.\nStep 2: 12 - 2 = 10.\nAnswer: 10",
            ["Step 1: 3 * 4 = 12.", "Step 2: 12 - 2 = 10.", "Answer: 10"],
        ),
        ("It costs 3.5 euros. That is cheap.", ["It costs 3.5 euros.", "That is cheap."]),
        ("Use a tool, e.g. a saw. Then cut!  Done?", ["Use a tool, e.g. a saw.", "Then cut!", "Done?"]),
        ("1. Look left.\n2) Go.", ["1. Look left.", "2) Go."]),
        ("Step 1. Look left. Step 2. Go.", ["Step 1. Look left.", "Step 2. Go."]),
        ("\n\n  Wait ... what?\r\n", ["Wait ...", "what?"]),
        ("Mr. Ox left at 8 p.m. on foot.", ["Mr. Ox left at 8 p.m. on foot."]),
        ("", []),
        (" \n ", []),
    ],
)
def test_splits_at_lines_and_sentences(chain, steps):
    assert texts(chain) == steps


def test_content_leaves_the_label_out():
    assert content("Step 12: 3.5 is more.") == "3.5 is more."
    assert content("3.5 is more.") == "3.5 is more."
    assert content("- Go.") == "Go."


PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            ["Step 1:", " 3.5", ".", "\n", " ", "e.g.", "a", ". B", ".\n\nC", "!", "?", "Answer:", "1.", "…"]
        ),
        st.text(max_size=4),
        st.just(""),
    ),
    max_size=30,
)


@given(PIECES)
def test_steps_cover_the_chain_in_order_and_agree_with_the_tokens(pieces):
    chain = "".join(pieces)
    steps = split_steps(chain, pieces)
    starts = [len("".join(pieces[:index])) for index in range(len(pieces) + 1)]
    covered = set()
    for before, step in zip([None, *steps[:-1]], steps, strict=bool(steps)):
        assert chain[step.char_start : step.char_end] == step.text == step.text.strip() != ""
        assert step.token_start < step.token_end
        assert starts[step.token_start] < step.char_end
        assert starts[step.token_end] >= step.char_end
        if before:
            assert before.char_end <= step.char_start
            assert before.token_end <= step.token_start
            assert before.index + 1 == step.index
        covered |= set(range(step.char_start, step.char_end))
    assert {index for index, character in enumerate(chain) if not character.isspace()} <= covered


def test_tokens_must_spell_the_chain():
    with pytest.raises(ValueError, match="do not spell"):
        split_steps("abc", ["a", "b"])
