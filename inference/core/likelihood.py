"""The last way to read a choice: ask for the answer that the chain does not state, and see which option follows.

The cue and the likeliest option become part of the trace, marked as put there: the passes over a trace need an answer
to look back from, and nobody shall take it for the model's own writing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers.cache_utils import DynamicCache

from inference.core.cache import PrefixCache
from inference.core.guide import CUE_ENDS
from inference.core.language_model import LanguageModel
from inference.core.limits import check_entropies, context_of
from inference.core.packed import Ids, Probe, full_attention, logprobs
from inference.core.records import Answer, Token
from inference.core.steps import CLOSING, thinking
from inference.core.trajectory import CUE, option_ids

LEAST = 0.5
"""Of the options' probability, what one of them needs to be read. With less, the model finds it likelier that another
one follows, and to name it would be a guess."""


@dataclass(frozen=True)
class Asked:
    """What follows where the answer is asked for. `cue` is empty where the model has just written it itself.

    `shares` are the probabilities of the options among themselves, in their order; they sum to 1.
    """

    ids: Ids
    cue: Ids
    shares: tuple[float, ...]
    prefix: PrefixCache

    @property
    def read(self) -> int | None:
        """The option that has at least half of the probability, if one has."""
        found = [index for index, share in enumerate(self.shares) if share >= LEAST]
        return found[0] if len(found) == 1 else None


def ask(model: LanguageModel, ids: Ids, chain: str, options: Sequence[str], prefix: PrefixCache) -> Asked | None:
    """Put "Answer:" behind `ids`, prompt and chain, on a line of its own, and score each option as what follows.

    A think block that is still open is closed first. One pass over the chain, and a packed one over the options, or
    one for each where the model cannot be probed. `prefix` lends what it shares with `ids`. None where cue and
    options do not fit into the model's context.
    """
    cue = cue_behind(model, ids, chain)
    followers, most = option_ids(model, options), context_of(model.module)
    if most is not None and len(ids) + len(cue) + max(map(len, followers)) > most:
        return None
    whole = read_on(model, ids, prefix)
    scores = torch.tensor(scored(model, ids, cue, followers, whole))
    return Asked(ids, cue, tuple(scores.softmax(-1).tolist()), whole)


def cue_behind(model: LanguageModel, ids: Ids, chain: str) -> Ids:
    """What asks for the answer; nothing where the chain ends in it."""
    if CUE_ENDS.search(chain) and not thinking(chain):
        return ()
    line = "" if model.decode(ids).endswith("\n") else "\n"
    return model.encode(f"{line}{CLOSING}\n{CUE}" if thinking(chain) else f"{line}{CUE}")


def read_on(model: LanguageModel, ids: Ids, prefix: PrefixCache) -> PrefixCache:
    """Keys and values of all `ids`."""
    cache = prefix.branch(ids) or DynamicCache(config=model.module.config)
    model.forward(ids[cache.get_seq_length() :], past_key_values=cache, use_cache=True)
    return PrefixCache(ids, cache)


def scored(model: LanguageModel, ids: Ids, cue: Ids, followers: Sequence[Ids], prefix: PrefixCache) -> list[float]:
    """The log-probability of each option behind ids and cue, in nats."""
    if not full_attention(model):
        return [sum(logprob for logprob, _ in told(model, (*ids, *cue), one, prefix)) for one in followers]
    cut = len(ids) if cue else len(ids) - 1  # a probe has to read at least one token
    probes = [Probe(cut, cue or ids[-1:], one) for one in followers]
    return [float(one.sum()) for one in logprobs(model, ids, probes, prefix)]


@torch.no_grad()
def told(model: LanguageModel, ids: Ids, new: Ids, prefix: PrefixCache) -> list[tuple[float, float]]:
    """Log-probability of each of the tokens `new` behind `ids`, and the entropy where it stands, both in nats."""
    cache = prefix.branch(ids) or DynamicCache(config=model.module.config)
    rest = torch.tensor([[*ids[cache.get_seq_length() :], *new]], device=model.device)
    output = model.module(input_ids=rest, past_key_values=cache, use_cache=True, logits_to_keep=len(new) + 1)
    rows = output.logits[0, :-1].float().log_softmax(-1)
    entropies = torch.special.entr(rows.exp()).sum(-1).tolist()
    check_entropies(entropies)
    chosen = rows[torch.arange(len(new)), list(new)].tolist()
    return list(zip(chosen, entropies, strict=True))


def forced(
    model: LanguageModel, tokens: Sequence[Token], asked: Asked, options: Sequence[str]
) -> tuple[tuple[Token, ...], Answer]:
    """The chain's tokens with cue and option behind them, and the answer. Raises ValueError where none was read."""
    if asked.read is None:
        raise ValueError(f"no option has {LEAST:.0%} of the probability: {asked.shares}")
    option = options[asked.read]
    new = (*asked.cue, *model.encode(f" {option}"))
    numbers = [(token.logprob, token.entropy) for token in tokens] + told(model, asked.ids, new, asked.prefix)
    ids = [*(token.id for token in tokens), *new]
    made = tuple(Token(one, text, *two) for one, text, two in zip(ids, model.pieces(ids), numbers, strict=True))
    return made, Answer(asked.read, option, "likelihood")
