"""Let the language model write explanations from the evidence record, and keep of them what the record supports.

The model reads the question, the answer and the record's findings as numbered sentences of the templates, after two
worked examples, and is asked to explain them to a lay reader. What it writes goes through the claim checker: it may
choose and reword, and cannot add.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from inference.core.cache import PrefixCache
from inference.core.claims import check_claims, supported
from inference.core.decode import Sampling
from inference.core.explain import STYLES, answered, candidates, contrast, judged, quoted_step, verdict
from inference.core.language_model import LanguageModel, Message
from inference.core.limits import LimitError, device_memory
from inference.core.prose_examples import EXAMPLES
from inference.core.reasoning import loops, user
from inference.core.recipe import WRITERS
from inference.core.records import Candidate, Claim, Draft, EvidenceRecord, StepTest
from inference.core.self_explanation import whole_sentences
from inference.core.wording import folded

LONGEST = 160  # tokens
TEMPERATURE, TOP_P = 0.7, 0.95
TOLD = 3  # tested steps that the model is told of, decision points first
REQUEST = (
    "Why this answer and not another one? Explain it to somebody who knows nothing of language models, in two to "
    "four sentences. Use nothing but the facts, and keep their numbers and quotations."
)
MARKDOWN = re.compile(r"\*\*|__|^[ \t]*#+[ \t]*", re.MULTILINE)
LABEL = re.compile(r"\s*explanation\s*:\s*", re.IGNORECASE)
ITEM = re.compile(r"^[ \t]*(?:[-*•]|\d{1,2}[.)])[ \t]+", re.MULTILINE)

Written = tuple[tuple[Candidate, ...], tuple[Draft, ...]]


def write(
    model: LanguageModel,
    record: EvidenceRecord,
    writer: str,
    n: int,
    seed: int,
    tick: Callable[[float], None] = lambda share: None,
) -> Written:
    """The candidates, each with at least one sentence and all of them supported, and a draft for every text made.

    `n` texts by each writer that `writer` names, of the templates at most their three. Where nothing that the model
    wrote is left, or it could write nothing, the templates stand in: the tests are done and must not be lost. Raises
    ValueError for an unknown writer.
    """
    if writer not in WRITERS:
        raise ValueError(f"writer is {writer!r}; allowed are {', '.join(WRITERS)}")
    made = [] if writer == "model" else by_templates(record, n)
    if writer != "templates":
        made += by_model(model, record, n, seed, tick)
    if not any(one.text for one, _ in made):
        made += by_templates(record, n)
    distinct: dict[str, Candidate] = {}
    for one, _ in made:
        if one.text:
            distinct.setdefault(one.text, one)
    return tuple(distinct.values()), tuple(draft for _, draft in made)


def writer_of(candidate: Candidate) -> str:
    return "templates" if candidate.style in STYLES else "model"


def by_templates(record: EvidenceRecord, n: int) -> list[tuple[Candidate, Draft]]:
    made = []
    for one in candidates(record, n):
        text, claims, rejected = supported(record, one.text)
        made.append((Candidate(text, one.style, rejected=rejected), Draft(one.style, len(claims), rejected)))
    return made


def by_model(
    model: LanguageModel, record: EvidenceRecord, n: int, seed: int, tick: Callable[[float], None]
) -> list[tuple[Candidate, Draft]]:
    """Of a model that could write nothing, an empty text with the reason."""
    try:
        texts = compose(model, record, n, seed, tick)
    except LimitError as error:
        return [(Candidate("", "written"), Draft("written", 0, 0, str(error)))]
    return [left_of(record, text, f"written {index}") for index, text in enumerate(texts, start=1)]


def left_of(record: EvidenceRecord, text: str, style: str) -> tuple[Candidate, Draft]:
    """What is supported of `text`, each sentence once, with the verdict; empty where nothing is."""
    left, claims, rejected = supported(record, without_repeats(record, plain(text)))
    if claims and not says_verdict(record, claims):
        left = f"{left} {verdict(record)}"
    return Candidate(left, style, rejected=rejected), Draft(style, len(claims), rejected)


def plain(text: str) -> str:
    """Without Markdown, labels, and a sentence that the token limit cut off."""
    bare = MARKDOWN.sub("", text).strip()
    label = LABEL.match(bare)
    return whole_sentences(ITEM.sub("", bare[label.end() if label else 0 :]))


def without_repeats(record: EvidenceRecord, text: str) -> str:
    """Small models say a thing again and again."""
    seen: set[Claim] = set()
    kept = []
    for paragraph in check_claims(record, text):
        fresh = [claim.sentence for claim in dict.fromkeys(paragraph) if claim not in seen]
        seen |= set(paragraph)
        kept += [" ".join(fresh)] if fresh else []
    return "\n\n".join(kept)


def says_verdict(record: EvidenceRecord, claims: list[Claim]) -> bool:
    """Whether they name every decision point as such, or say that none was found."""
    if not record.decision_points:
        said = [folded(re.sub("“.*?”", "", claim.sentence)) for claim in claims]
        return any("no decisive choice" in sentence for sentence in said)
    points = {f"/tests/{index}/confirmed" for index, test in enumerate(record.tests) if test.confirmed}
    return points <= {pointer for claim in claims for pointer in claim.pointers}


# -- what the model is asked ---------------------------------------------------------------------------------------


@device_memory("writing the explanation")
def compose(
    model: LanguageModel, record: EvidenceRecord, n: int, seed: int, tick: Callable[[float], None]
) -> list[str]:
    """`n` texts as the model wrote them, sampled in one batch, each of at most LONGEST tokens.

    Raises ContextError where examples and facts leave no room for them, NumbersError and DeviceMemoryError.
    """
    _, ids = model.encode_chat(messages(record))
    sampling = Sampling(LONGEST, TEMPERATURE, TOP_P, seed)
    rows = model.generate(ids, sampling, rows=n, stop=loops, prefix=examples(model), tick=tick)
    return ["".join(token.text for token in row).strip() for row in rows]


def examples(model: LanguageModel) -> PrefixCache:
    """The beginning that all such prompts share, read once."""
    return model.prefix(model.encode_chat([*example_turns(), user("?")])[1])


def messages(record: EvidenceRecord) -> list[Message]:
    return [*example_turns(), user(posed(record))]


def example_turns() -> list[Message]:
    turns: list[Message] = []
    for record, text in EXAMPLES:
        turns += [user(posed(record)), {"role": "assistant", "content": text}]
    return turns


def posed(record: EvidenceRecord) -> str:
    numbered = "\n".join(f"{number}. {fact}" for number, fact in enumerate(facts(record), start=1))
    return f"Question: {record.question}\nAnswer: {record.answer}\nFacts:\n{numbered}\n{REQUEST}"


def facts(record: EvidenceRecord) -> list[str]:
    """What the model may tell, in the templates' sentences: only what the record supports, and no attention."""
    paragraphs = [answered(record), *(" ".join(about(record, test)) for test in told(record)), verdict(record)]
    return [claim.sentence for claim in supported(record, "\n\n".join(paragraphs))[1]]


def told(record: EvidenceRecord) -> list[StepTest]:
    """The tests that the facts are about, in the order of the steps."""
    first = sorted(record.tests, key=lambda test: not test.confirmed)[:TOLD]
    return sorted(first, key=lambda test: test.step)


def about(record: EvidenceRecord, test: StepTest) -> list[str]:
    wrote = f"At step {test.step + 1} the model wrote {quoted_step(record, test.step)}."
    return [wrote, *contrast(record, test), judged(test)]
