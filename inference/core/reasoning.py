"""Reason: let the model write a chain of thought, and read the answer that the chain states."""

from __future__ import annotations

import re
from collections import Counter

from inference.core.answer import find_stated, read_answer
from inference.core.cache import PrefixCache
from inference.core.decode import Sampling
from inference.core.examples import EXAMPLES
from inference.core.language_model import LanguageModel, Message
from inference.core.limits import check_context, device_memory
from inference.core.records import Problem, Progress, ReasoningError, ReasonSettings, Trace
from inference.core.steps import content, split_steps

STATED = re.compile(r"^[^\n]*\banswer\s*(?:is\s*)?:[^\n]*\S[^\n]*\n", re.IGNORECASE | re.MULTILINE)


def silent(stage: str, share: float) -> None:
    """Progress that nobody watches."""


@device_memory("writing the chain")
def reason(model: LanguageModel, problem: Problem, settings: ReasonSettings, progress: Progress = silent) -> Trace:
    """Answer `problem` with a chain of thought.

    Raises ReasoningError, quoting what the model wrote, when that is nothing or no option can be read from it;
    LimitError where prompt and chain may outgrow the model's context, do not fit into the device's memory, or what
    the model computes is not finite.
    """
    prompt, prompt_ids = model.encode_chat(messages(problem))
    check_context(model.module, len(prompt_ids), settings.max_new_tokens)
    progress("The model is thinking", 0.0)
    (tokens,) = model.generate(
        prompt_ids,
        sampling(settings),
        stop=ends,
        options=problem.options,
        prefix=worked_examples(model),
        tick=lambda share: progress("The model is thinking", share),
    )
    chain = "".join(token.text for token in tokens)
    if not chain.strip():
        raise ReasoningError("The model wrote nothing. Try another seed.")
    answer = read_answer(chain, problem.options)
    if answer is None:
        raise ReasoningError(unreadable(chain, problem, settings))
    steps = split_steps(chain, [token.text for token in tokens])
    progress("The model is thinking", 1.0)
    return Trace(problem, prompt, prompt_ids, chain, tokens, steps, answer, settings)


def unreadable(chain: str, problem: Problem, settings: ReasonSettings) -> str:
    """Why no answer was read: the chain states none, or none of the options."""
    stated, allowed = find_stated(chain), ", ".join(map(repr, problem.options))
    if stated is None:
        what = f"it states none, in at most {settings.max_new_tokens} tokens. Try another seed, or more tokens."
    else:
        what = f"it states {stated.text!r}, which names none of them alone. Try another seed."
    return f"No option can be read from what the model wrote: {chain.strip()!r}. The options are {allowed}; {what}"


def worked_examples(model: LanguageModel) -> PrefixCache:
    """The beginning that all prompts share, read once: it is most of a prompt."""
    return model.prefix(model.encode_chat(messages(Problem("?", ("Yes", "No"))))[1])


def sampling(settings: ReasonSettings) -> Sampling:
    temperature = settings.temperature if settings.seed else 0.0
    return Sampling(settings.max_new_tokens, temperature, settings.top_p, settings.seed)


def answer_is_stated(text: str) -> bool:
    """Whether the line with the answer is complete."""
    return STATED.search(text) is not None


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
    for example, chain in EXAMPLES:
        turns += [user(posed(example)), {"role": "assistant", "content": chain}]
    return [*turns, user(posed(problem))]


def posed(problem: Problem) -> str:
    """The question as the model reads it. Options stand without letters: it names the right value more often."""
    return f"{problem.question}\nOptions: {', '.join(problem.options)}"


def user(content: str) -> Message:
    return {"role": "user", "content": content}
