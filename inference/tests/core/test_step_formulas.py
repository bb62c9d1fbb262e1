"""Steps keep formulas, think blocks and lists together; spans cover any chain."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.core.steps import content, split_spans, split_steps

FORMULAS = ("$x = 1. y$ ", "\\[ a = 1. \\]\n", "\\[\nb. c\n\\] ", "$$\n1. 2\n$$", "\\( x. y \\)")
TABLES = ("\\begin{align}\n1. & 2\n\\end{align}", "$5. Then $6. ", "$", "\\[")
LABELS = ("<think>", "</think>", "\n", "1. Add. ", "2) Take! ", "# 3. Sum. ", "- item. ", "\r\n", " ")
WORDS = (
    "The jar holds 3.5 l. ",
    "See e.g. the box. ",
    "Schön, 数学。",
    "👩\u200d🔬 a\u0301. ",
    "U.S. ",
    "Answer: 7\n",
)
PIECES = st.sampled_from((*FORMULAS, *TABLES, *LABELS, *WORDS))
CHAINS = st.one_of(st.lists(PIECES, max_size=12).map("".join), st.text(max_size=80))


def texts(chain: str) -> list[str]:
    return [chain[start:end] for start, end in split_spans(chain)]


@settings(max_examples=300, deadline=None)
@given(CHAINS)
def test_every_visible_character_lies_in_exactly_one_span(chain):
    spans = split_spans(chain)
    covered = [index for start, end in spans for index in range(start, end)]
    assert len(covered) == len(set(covered))
    assert covered == sorted(covered)
    assert {index for index, one in enumerate(chain) if not one.isspace()} <= set(covered)


@settings(max_examples=200, deadline=None)
@given(CHAINS, st.integers(1, 7))
def test_token_spans_follow_each_other_and_touch_their_step(chain, width):
    tokens = [chain[at : at + width] for at in range(0, len(chain), width)]
    steps = split_steps(chain, tokens)
    for one, other in pairwise(steps):
        assert one.token_end <= other.token_start
    for step in steps:
        assert step.text == chain[step.char_start : step.char_end]
        assert step.token_start < step.token_end


@pytest.mark.parametrize(
    ("chain", "wanted"),
    [
        ("We set $x = 3. y = 4$. Then add.", ["We set $x = 3. y = 4$.", "Then add."]),
        ("So \\[\nx = 1.\ny = 2.\n\\] holds. Next.", ["So \\[\nx = 1.\ny = 2.\n\\] holds.", "Next."]),
        ("It is \\(a. b\\) here. Done.", ["It is \\(a. b\\) here.", "Done."]),
        ("One costs $5. The other costs $6. Both 11.", ["One costs $5.", "The other costs $6.", "Both 11."]),
        ("A price of \\$5. Another.", ["A price of \\$5.", "Another."]),
        (
            "<think>\nAdd them. Then stop.\n</think>\nAnswer: 7",
            ["<think>\nAdd them.", "Then stop.\n</think>", "Answer: 7"],
        ),
        ("<think>1. Add. Stop.</think> Answer: 7", ["<think>1. Add.", "Stop.</think>", "Answer: 7"]),
        ("## 1. Add them\n2. Take 3.5 away", ["## 1. Add them", "2. Take 3.5 away"]),
        ("先加。再减！", ["先加。", "再减！"]),
        ("An open \\[ stays. A line.", ["An open \\[ stays.", "A line."]),
    ],
)
def test_cuts(chain, wanted):
    assert texts(chain) == wanted


def test_a_label_and_a_tag_are_no_content():
    assert content("<think>1. Add them.") == "Add them."
