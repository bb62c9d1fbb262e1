"""Three worked examples, which the model sees as earlier turns: a small model needs them to keep the form."""

from __future__ import annotations

from inference.core.records import Problem

EXAMPLES: tuple[tuple[Problem, str], ...] = (
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
