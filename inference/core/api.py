"""Chain and self-explanation by a model behind an OpenAI-compatible server. Nothing inside that model is seen.

endpoint = Endpoint("http://127.0.0.1:8000/v1", key=os.environ["SAGE_API_KEY"])
conversation = Conversation(endpoint, "some-model")
run = explain_api(conversation, Problem("What is 3 + 4?", ("6", "7", "8")), ReasonSettings())
print(run.trace.chain, run.explanation, conversation.exchanges)
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

from inference.core.answer import read_answer
from inference.core.conversation import Conversation
from inference.core.exchange import Exchange
from inference.core.provenance import code_version
from inference.core.reasoning import messages, silent, unreadable, user
from inference.core.records import Problem, Progress, ReasoningError, ReasonSettings, Step, Trace
from inference.core.self_explanation import REQUEST
from inference.core.steps import split_spans


@dataclass(frozen=True)
class ApiRun:
    """One run. `trace` has chain, steps and answer; no prompt and no tokens are known, so each step has [0, 0)."""

    trace: Trace
    explanation: str

    def text(self, says: str) -> str:
        """The one of the two that is shown: `says` is "explanation" or "chain"."""
        return {"explanation": self.explanation, "chain": self.trace.chain}[says]


def explain_api(
    conversation: Conversation, problem: Problem, settings: ReasonSettings, progress: Progress = silent
) -> ApiRun:
    """Pose `problem` as a local model gets it, then ask in the same conversation why that answer was chosen.

    As with a local model the chain is greedy for seed 0 and sampled for others, and the explanation is greedy; each
    has at most `settings.max_new_tokens`. What was asked and came is in `conversation.exchanges`. Raises
    what `Conversation.ask` does, and ReasoningError when the chain states no answer of the kind that was asked for.
    """
    turns = messages(problem)
    reply = conversation.ask("The chain", turns, settings, lambda: progress("The server is thinking", 0.0))
    chain = reply.text
    answer = read_answer(chain, problem)
    if answer is None:
        raise ReasoningError(unreadable(chain, problem, settings))
    trace = Trace(problem, "", (), chain, (), steps_of(chain), answer, settings)
    turns += [{"role": "assistant", "content": chain.strip()}, user(REQUEST.format(answer=answer.text))]
    why = conversation.ask(
        "The explanation", turns, replace(settings, seed=0), lambda: progress("The server explains itself", 0.5)
    )
    return ApiRun(trace, why.text.strip())


def steps_of(chain: str) -> tuple[Step, ...]:
    return tuple(Step(index, chain[a:b], a, b, 0, 0) for index, (a, b) in enumerate(split_spans(chain)))


def api_provenance(conversation: Conversation) -> dict[str, Any]:
    """Who made it and by what, with the transcript, its earlier part included. The key is not in it."""
    return {
        "model": conversation.model,
        "api_url": conversation.endpoint.url,
        "api_sends": list(conversation.endpoint.sends),
        "openai": version("openai"),
        "python": platform.python_version(),
        "code": code_version(),
        "transcript": [*conversation.earlier, *transcript(conversation.exchanges)],
    }


def transcript(exchanges: Sequence[Exchange]) -> list[dict[str, Any]]:
    return [exchange.to_json() for exchange in exchanges]
