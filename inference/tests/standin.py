"""A stand-in for the real model: a tiny random Llama whose writing is scripted by prompt and seed.

Everything but the choice of words is real: tokens, attention, hidden states, caches. The script plants one fact for
the causal test to find: step 2 picks the option that the answer states, and nothing else does.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch

from inference.core.cache import PrefixCache
from inference.core.decode import Sampling
from inference.core.examples import EXAMPLES
from inference.core.language_model import LanguageModel
from inference.core.records import Token
from inference.core.rollouts import MAX_ROWS, Start, Wanted, row_numbers

END = "<|im_end|>"
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
OPENINGS = ("The question is about {topic}.", "First look at {topic}.", "We have to think about {topic}.")
CHOICES = ("This points to {option}.", "So it should be {option}.")
GUESSES = {"How many": ["7", "1000", "12.5"], "Which city": ["Paris", "Rome", "New York"]}  # without options
CLOSINGS = ("Nothing speaks against it.", "The other answers fit less well.")


def stand_in_model(name: str = "stand-in") -> StandIn:
    """A fresh object each time over one module and tokenizer, so that a test may replace a method."""
    return StandIn(*parts(), name)


@cache
def parts() -> tuple[Any, Any]:
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = in_memory_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        pad_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):  # leaves the test's own random state alone
        torch.manual_seed(7)
        return LlamaForCausalLM(config), tokenizer


def in_memory_tokenizer() -> Any:
    """Byte-level BPE learned from the worked examples and the script: knows every text, needs no file."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=["<|im_start|>", END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = [f"{problem.question} {' '.join(problem.options)} {chain}" for problem, chain in EXAMPLES]
    tokenizer.train_from_iterator([*texts, *OPENINGS, *CHOICES, *CLOSINGS], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, chat_template=CHAT)


class StandIn(LanguageModel):
    """`LanguageModel` with its own `generate` and `generate_many`; the same prompt and seed give the same text."""

    def __init__(self, module: Any, tokenizer: Any, name: str) -> None:
        super().__init__(module, tokenizer, name)

    def generate(
        self,
        ids: Sequence[int],
        sampling: Sampling,
        *,
        rows: int = 1,
        stop: Callable[[str], bool] = lambda text: False,
        options: Sequence[str] = (),
        prefix: PrefixCache | None = None,
        tick: Callable[[float], None] = lambda share: None,
    ) -> list[tuple[Token, ...]]:
        tick(0.5)
        question, written = asked(self.decode(ids))
        seed = sampling.seed if sampling.temperature else 0
        texts = [scripted(question, written, random.Random(f"{question} {seed} {row}")) for row in range(rows)]
        return [self.spelled(text, sampling) for text in texts]

    def generate_many(
        self,
        starts: Sequence[Start],
        *,
        rows: Wanted = 1,
        stop: Callable[[str], bool] = lambda text: False,
        options: Sequence[str] = (),
        prefix: PrefixCache | None = None,
        max_rows: int = MAX_ROWS,
        tick: Callable[[float], None] = lambda share: None,
        done: Callable[[int, int, tuple[Token, ...]], None] = lambda start, row, tokens: None,
        whole: bool = False,
    ) -> list[list[tuple[Token, ...]]]:
        tick(0.5)
        made = []
        for at, (start, wanted) in enumerate(zip(starts, row_numbers(starts, rows), strict=True)):
            texts = self.generate(start.ids, start.sampling, rows=max(wanted) + 1)
            made.append([texts[row] for row in wanted])
            for row in wanted:
                done(at, row, texts[row])
        return made

    def spelled(self, text: str, sampling: Sampling) -> tuple[Token, ...]:
        """Tokens of a scripted text, with the uncertainty that the script has: high where step 2 chooses."""
        ids = self.encode(text)[: sampling.max_new_tokens]
        choosing = text.find("Step 2:")
        tokens, at = [], 0
        for token, piece in zip(ids, self.pieces(ids), strict=True):
            open_choice = 0 <= choosing <= at < choosing + 20
            tokens.append(Token(token, piece, -1.1 if open_choice else -0.05, 1.3 if open_choice else 0.2))
            at += len(piece)
        return tuple(tokens)


def asked(prompt: str) -> tuple[str, str]:
    """The last user turn, and what the assistant has written since."""
    turns = re.findall(r"<\|im_start\|>(user|assistant)\n(.*?)(?:<\|im_end\|>\n|\Z)", prompt, re.DOTALL)
    question = next(content for role, content in reversed(turns) if role == "user")
    return question, turns[-1][1] if turns[-1][0] == "assistant" else ""


def scripted(question: str, written: str, choose: random.Random) -> str:
    """The rest of the chain after `written`. A question without options or guesses is answered in one sentence."""
    stem, _, listed = question.partition("\nOptions: ")
    options = listed.split(", ") if listed else next((GUESSES[key] for key in GUESSES if stem.startswith(key)), [])
    if not options:
        return "I gave this answer because it seemed to fit the question best."
    chosen = next((option for option in options if any(c.format(option=option) in written for c in CHOICES)), None)
    option = chosen or choose.choice(options)
    topic = " ".join(stem.split()[:3]).lower().rstrip(".,?")
    lines = [
        "Step 1: " + choose.choice(OPENINGS).format(topic=topic),
        "Step 2: " + choose.choice(CHOICES).format(option=option),
        "Step 3: " + choose.choice(CLOSINGS),
        f"Answer: {option}",
    ]
    done = written.count("\n")
    rest = "\n".join(lines[done:])
    return rest if written.endswith("\n") or not written else "\n" + rest
