"""Two worked examples of writing from a record, made up: one with a decision point, one where none was found."""

from __future__ import annotations

from inference.core.records import Alternative, EvidenceRecord, StepTest

COINS = EvidenceRecord(
    question="Tom has 9 coins. He gives 4 away and finds 2. How many has he now?",
    answer="7 coins",
    steps=(
        "Step 1: After giving 4 away, 9 - 4 = 5 are left.",
        "Step 2: With the 2 found, 5 + 2 = 7.",
        "Answer: 7 coins",
    ),
    signals=(),
    ranked_by="signals",
    step_scores=(),
    tests=(
        StepTest(
            step=1,
            rollouts=8,
            different=5,
            kept_answers={"7 coins": 11, "5 coins": 1},
            different_answers={"5 coins": 4, "7 coins": 1},
            effect=1.0,
            effect_interval=(0.4, 1.3),
            p_value=0.02,
            confirmed=True,
            alternatives=(
                Alternative("Step 2: So he has 5 coins.", 4, {"5 coins": 4}),
                Alternative("Step 2: He finds 2 more.", 1, {"7 coins": 1}),
            ),
        ),
    ),
)
SPARROW = EvidenceRecord(
    question="Which of these can fly?",
    answer="Sparrow",
    steps=("Step 1: Birds have wings.", "Step 2: A sparrow is a bird.", "Answer: Sparrow"),
    signals=(),
    ranked_by="signals",
    step_scores=(),
    tests=(
        StepTest(
            step=0,
            rollouts=8,
            different=3,
            kept_answers={"Sparrow": 12, "Cat": 2},
            different_answers={"Sparrow": 3},
            effect=0.05,
            effect_interval=(-0.1, 0.1),
            p_value=0.9,
            confirmed=False,
            alternatives=(Alternative("Step 1: Wings are needed to fly.", 3, {"Sparrow": 3}),),
        ),
    ),
)
EXAMPLES: tuple[tuple[EvidenceRecord, str], ...] = (
    (
        COINS,
        "The model answered “7 coins”. At step 2 it wrote “With the 2 found, 5 + 2 = 7”, but in 5 of 8 tries it "
        "wrote something else there. In 4 of these it wrote “So he has 5 coins” instead, which led to “5 coins” "
        "every time. Tests showed that step 2 made a difference to the answer.",
    ),
    (
        SPARROW,
        "The model answered “Sparrow”. At step 1 it wrote “Birds have wings”. In 3 of 8 tries it wrote “Wings are "
        "needed to fly” instead, and ended in “Sparrow” every time. No decisive choice was found: rewriting step 1 "
        "did not change the answers more than chance could.",
    ),
)
