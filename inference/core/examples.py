"""Three worked examples for each kind of problem, which the model sees as earlier turns.

A small model needs them to keep the form.
"""

from __future__ import annotations

from inference.core.records import Problem

Worked = tuple[tuple[Problem, str], ...]

EXAMPLES: Worked = (
    (
        Problem(
            "A shop has 3 shelves with 4 jars each. 2 jars are sold. How many jars are left?",
            ("8 jars", "10 jars", "12 jars"),
        ),
        "Step 1: The shelves hold 3 * 4 = 12 jars.\n"
        "Step 2: After the sale 12 - 2 = 10 jars are left.\nAnswer: 10 jars",
    ),
    (
        Problem(
            "All cats in the old house are black. Milo is a cat in the old house. What colour is Milo?",
            ("Black", "White", "We cannot know"),
        ),
        "Step 1: Every cat in the old house is black.\n"
        "Step 2: Milo is one of these cats, so Milo is black.\nAnswer: Black",
    ),
    (
        Problem(
            "A neighbour asks you to water her plants, but you are very tired. What do you do?",
            ("Say no politely", "Water the plants", "Say yes and forget it"),
        ),
        "Step 1: The plants will dry out if nobody waters them.\n"
        "Step 2: Watering takes only a few minutes, so being tired is a small cost.\n"
        "Answer: Water the plants",
    ),
)

NUMBERS: Worked = (
    (
        Problem("A shop has 3 shelves with 4 jars each. 2 jars are sold. How many jars are left?", asks="number"),
        "Step 1: The shelves hold 3 * 4 = 12 jars.\nStep 2: After the sale 12 - 2 = 10 jars are left.\nAnswer: 10",
    ),
    (
        Problem("A ticket costs 2.50 euros. What do 5 tickets cost, in euros?", asks="number"),
        "Step 1: One ticket costs 2.50 euros.\nStep 2: 5 tickets cost 5 * 2.50 = 12.50 euros.\nAnswer: 12.50",
    ),
    (
        Problem("Tom is 7 years old. His sister is twice as old. How old was she 3 years ago?", asks="number"),
        "Step 1: His sister is 2 * 7 = 14 years old.\nStep 2: 3 years ago she was 14 - 3 = 11.\nAnswer: 11",
    ),
)

FREE: Worked = (
    (
        Problem(
            "All cats in the old house are black. Milo is a cat in the old house. What colour is Milo?", asks="free"
        ),
        EXAMPLES[1][1],
    ),
    (
        Problem("Anna is taller than Ben, and Ben is taller than Carl. Who is the shortest?", asks="free"),
        "Step 1: Ben is shorter than Anna.\n"
        "Step 2: Carl is shorter than Ben, so nobody is shorter than Carl.\nAnswer: Carl",
    ),
    (
        Problem("What do you need to cut a sheet of paper in two?", asks="free"),
        "Step 1: A sheet of paper is thin.\nStep 2: Thin things are cut with two blades.\nAnswer: Scissors",
    ),
)


def examples(asks: str) -> Worked:
    """Those for a kind of problem, one of `records.ASKS`."""
    return {"choice": EXAMPLES, "number": NUMBERS, "free": FREE}[asks]
