"""Write continuations token by token: several rows from one prefix, each with its own random numbers.

Own loop rather than Transformers' `generate`, because here a row's text depends only on the prefix, its seed and its
number (the global random state is neither read nor changed), each token keeps its log-probability and entropy without
keeping [T, V] scores, and finished rows leave the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from inference.core.cache import PrefixCache
from inference.core.limits import check_entropies
from inference.core.records import check_sampling

NUCLEUS = 64  # tokens looked at first; eight times as many for the rows where they hold less than top_p, and so on
TICK = 4  # tokens between two calls of `tick`


Guide = Callable[[Sequence[int]], Collection[int] | None]


@dataclass(frozen=True)
class Sampling:
    """`temperature` 0 is greedy. `seed` matters only above 0. Raises ValueError for what `check_sampling` refuses."""

    max_new_tokens: int = 160
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_sampling(self.max_new_tokens, self.temperature, self.top_p, self.seed)


@dataclass
class Row:
    """One continuation being written. Logprobs and entropies in nats, at temperature 1.

    `before` are tokens that stand somewhere before it and that `finished` and `guide` read, too.
    """

    random: np.random.Generator
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    entropies: list[float] = field(default_factory=list)
    before: tuple[int, ...] = ()

    @property
    def seen(self) -> list[int]:
        return [*self.before, *self.ids]


@torch.no_grad()
def decode(
    module: Any,
    ids: Sequence[int],
    *,
    rows: int,
    sampling: Sampling,
    finished: Callable[[Sequence[int]], bool],
    guide: Guide = lambda ids: None,
    prefix: PrefixCache | None = None,
    tick: Callable[[float], None] = lambda share: None,
) -> list[Row]:
    """Continue `ids` in `rows` rows until `finished(new ids)` or `max_new_tokens`.

    The token that finishes a row is kept. `guide` says which tokens may come next, None for any.
    `tick` gets the share of the longest possible row that is written.
    """
    made = [Row(np.random.default_rng([sampling.seed, row])) for row in range(rows)]
    logits, cache = first_logits(module, ids, prefix)
    if rows > 1:
        cache.batch_repeat_interleave(rows)
        logits = logits.expand(rows, -1)
    writing = list(made)
    for length in range(1, sampling.max_new_tokens + 1):
        choose(logits, writing, sampling, guide)
        going = [index for index, row in enumerate(writing) if not finished(row.ids)]
        if not going or length == sampling.max_new_tokens:
            break
        if length % TICK == 0:
            tick(length / sampling.max_new_tokens)
        if len(going) < len(writing):
            cache.batch_select_indices(torch.tensor(going, device=module.device))
            writing = [writing[index] for index in going]
        last = torch.tensor([[row.ids[-1]] for row in writing], device=module.device)
        logits = module(input_ids=last, past_key_values=cache, use_cache=True).logits[:, -1]
    return made


def first_logits(module: Any, ids: Sequence[int], prefix: PrefixCache | None) -> tuple[Tensor, DynamicCache]:
    """Next-token logits [1, V] after `ids`, and the cache that holds all of `ids`."""
    cache = prefix.branch(ids) if prefix else None
    known = cache.get_seq_length() if cache is not None else 0
    rest = torch.tensor([list(ids[known:])], device=module.device)
    cache = DynamicCache(config=module.config) if cache is None else cache
    output = module(input_ids=rest, past_key_values=cache, use_cache=True, logits_to_keep=1)
    return output.logits[:, -1], cache


def choose(logits: Tensor, writing: list[Row], sampling: Sampling, guide: Guide) -> None:
    """Append one token to each row. logits [R, V]. What is kept of the distribution is kept of the unguided one."""
    logprobs = logits.float().log_softmax(-1)
    entropies = entropies_of(logprobs).tolist()
    check_entropies(entropies)
    allowed = guided(logprobs, [guide(row.seen) for row in writing])
    if sampling.temperature == 0:
        chosen = allowed.argmax(-1)
    else:
        draws = torch.tensor([row.random.random() for row in writing], device=logits.device)
        chosen = nucleus_choice(allowed / sampling.temperature, sampling.top_p, draws)
    picked = logprobs.gather(1, chosen[:, None])[:, 0].tolist()
    for row, token, logprob, entropy in zip(writing, chosen.tolist(), picked, entropies, strict=True):
        row.ids.append(token)
        row.logprobs.append(logprob)
        row.entropies.append(entropy)


def entropies_of(logprobs: Tensor) -> Tensor:
    """[R] nats, of log-probabilities [R, V], which may be minus infinity."""
    finite = logprobs.clamp(min=torch.finfo(logprobs.dtype).min)  # 0 times minus infinity is not a number
    expected: Tensor = torch.linalg.vecdot(logprobs.exp(), finite)
    return -expected


def guided(logprobs: Tensor, allowed: Sequence[Collection[int] | None]) -> Tensor:
    """The same [R, V], with minus infinity for what a row may not write."""
    if all(tokens is None for tokens in allowed):
        return logprobs
    closed = torch.zeros_like(logprobs, dtype=torch.bool)
    for row, tokens in enumerate(allowed):
        if tokens is not None:
            closed[row] = True
            closed[row, list(tokens)] = False
    return logprobs.masked_fill(closed, float("-inf"))


def nucleus_choice(scores: Tensor, top_p: float, draws: Tensor) -> Tensor:
    """Token ids [R] drawn from softmax(scores [R, V]) cut to its nucleus (Holtzman et al. 2020).

    `draws` [R] are uniform in [0, 1). The nucleus is the smallest set of most likely tokens that holds `top_p`.
    """
    return drawn(scores.softmax(-1), top_p, draws, NUCLEUS)


def drawn(probabilities: Tensor, top_p: float, draws: Tensor, size: int) -> Tensor:
    """The same of probabilities [R, V], from the `size` most likely tokens first."""
    top, order = probabilities.topk(min(size, probabilities.shape[-1]))
    before = top.cumsum(-1) - top
    kept = top.where(before < top_p, torch.zeros_like(top))
    total = kept.cumsum(-1)
    place = torch.searchsorted(total, (draws * total[:, -1])[:, None], right=True)
    last = (kept > 0).sum(-1, keepdim=True) - 1  # a draw may be rounded to 1, which is behind all that is kept
    chosen = order.gather(1, place.minimum(last))[:, 0]
    short = top.sum(-1) < top_p
    if size < probabilities.shape[-1] and bool(short.any()):
        chosen[short] = drawn(probabilities[short], top_p, draws[short], 8 * size)
    return chosen
