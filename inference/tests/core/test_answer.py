"""Reading the answer from what the chain states."""

import pytest

from inference.core import Problem
from inference.core.answer import find_stated, numbers, read_answer

COLOURS = ("White", "Grey", "We cannot know")
MONEY = ("30 euros", "35 euros", "150 euros")


@pytest.mark.parametrize(
    ("chain", "options", "index", "read_by"),
    [
        ("Step 1: It is grey.\nAnswer: grey.", COLOURS, 1, "stated value"),
        ("Step 1: x\n**Answer:** We cannot know", COLOURS, 2, "stated value"),
        ("So the answer is: B) Grey", COLOURS, 1, "stated value"),
        ("Answer: 7 * 5 = 35", MONEY, 1, "number"),
        ("Answer: 35.0 EUR", MONEY, 1, "number"),
        ("Answer: -5", ("5", "-5"), 1, "stated value"),
        ("Answer: 1,500", ("1500", "15"), 0, "number"),
        ("Answer: (C)", COLOURS, 2, "letter"),
        ("Answer: option b", COLOURS, 1, "letter"),
        ("Answer: The bird must be grey", COLOURS, 1, "word overlap"),
        ("Answer: it is certainly not made of glass", ("Certainly", "Certainly not"), 1, "word overlap"),
    ],
)
def test_reads_what_is_stated(chain, options, index, read_by):
    answer = read_answer(chain, Problem("?", options))
    assert (answer.index, answer.text, answer.read_by) == (index, options[index], read_by)


@pytest.mark.parametrize(
    ("chain", "options"),
    [
        ("Step 1: It is grey.", COLOURS),  # states nothing
        ("Answer:", COLOURS),
        ("Answer: White, Grey", COLOURS),  # lists the options
        ("Answer: it is not grey", COLOURS),  # denies one
        ("Answer: purple", COLOURS),
        ("Answer: 13 * 72 = 984", ("13", "15", "19")),
        ("Answer: -5", ("5", "7")),
        ("Answer: 35 euros for 5 tickets", MONEY),  # two numbers
        ("Answer: Z", COLOURS),
        ("", COLOURS),
    ],
)
def test_reads_nothing_where_no_option_or_several_are_stated(chain, options):
    assert read_answer(chain, Problem("?", options)) is None


def test_the_last_statement_counts():
    chain = "The answer is white? No.\nAnswer: Grey"
    assert read_answer(chain, Problem("?", COLOURS)).text == "Grey"
    stated = find_stated(chain)
    assert chain[stated.start :] == stated.text == "Grey"


def test_numbers():
    assert numbers("From 14:40, 3 of 1,500 cost -2.5 or 25%.") == [14, 40, 3, 1500, -2.5, 25]
