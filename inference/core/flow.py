"""Inverse flow: follow the answer's attention back over the segments of a trace.

Each layer's attention is computed a few rows at a time; the rows give the layer its output and are reduced at once to
segment × segment. So what is recorded is what the model used, its scores are computed once for both, and no [T, T]
map is ever kept. Transposed rollout after Abnar & Zuidema 2020.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from inference.core.attention import Attended

BLOCK = 48  # query rows handled at a time (they fit a core's cache), fewer where they would have more numbers than
CELLS = 2**20  # heads × rows × T: the working memory, whatever T is


@dataclass
class Limits:
    """What the rows of a block may not see, worked out once for all layers that share a mask."""

    mask: Tensor | None = None
    known: dict[tuple[int, int], Tensor] = field(default_factory=dict)

    def closed(self, given: Attended, at: int, end: int) -> Tensor:
        """bool [end - at, W]: which of the last W keys before `end` a row may not see. All rows see those before.

        Only narrow ones are kept, so that a window's do not add up to a map of all tokens.
        """
        if given.mask is not self.mask:
            self.mask, self.known = given.mask, {}
        if (at, end) in self.known:
            return self.known[at, end]
        found = later(end - at, given) if given.mask is None else limited(given.mask[0, 0], given, at, end)
        if found.shape[1] <= 2 * BLOCK:
            self.known[at, end] = found
        return found


def later(rows: int, given: Attended) -> Tensor:
    """Without a mask, rows do not see the keys behind their own."""
    return torch.ones(rows, rows, dtype=torch.bool, device=given.query.device).triu(1)


def limited(mask: Tensor, given: Attended, at: int, end: int) -> Tensor:
    """The columns [end - at, W] of the rows of a mask [R, T], from the first on that one of them may not see."""
    before = given.key.shape[2] - given.query.shape[2]
    allowed = mask[at - before : end - before, :end]
    return ~allowed[:, int(allowed.all(0).long().cumprod(0).sum()) :]


@dataclass
class Tape:
    """What one forward pass leaves behind. Segment s covers tokens [bounds[s], bounds[s + 1]).

    Rows are measured from segment `first` on, and those tokens have to be in the pass; earlier ones may come from a
    cache. Mass that has reached an earlier segment can never come back to a later one, so that earlier segments are
    made absorbing: their rows are those of the identity. With `each_head` the heads are kept apart.
    """

    bounds: tuple[int, ...]
    first: int
    each_head: bool = False
    layers: list[Tensor] = field(default_factory=list)
    limits: Limits = field(default_factory=Limits)

    def listen(self, given: Attended, usual: Callable[[], Tensor]) -> Tensor:
        """Attend and reduce one layer. The output is that of `usual` up to rounding, which does not run."""
        member, start = membership(self.bounds, given.key), self.bounds[self.first]
        rows: list[Tensor] = []

        def reduce(at: int, attention: Tensor) -> None:
            if at + attention.shape[1] > start:
                rows.append(seen(attention[:, max(0, start - at) :], member, self.each_head))

        output = attended(given, self.limits, reduce)
        means = by_segment(rows, member, start)
        means[..., : self.first, :] = torch.eye(member.shape[1], device=means.device)[: self.first]
        self.layers.append(means.cpu())
        return output

    def flow(self) -> Tensor:
        """Attention [L, S', S'] float32: row s is where segment s looks, over all heads; rows sum to 1."""
        layers = torch.stack(self.layers)
        return layers.mean(1) if self.each_head else layers

    def heads(self) -> Tensor:
        """The same for each head: [L, H, S', S'] float32. Raises ValueError unless the heads were kept apart."""
        if not self.each_head:
            raise ValueError("the heads were averaged while the model ran; record with each_head=True")
        return torch.stack(self.layers)


class InBlocks:
    """Attends in blocks and records nothing: on a CPU that takes half the time of `sdpa` with a mask.

    `then` is a layer, and what is called once its attention is done.
    """

    def __init__(self, then: tuple[int, Callable[[], None]] = (-1, lambda: None)) -> None:
        self.limits, self.then = Limits(), then

    def listen(self, given: Attended, usual: Callable[[], Tensor]) -> Tensor:
        ours = given.plain and given.query.device.type == "cpu"
        output = attended(given, self.limits) if ours else usual()
        layer, call = self.then
        if given.layer == layer:
            call()
        return output


def attended(
    given: Attended, limits: Limits, look: Callable[[int, Tensor], None] = lambda at, attention: None
) -> Tensor:
    """One layer's output [1, R, H, D]; `look` gets its attention block by block, with the first row of each."""
    _, heads, count, _ = given.query.shape
    known = given.key.shape[2] - count
    output = given.value.new_empty(count, heads, given.value.shape[-1])
    for at, attention in blocks(given, known, limits):
        output[at - known : at - known + attention.shape[1]] = weighed(attention, given.value[0]).transpose(0, 1)
        look(at, attention)
    return output[None]


def weighed(attention: Tensor, value: Tensor) -> Tensor:
    """What the rows of attention [H, R, E] take from value [H_kv, T, D]: [H, R, D]."""
    heads, rows, end = attention.shape
    grouped = attention.to(value.dtype).view(value.shape[0], -1, end)
    return (grouped @ value[:, :end]).view(heads, rows, -1)


def seen(attention: Tensor, member: Tensor, each_head: bool) -> Tensor:
    """Attention [H, R, E] to segments [R, S'], mean over heads, or [H, R, S'] of each.

    The mean comes before the product with the segments, which costs more.
    """
    heads, rows, end = attention.shape
    if each_head:
        return attention @ member[:end]
    shares = attention.new_full((1, heads), 1 / heads)
    return (shares @ attention.reshape(heads, -1)).view(rows, end) @ member[:end]


def by_segment(rows: list[Tensor], member: Tensor, start: int) -> Tensor:
    """Rows [..., R, S'] of the tokens from `start` on, in blocks -> their means by segment, [..., S', S']."""
    own = member[start:]
    return own.T @ torch.cat(rows, dim=-2) / own.sum(0).clamp(min=1)[:, None]


def blocks(given: Attended, start: int, limits: Limits) -> Iterator[tuple[int, Tensor]]:
    """The attention of tokens from `start` on, a few rows at a time: (first row, [H, rows, E] float32).

    Keys from E on are out of sight of all rows of a block. A block has at most CELLS numbers, or is one row.
    """
    query, key = given.query[0], given.key[0].transpose(1, 2).contiguous()  # as the product wants it
    heads, rows, size = query.shape
    length = key.shape[-1]
    known = length - rows  # tokens whose keys came from a cache
    scaled = query * (size**-0.5 if given.scaling is None else given.scaling)
    step = max(1, min(BLOCK, CELLS // (heads * length)))
    for at in range(start, length, step):
        end = min(at + step, length)
        own = scaled[:, at - known : end - known]
        yield at, block_attention(own, key[..., :end], limits.closed(given, at, end))


def membership(bounds: tuple[int, ...], like: Tensor) -> Tensor:
    """[T, S'] float32: 1 where the token lies in the segment."""
    sizes = torch.tensor(bounds, device=like.device).diff()
    own = torch.repeat_interleave(torch.arange(len(sizes), device=like.device), sizes)
    return torch.nn.functional.one_hot(own, len(sizes)).float()


def block_attention(query: Tensor, key: Tensor, closed: Tensor) -> Tensor:
    """Attention [H, R, E] float32 of R query rows; every row may look somewhere.

    query [H, R, D] scaled; key [H_kv, D, E]; closed [R, W] bool: which of the last W keys a row may not see.
    """
    heads, rows, size = query.shape
    # Queries are grouped by the key head that they share, rather than keys repeated for each query head.
    grouped = query.reshape(key.shape[0], -1, size)
    scores = (grouped @ key).float().view(heads, rows, -1)
    scores[..., scores.shape[-1] - closed.shape[1] :].masked_fill_(closed, float("-inf"))
    return scores.softmax(-1)


def rollout(attention: Tensor, start: int) -> Tensor:
    """Mass [S'] on each segment after following `start` back through all layers; sums to 1.

    attention [L, S', S'], first layer first. Ā_l = ½·A_l + ½·I, f_L = one at `start`, f_{l-1} = Ā_lᵀ·f_l.
    """
    mixed = 0.5 * attention + 0.5 * torch.eye(attention.shape[-1])
    return followed(mixed / mixed.sum(-1, keepdim=True), start)


def followed(mixed: Tensor, start: int) -> Tensor:
    """Mass [S'] at the bottom of layers mixed [L, S', S'], each row of which says where its mass goes."""
    mass = torch.nn.functional.one_hot(torch.tensor(start), mixed.shape[-1]).to(mixed.dtype)
    for layer in mixed.flip(0):
        mass = layer.T @ mass
    return mass


def mixed_flow(heads: Tensor, weights: Tensor, residual: Tensor, start: int) -> Tensor:
    """The rollout with heads and layers weighed: mass [S'], sums to 1, differentiable in both kinds of weight.

    heads [L, H, S', S']; weights [L, H] become shares of each layer's heads by softmax; residual [L] becomes by the
    logistic function the share of a layer's mass that moves by attention. All zeros give the plain rollout.
    """
    attention = (weights.softmax(-1)[..., None, None] * heads).sum(1)
    moved = residual.sigmoid()[:, None, None]
    return followed(moved * attention + (1 - moved) * torch.eye(heads.shape[-1]), start)


def uniform_attention(bounds: Sequence[int], first: int) -> Tensor:
    """Attention [S', S'] of a model that looks at all it can see alike: what position alone predicts.

    Rows of segments before `first` are those of the identity, as on a `Tape`.
    """
    sizes = torch.tensor(bounds).diff()
    member = membership(tuple(bounds), sizes)
    seen = member.cumsum(0) / torch.arange(1, len(member) + 1)[:, None]
    means = member.T @ seen / sizes[:, None]
    means[:first] = torch.eye(len(sizes))[:first]
    return means
