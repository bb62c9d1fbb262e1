"""Reason: let the model write a chain of thought, and read the answer that the chain states."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from inference.core.answer import find_stated, read_answer
from inference.core.cache import PrefixCache
from inference.core.decode import Sampling
from inference.core.examples import examples
from inference.core.language_model import LanguageModel, Message
from inference.core.likelihood import LEAST, Asked, ask, forced
from inference.core.limits import check_context, device_memory
from inference.core.records import Answer, Problem, Progress, ReasoningError, ReasonSettings, Token, Trace
from inference.core.steps import content, split_steps, spoken

STATED = re.compile(r"^[^\n]*\banswer\s*(?:is\s*)?:[^\n]*\S[^\n]*\n", re.IGNORECASE | re.MULTILINE)


def silent(stage: str, share: float) -> None:
    """Progress that nobody watches."""


@device_memory("writing the chain")
def reason(
    model: LanguageModel, problem: Problem, settings: ReasonSettings | None = None, progress: Progress = silent
) -> Trace:
    """Answer `problem` with a chain of thought, greedily unless `settings` say otherwise.

    Raises ReasoningError, quoting what the model wrote, when that is nothing or no answer can be read from it;
    LimitError where prompt and chain may outgrow the model's context, do not fit into the device's memory, or what
    the model computes is not finite.
    """
    settings = settings or ReasonSettings()
    prompt, prompt_ids = model.encode_chat(messages(problem))
    check_context(model.module, len(prompt_ids), settings.max_new_tokens)
    progress("The model is thinking", 0.0)
    (tokens,) = model.generate(
        prompt_ids,
        sampling(settings),
        stop=ends,
        options=problem.options,
        prefix=worked_examples(model, problem.asks),
        tick=lambda share: progress("The model is thinking", share),
    )
    if not spelled(tokens).strip():
        raise ReasoningError("The model wrote nothing. Try another seed.")
    whole, answer = answered(model, problem, prompt_ids, tokens, settings)
    chain, own = spelled(whole), len(tokens) if len(whole) > len(tokens) else None
    steps = split_steps(chain, [token.text for token in whole])
    progress("The model is thinking", 1.0)
    return Trace(problem, prompt, prompt_ids, chain, whole, steps, answer, settings, own)


def spelled(tokens: Sequence[Token]) -> str:
    return "".join(token.text for token in tokens)


def answered(
    model: LanguageModel,
    problem: Problem,
    prompt_ids: tuple[int, ...],
    tokens: tuple[Token, ...],
    settings: ReasonSettings,
) -> tuple[tuple[Token, ...], Answer]:
    """The answer that the chain states; else, of a choice, the option likeliest to follow, put behind the chain.

    Raises ReasoningError where neither can be read.
    """
    chain = spelled(tokens)
    answer = read_answer(chain, problem)
    if answer:
        return tokens, answer
    asked = None
    if problem.options:
        ids = (*prompt_ids, *(token.id for token in tokens))
        asked = ask(model, ids, chain, problem.options, worked_examples(model, problem.asks))
    if asked is None or asked.read is None:
        raise ReasoningError(unreadable(chain, problem, settings, asked))
    return forced(model, tokens, asked, problem.options)


def unreadable(chain: str, problem: Problem, settings: ReasonSettings, asked: Asked | None = None) -> str:
    """Why no answer was read: what the chain states, if anything, and what is likely to follow where it is asked."""
    stated = find_stated(chain)
    wanted = {"choice": "option", "number": "number", "free": "answer"}[problem.asks]
    allowed = f" The options are {', '.join(map(repr, problem.options))};" if problem.options else ""
    if stated is None:
        what = f"it states none, in at most {settings.max_new_tokens} tokens. Try another seed, or more tokens."
    else:
        fault = "names none of them alone" if problem.options else f"is not one {wanted}"
        what = f"it states {stated.text!r}, which {fault}. Try another seed."
    written = f"No {wanted} can be read from what the model wrote: {chain.strip()!r}."
    return f"{written}{allowed} {what}{unsure(problem, asked)}"


def unsure(problem: Problem, asked: Asked | None) -> str:
    """What the options' likelihood says, where it was asked for."""
    if asked is None:
        return ""
    shares = ", ".join(f"{option!r} {share:.0%}" for option, share in zip(problem.options, asked.shares, strict=True))
    return f" Nor has one of them {LEAST:.0%} of the probability behind “Answer:”: {shares}."


def worked_examples(model: LanguageModel, asks: str = "choice") -> PrefixCache:
    """The beginning that all prompts of problems of this kind share, read once: it is most of a prompt."""
    options = ("Yes", "No") if asks == "choice" else ()
    return model.prefix(model.encode_chat(messages(Problem("?", options, asks)))[1])


def sampling(settings: ReasonSettings) -> Sampling:
    temperature = 0.0 if settings.greedy else settings.temperature
    return Sampling(settings.max_new_tokens, temperature, settings.top_p, settings.seed)


def answer_is_stated(text: str) -> bool:
    """Whether the line with the answer is complete."""
    return STATED.search(spoken(text)) is not None


def ends(text: str) -> bool:
    """Whether there is nothing more to wait for: the answer is stated, or the model repeats itself."""
    return answer_is_stated(text) or loops(text)


def loops(text: str) -> bool:
    """Whether a line was written for the third time, its label aside: small models do not find out of that."""
    lines = Counter(content(line) for line in text.split("\n")[:-1])
    return any(count >= 3 for line, count in lines.items() if line)


def messages(problem: Problem) -> list[Message]:
    """The worked examples as earlier turns, then the problem."""
    turns: list[Message] = []
    for example, chain in examples(problem.asks):
        turns += [user(posed(example)), {"role": "assistant", "content": chain}]
    return [*turns, user(posed(problem))]


def posed(problem: Problem) -> str:
    """The question as the model reads it. Options stand without letters: it names the right value more often."""
    return f"{problem.question}\nOptions: {', '.join(problem.options)}" if problem.options else problem.question


def user(content: str) -> Message:
    return {"role": "user", "content": content}
