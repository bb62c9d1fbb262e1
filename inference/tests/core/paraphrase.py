"""Records, other words for what is said of them, and changes of what is said, for the tests of the claim checker."""

import re
from collections.abc import Iterator
from dataclasses import replace

from inference.core import Alternative, Confidences, EvidenceRecord, Source, StepEvidence, StepSignals, StepTest
from inference.core.wording import BELOW_TWENTY

STEPS = (
    "Step 1: The tray holds 12 eggs.",
    "Step 2: 12 - 3 = 9 are left.",
    "Step 3: She breaks none of them.",
    "Step 4: So 9 eggs remain in the tray.",
    "Answer: 9 eggs",
)


def counted(step, rollouts, kept, different, p_value, confirmed, *alternatives):
    effect = None if p_value is None else 0.4
    interval = None if p_value is None else (0.1, 0.7)
    total = sum(different.values())
    return StepTest(step, rollouts, total, kept, different, effect, interval, p_value, confirmed, alternatives)


CONFIRMED = counted(
    *(1, 20, {"9 eggs": 31, "": 3}, {"15 eggs": 8, "12 eggs": 5, "": 1}, 0.002, True),
    Alternative("Step 2: 12 + 3 = 15 are left.", 8, {"15 eggs": 8}),
    Alternative("Step 2: None of the 12 is sold.", 4, {"12 eggs": 3, "": 1}),
)
HALF = counted(
    *(3, 16, {"9 eggs": 25}, {"9 eggs": 6, "15 eggs": 2}, 0.38, False),
    Alternative("Step 4: Then there are 9 in it.", 6, {"9 eggs": 6}),
    Alternative("Step 4: So 15 eggs remain.", 2, {"15 eggs": 2}),
)
CHANCE = counted(
    *(2, 10, {"9 eggs": 13}, {"9 eggs": 3, "12 eggs": 1}, 0.71, False),
    Alternative("Step 3: She breaks two.", 4, {"9 eggs": 3, "12 eggs": 1}),
)
SAME = counted(0, 6, {"9 eggs": 7}, {}, None, False)
MUTE = counted(2, 9, {"9 eggs": 10}, {"": 4}, None, False, Alternative("Step 3: And so on.", 4, {"": 4}))
LONE = counted(
    2, 6, {"9 eggs": 1, "": 7}, {"12 eggs": 5}, None, False, Alternative("Step 3: So 12.", 5, {"12 eggs": 5})
)
SELDOM = counted(0, 13, {"9 eggs": 21}, {"12 eggs": 2}, 0.03, False, Alternative("Step 1: Eggs.", 2, {"12 eggs": 2}))
UNCLEAR = replace(
    counted(
        *(1, 12, {"9 eggs": 14, "15 eggs": 3}, {"15 eggs": 6, "9 eggs": 2}, 0.03, False),
        Alternative("Step 2: 12 + 3 = 15 are left.", 8, {"15 eggs": 6, "9 eggs": 2}),
    ),
    level=0.0289,
    stopped="all drawn",
)
CUT = replace(
    counted(
        *(3, 3, {"9 eggs": 4}, {"15 eggs": 3}, 0.029, False),
        Alternative("Step 4: So 15 eggs remain.", 3, {"15 eggs": 3}),
    ),
    planned=12,
    level=0.0,
    stopped="budget",
)


def record(*tests, claim=None):
    signals = tuple(
        StepSignals(share, 1.0, 0.5, index / 4, 9) for index, share in enumerate((0.31, 0.4, 0.16, 0.08, 0.05))
    )
    findings = tuple(
        StepEvidence(
            one.step, "statement", "", (Source(0, 0.77),) if one.step else (), Confidences(None, None, claim)
        )
        for one in tests
    )
    scores = (0.0,) * len(STEPS)
    return EvidenceRecord("How many eggs?", "9 eggs", STEPS, signals, "signals", scores, tests, findings=findings)


RECORDS = {
    "a decision point": record(CONFIRMED, HALF, claim=0.84),
    "two that were not": record(HALF, CHANCE),
    "only the same": record(SAME),
    "no answers": record(SAME, MUTE),
    "no answer to compare with": record(LONE),
    "too seldom": record(SELDOM),
    "not clear enough": record(SELDOM, UNCLEAR),
    "the budget": record(SELDOM, CUT),
    "nothing tested": record(),
}

# -- the same in other words: pattern and replacement, outside quotations -------------------------------------------

SHARE = r"\d+ of \d+(?: new tries)?"
SAME_MEANING = {
    "the language model": (r"\b([Tt])he model\b", r"\1he language model"),
    "it": (r"\bthe model\b", "it"),
    "attempts": ("new tries", "attempts"),
    "resamples": ("new tries", "resamples"),
    "out of": (r"(\d) of (\d)", r"\1 out of \2"),
    "of the": (r"(\d) of (\d+ new tries)", r"\1 of the \2"),
    "at that step": ("something else there", "something different at that step"),
    "something different": ("something else", "something different"),
    "chose": (r"\bit wrote\b", "it chose"),
    "ended up with": ("ended in", "ended up with"),
    "led to": ("which ended in", "which led to"),
    "leading to": (", which ended in", ", leading to"),
    "mattered": ("made a difference to the answer", "mattered"),
    "affected": ("made a difference to the answer", "affected the answer"),
    "decision point": ("decisive choice", "decision point"),
    "when": ("Where it wrote something else", "When it wrote something else"),
    "including": ("counting the original", "including the original"),
    "would arise": ("comes about by chance", "would arise by chance"),
    "because of chance": ("by chance", "because of chance"),
    "of the time": ("of cases", "of the time"),
    "contraction": ("does not", "doesn’t"),
    "alone": ("that alone does not show", "by itself, that does not prove"),
    "went back": ("led back", "went back"),
    "resampled": ("was tested: the model wrote on from before it anew,", "was resampled"),
    "it wrote it in": (rf"In ({SHARE}) it wrote something else there", r"It wrote something else there in \1"),
    "passive": (rf"In ({SHARE}) it wrote something else there", r"In \1, something else was written there"),
    "tries wrote": (rf"In ({SHARE}) it wrote something else", r"\1 said something else"),
    "bold": (r"([Ss]tep \d+)", r"**\1**"),
}


def reworded(text: str, pattern: str, replacement: str) -> str:
    return "".join(
        part if part.startswith("“") else re.sub(pattern, replacement, part) for part in re.split("(“.*?”)", text)
    )


def in_words(text: str) -> str:
    """Counts in words: not percentages, and not the numbers in brackets that enumerate the steps."""
    return "".join(
        part if part.startswith("“") else re.sub(r"(?<![\w(])(1?\d)(?![\d%)])", spelled, part)
        for part in re.split("(“.*?”)", text)
    )


def spelled(found: re.Match[str]) -> str:
    return BELOW_TWENTY[int(found[1])]


def in_digits(text: str) -> str:
    words = "|".join(BELOW_TWENTY[2:])
    return reworded(text, rf"\b({words}) times", lambda found: f"{BELOW_TWENTY.index(found[1])} times")


def rewriting(text: str) -> str:
    return re.sub(r"\bwriting (step.*?) anew", r"rewriting \1", text)


def straight(text: str) -> str:
    return text.replace("“", '"').replace("”", '"')


# -- something else: sentences that look much the same ---------------------------------------------------------------

TURNED = (
    ("made a difference", "made no difference"),
    ("made a difference", "did not make a difference"),
    ("made a difference to the answer", "decided the answer"),
    ("made a difference to the answer", "led to the answer"),
    ("No decisive choice was found", "A decisive choice was found"),
    ("No decisive choice was found", "There is no decisive choice"),
    ("does not show", "shows"),
    ("did not change", "changed"),
    (r"\bnot ", ""),
    ("more than", "less than"),
    ("something else", "the same"),
    ("the same or nearly the same", "something else"),
    ("; that alone does not show.*", "."),
    ("; that alone does not show that", ", which shows that"),
    ("; that alone does not show that", ", so"),
    ("; that is a guess, and no finding", ""),
    ("guesses", "shows"),
    ("by chance in", "in"),
    ("less than 1%", "more than half"),
    ("more than half", "less than 1%"),
    ("instead, which ended in", "because it had ended in"),
    ("where it kept to that step, counting the original,", "where it kept to that step,"),
    ("Where it wrote something else", "Because it wrote something else"),
    ("too seldom", "often"),
    ("not clear enough", "clear enough"),
    ("several times", "once"),
    ("the budget ended", "chance ended"),
    ("before it could tell", "and told"),
    ("mattered: [^.]*", "mattered: a difference as large comes about by chance in 3% of cases"),
    ("mattered: [^.]*", "mattered: too seldom was anything else written there"),
    ("mattered: [^.]*", "mattered: the budget ended the test before it could tell"),
    (
        "mattered: [^.]*",
        "mattered: the difference was not clear enough for a test that is looked at several times",
    ),
    ("found: [^.]*$", "found: writing step 1 anew did not change the answers more than chance could"),
    ("never|whenever", "sometimes when"),
    ("said the same", "said something else"),
    ("was not tested", "was tested"),
    ("were not tested", "were tested"),
    (r"none of its steps was tested", "one of its steps was tested"),
    (r"without a readable answer", "in “9 eggs”"),
    (r"$", " This is because step 1 says so."),
    (r"\.$", ", which is right."),
    (r"\.$", ", so step 1 made a difference to the answer."),
    (r"\.$", ", because step 1 made it so."),
)
QUOTATIONS = ("9 eggs", "15 eggs", "12 eggs", "The tray holds 12 eggs", "12 - 3 = 9 are left", "So 15 eggs remain")


def mutations(sentence: str) -> Iterator[str]:
    """The sentence with one number, step, quotation or word changed."""
    parts = re.split("(“.*?”)", sentence)
    for at, part in enumerate(parts):
        ways = changed_quotation(part) if part.startswith("“") else changed_words(part)
        for other in ways:
            if other != part:
                yield "".join([*parts[:at], other, *parts[at + 1 :]])
    for pattern, replacement in TURNED:
        turned = re.sub(pattern, replacement, sentence, count=1)
        if turned != sentence:
            yield turned


def changed_words(part: str) -> Iterator[str]:
    for spot in re.finditer(rf"\b(?:\d+|{'|'.join(BELOW_TWENTY)}|once)\b", part):
        now = int(spot[0]) if spot[0].isdigit() else 1 if spot[0] == "once" else BELOW_TWENTY.index(spot[0])
        for other in (now - 1, now + 1, now + 10):
            yield f"{part[: spot.start()]}{times(other) if spot[0] == 'once' else other}{part[spot.end() :]}"


def times(count: int) -> str:
    return f"{count} times"


def changed_quotation(quotation: str) -> Iterator[str]:
    yield from (f"“{other}”" for other in QUOTATIONS)
    yield re.sub(r"\d", lambda found: str((int(found[0]) + 1) % 10), quotation)
    yield quotation.replace(" ", " not ", 1)
    yield quotation.replace(quotation[1:].split(maxsplit=1)[0], "", 1) if " " in quotation else f"{quotation[:-1]}s”"
