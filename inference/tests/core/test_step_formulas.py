"""Steps keep formulas, think blocks and lists together; spans cover any chain."""

from __future__ import annotations

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.core.steps import FORMULA, content, split_spans, split_steps
from inference.tests.standin import stand_in_model

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
    "She said “go.” ",
    "**Step 12:** -5 *is* less. ",
    "See Fig. 3 of no. 4. ",
    "真。\ufe00好！",
    "हाँ। ",
    "\u0301",
    "नि",
    "🇩🇪 👍🏽.\u2028",
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


@settings(max_examples=300, deadline=None)
@given(CHAINS)
def test_no_cut_lies_in_a_number_a_formula_or_a_character(chain):
    cuts = [start for start, _ in split_spans(chain)[1:]]
    for at in cuts:
        before = chain[:at].rstrip()
        assert not (before[-1:] in ".," and before[-2:-1].isdigit() and chain[at].isdigit() and at == len(before))
        joined = chain[at] == "\u200d" or unicodedata.category(chain[at]).startswith("M")
        assert not joined or before != chain[:at]  # a mark may begin a step only behind white space
    for formula in FORMULA.finditer(chain):
        assert not any(formula.start() < at < formula.end() for at in cuts)


@settings(max_examples=60, deadline=None)
@given(CHAINS)
def test_tokens_that_cut_characters_still_go_to_their_steps(chain):
    """A byte-level tokenizer, as the model has it: a letter of a script that it does not know is several tokens."""
    model = stand_in_model()
    ids = model.encode(chain)
    written = model.decode(ids)
    pieces = model.pieces(ids)
    steps = split_steps(written, pieces)
    starts = [len("".join(pieces[:at])) for at in range(len(pieces) + 1)]
    assert [step.index for step in steps] == list(range(len(steps)))
    for step in steps:
        assert starts[step.token_start] < step.char_end <= starts[step.token_end]
        assert written[step.char_start : step.char_end] == step.text
    held = {at for step in steps for at in range(step.token_start, step.token_end)}
    assert {at for at, piece in enumerate(pieces) if piece.strip()} <= held


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
        ("He said “go.” Then he left.", ["He said “go.”", "Then he left."]),
        ("**Done.** Next.", ["**Done.**", "Next."]),
        ("The answer is no. See no. 5. Done.", ["The answer is no.", "See no. 5.", "Done."]),
        ("See Fig. 3 by Li et al. here. Done.", ["See Fig. 3 by Li et al. here.", "Done."]),
        ("(1) Add. (2) Take.", ["(1) Add.", "(2) Take."]),
        ("**Step 1.** Add. **Step 2.** Take.", ["**Step 1.** Add.", "**Step 2.** Take."]),
        ("100. Add. 101. Take.", ["100. Add.", "101. Take."]),
        ("真。\ufe00 好。", ["真。\ufe00 好。"]),
        ("<think>\n\n</think>\n\nAdd them. Stop.", ["<think>\n\n</think>\n\nAdd them.", "Stop."]),
        ("<think>Add them</think> Answer: 7", ["<think>Add them</think>", "Answer: 7"]),
        ("<think>\n</think>", ["<think>\n</think>"]),
        ("An open \\[ stays. A line.", ["An open \\[ stays.", "A line."]),
    ],
)
def test_cuts(chain, wanted):
    assert texts(chain) == wanted


@pytest.mark.parametrize(
    ("step", "own"),
    [
        ("<think>1. Add them.", "Add them."),
        ("<think>\n\n</think>\nStep 1: Add them.", "Add them."),
        ("**Step 1:** Add them.", "Add them."),
        ("Step 100: Add them.", "Add them."),
        ("(2) Add them.", "Add them."),
        ("* Add them.", "Add them."),
        ("-5 is less.", "-5 is less."),
        ("**Add** them.", "**Add** them."),
        ("12:30 is late.", "12:30 is late."),
        ("2024 was long.", "2024 was long."),
    ],
)
def test_a_label_and_a_tag_are_no_content(step, own):
    assert content(step) == own
