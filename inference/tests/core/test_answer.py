"""Reading the answer from what the chain states."""

from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from inference.core import Problem
from inference.core.answer import answer_key, find_stated, numbers, read_answer
from inference.core.roles import answering
from inference.core.steps import split_spans

NUMBER = Problem("How many?", asks="number")
FREE = Problem("Where?", asks="free")
COLOURS = ("White", "Grey", "We cannot know")
MONEY = ("30 euros", "35 euros", "150 euros")
ANIMALS = ("cat", "dog", "horse")
ODD = ("5", "6", "4000")


@pytest.mark.parametrize(
    ("chain", "options", "index", "read_by"),
    [
        ("Step 1: It is grey.\nAnswer: grey.", COLOURS, 1, "stated value"),
        ("Step 1: x\n**Answer:** We cannot know", COLOURS, 2, "stated value"),
        ("So the answer is: B) Grey", COLOURS, 1, "stated value"),
        ("Answer: 7 * 5 = 35", MONEY, 1, "number"),
        ("Answer: 35.0 EUR", MONEY, 1, "number"),
        ("Answer: -5", ("5", "-5"), 1, "stated value"),
        ("Answer: -5", ("−5", "−7"), 0, "stated value"),
        ("Answer: 7", ("−5", "7"), 1, "stated value"),
        ("Answer: 1,500", ("1500", "15"), 0, "number"),
        ("Answer: (C)", COLOURS, 2, "letter"),
        ("Answer: option b", COLOURS, 1, "letter"),
        ("Answer: The bird must be grey", COLOURS, 1, "word overlap"),
        ("Answer: it is certainly not made of glass", ("Certainly", "Certainly not"), 1, "word overlap"),
        ("Answer: B) $x > 5$", ("x < 5", "x > 5"), 1, "stated value"),
        ("The answer is 5!", ODD, 0, "stated value"),
        ("Answer: 4e3 apples", ODD, 2, "number"),
        ("Answer: 25 cm2", ("25 cm^2", "26 cm^2"), 0, "number"),
        ("Answer: 25 cm²", ("25", "52"), 0, "number"),
        ("Answer: 6 more than before", ODD, 1, "number"),
        ("Answer: B) one with fur, e.g. a bat", (*ANIMALS, "fox", "crow"), 1, "letter"),
        ("Answer: A. B is wrong.", ANIMALS, 0, "letter"),
        ("Answer: the dog, which is larger than 2 cats", ANIMALS[1:], 0, "word overlap"),
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
        ("The answer is not 5.", ODD),
        ("Answer: I cannot decide, but it is not 6", ODD),
        ("Answer: less than 6", ODD),
        ("Answer: less than 6 apples", ("6 apples", "7 apples")),
        ("Answer: - 5", ODD),
        ("Answer: 5π", ODD),
        ("Answer: 5e3", ODD),
        ("Answer: 5 million", ODD),
        ("Answer: x = 5 or x = 6", ODD),
        ("Answer: A) or B)", ANIMALS),
        ("Answer: (a) and (b)", ANIMALS),
        ("Answer: A: no, B", ANIMALS),
        ("Answer: neither dog nor cat", ANIMALS[1:]),
        ("Answer: anything but dog", ANIMALS[1:]),
        ("", COLOURS),
    ],
)
def test_reads_nothing_where_no_option_or_several_are_stated(chain, options):
    assert read_answer(chain, Problem("?", options)) is None


@pytest.mark.parametrize(
    ("chain", "number"),
    [
        ("Step 1: 3 * 4 = 12.\nAnswer: 12", "12"),
        ("Answer: 12 - 2 = 10 jars.", "10"),
        ("The answer is: $1,250.50", "1250.50"),
        ("Answer: −5 °C", "-5"),
        ("Answer: 3 / 4 of the cake", "3 / 4"),
        ("Answer: \\boxed{7}", "7"),
        ("Answer: 7, so he has 7 lives", "7"),
        ("Answer: 5\nNo, wait.\nAnswer: 6", "6"),
        ("Answer: x = - 5", "-5"),
        ("Answer: 2x = 10 => x = 5", "5"),
        ("Answer: π ≈ 3.14", "3.14"),
        ("Answer: Rs 7925", "7925"),
        ("Answer: 5 km/h", "5"),
        ("Answer: A) 5 (five)", "5"),
        ("Answer: 25 cm^2", "25"),
        ("Answer: 25 cm²", "25"),
        ("Answer: 5 more apples than Tom", "5"),
        ("Answer: it adds up to 5", "5"),
        ("Answer: one half (0.5)", "0.5"),
    ],
)
def test_a_number_is_read_without_its_unit(chain, number):
    answer = read_answer(chain, NUMBER)
    assert (answer.index, answer.text, answer.read_by) == (None, number, "stated number")


@pytest.mark.parametrize(
    "value",
    [
        *("", "twelve", "7 or 8", "12:30", "1.2.3", "3,5", "√2", "2x", "\\frac{1}{2}", "not 5", "1e999", "2^10"),
        *("9" * 99, "x = 3 or x = 5", "x != 5", "x >= 5", "x ≠ 5", "x > 5", "less than $5", "at most 5"),
        *("anything but 5", "half of 5", "5!", "5²", "5 ½", "1½", "5 million", "5 squared", "log(5)", "minus 5"),
        *("|5|", "±5", "5+", "5 × 5"),
    ],
)
def test_no_number_is_guessed(value):
    assert read_answer(f"Step 1: 4 + 4 = 8.\nAnswer: {value}", NUMBER) is None
    assert read_answer("Step 1: 4 + 4 = 8.", NUMBER) is None


@pytest.mark.parametrize(
    ("chain", "text"),
    [
        ("Answer:   In the\tLibrary. ", "In the Library"),
        ("**Answer:** “Paris”", "Paris"),
        ("Answer: -5", "-5"),
        ("The final answer is 猫。", "猫。"),
    ],
)
def test_a_text_is_read_without_what_stands_around_it(chain, text):
    answer = read_answer(chain, FREE)
    assert (answer.index, answer.text, answer.read_by) == (None, text, "stated text")


def test_no_text_is_read_where_none_is_stated():
    assert read_answer("Step 1: It is Paris.", FREE) is None
    assert read_answer("Answer: **", FREE) is None


@pytest.mark.parametrize("same", [("1,000", "1000.0", "1e3", "+1000", "01000"), ("2/4", "0.5", ".50"), ("0", "-0.0")])
def test_one_number_has_one_key(same):
    assert len({answer_key(text, "number") for text in same}) == 1


@given(st.integers(-(10**12), 10**12), st.integers(0, 6))
def test_the_key_is_the_number_and_its_own_key(digits, places):
    value = Fraction(digits, 10**places)
    key = answer_key(f"{digits}/{10**places}", "number")
    assert Fraction(key) == value
    assert answer_key(key, "number") == key
    assert answer_key(f"{digits}e-{places}", "number") == key


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("In the library.", "in the  LIBRARY!", True),
        ("It costs $1,000", "it costs 1000.0", True),
        ("-5 degrees", "5 degrees", False),
        ("3.5 l", "35 l", False),
        ("🙂", "🙃", False),
        ("C", "c", True),
        ("room B2", "Room b 2", True),
    ],
)
def test_texts_are_compared_by_words_and_numbers(one, other, same):
    assert (answer_key(one, "free") == answer_key(other, "free")) is same


@given(st.text(max_size=30))
@example("_00")
@example("..0A")
@example("٣,0")
@example("İ")
def test_the_key_of_any_text_is_its_own_key(text):
    key = answer_key(text, "free")
    assert answer_key(key, "free") == key


def test_an_option_is_its_own_key():
    assert answer_key("In the Library.", "choice") == "In the Library."


def test_a_cue_right_behind_another_is_no_value():
    stated = find_stated("So the answer is\nAnswer: Grey")
    assert (stated.text, stated.start, stated.cue) == ("Grey", 25, 17)


@pytest.mark.parametrize(
    ("chain", "text"),
    [
        ("<think>\nFirst guess at the answer: White\n", None),
        ("<think>The answer is White.</think>\nHm.", None),
        ("<think>\nAnswer: White\n</think>\nAnswer: Grey", "Grey"),
        ("Answer: Grey\n<think>Or is the answer: White?</think>", "Grey"),
        ("<think>a</think> The answer is <think>b</think> Grey", "Grey"),
    ],
)
def test_what_stands_in_a_think_block_is_no_statement(chain, text):
    stated = find_stated(chain)
    assert (stated and stated.text) == text
    assert stated is None or chain[stated.start :].startswith(text)


def test_the_last_statement_counts():
    chain = "The answer is white? No.\nAnswer: Grey"
    assert read_answer(chain, Problem("?", COLOURS)).text == "Grey"
    stated = find_stated(chain)
    assert chain[stated.start :] == stated.text == "Grey"


def test_a_minus_is_a_minus_however_it_is_written():
    assert read_answer("Answer: 5", Problem("?", ("−5", "7"))) is None
    assert numbers("−5 or 10−3") == [-5, 10, 3]


def test_numbers():
    assert numbers("From 14:40, 3 of 1,500 cost -2.5 or 25%.") == [14, 40, 3, 1500, -2.5, 25]


@pytest.mark.parametrize(
    ("chain", "value"),
    [
        ("So the answer is 5. Final answer: 6", "6"),
        ("Answer: Black. The answer is not grey, so the answer is black", "black"),
        ("Answer: 5. Hence the answer is", "5. Hence the"),
        ("The answer is 5.\nIt is sure.", "5."),
    ],
)
def test_of_two_statements_on_a_line_the_last_counts_and_its_step_is_the_one_that_states_it(chain, value):
    stated = find_stated(chain)
    assert stated.text == value
    spans = split_spans(chain)
    (index,) = (at for at, (start, end) in enumerate(spans) if start <= stated.start < end)
    assert answering([chain[start:end] for start, end in spans]) == index
