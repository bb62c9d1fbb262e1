"""Ask a model at many places of one sequence in one pass.

Probes are laid behind the sequence as a tree: tokens that several begin with are read once, each token sees its
sequence up to the probe's cut and its own ancestors, and has the position that it would have right after the cut. The
keys of the sequence are shared by all and copied for none. Tree attention as in SpecInfer (Miao et al. 2023).
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

from inference.core.attention import recording
from inference.core.cache import PrefixCache
from inference.core.flow import InBlocks
from inference.core.language_model import LanguageModel
from inference.core.limits import check_context, check_numbers
from inference.core.prepacked import trim, trimmable

Ids = tuple[int, ...]

CELLS = 2**21  # of one pass's mask, rows × columns; what would need more is split into several passes


@dataclass(frozen=True)
class Probe:
    """Tokens as if they stood right behind the first `cut` tokens of a sequence, blind to [blind[0], blind[1]) of it.

    `given` are only read, `scored` are those whose log-probabilities are wanted; neither is empty.
    """

    cut: int
    given: Ids
    scored: Ids
    blind: tuple[int, int] = (0, 0)

    @property
    def read(self) -> Ids:
        """What has to go through the model: the last token predicts nothing that is asked for."""
        return (*self.given, *self.scored[:-1])


@dataclass
class Tree:
    """Nodes are tokens, parents (-1 for none) before children. `paths` holds the nodes of each probe."""

    ids: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    probes: list[Probe] = field(default_factory=list)
    owners: list[Probe] = field(default_factory=list)  # of each node: the first probe that came by
    paths: list[list[int]] = field(default_factory=list)
    known: dict[tuple[object, int], int] = field(default_factory=dict)

    def add(self, probe: Probe) -> None:
        path: list[int] = []
        for depth, token in enumerate(probe.read):
            place = (path[-1] if path else (probe.cut, probe.blind), token)
            node = self.known.setdefault(place, len(self.ids))
            if node == len(self.ids):
                self.ids.append(token)
                self.parents.append(path[-1] if path else -1)
                self.depths.append(depth)
                self.owners.append(probe)
            path.append(node)
        self.probes.append(probe)
        self.paths.append(path)


def logprobs(
    model: LanguageModel,
    ids: Ids,
    probes: Sequence[Probe],
    prefix: PrefixCache | None = None,
    cells: int = CELLS,
) -> list[Tensor]:
    """Log-probabilities (nats) of the `scored` tokens of each probe of `ids`: float32 [tokens], on the CPU.

    What `prefix` shares with `ids` is not computed again. One pass where its mask has at most `cells` cells, else as
    many as it takes, a probe being in one of them whole. Raises ValueError for a cut outside 0..len(ids), and for a
    model that such a mask does not suit; ContextError where a probe would reach beyond the model's context,
    NumbersError where its scores are not numbers.
    """
    check(model, ids, probes)
    if not probes:
        return []
    ids = ids[: max(probe.cut for probe in probes)]
    shared = prefix.branch((*ids, probes[0].given[0])) if prefix else None
    cache = DynamicCache(config=model.module.config) if shared is None else shared
    trees = grown(probes, len(ids), cells)
    rest, nodes = len(ids) - cache.get_seq_length(), len(trees[0].ids)
    if rest and (rest + nodes) * (len(ids) + nodes) > cells:
        model.forward(ids[-rest:], past_key_values=cache, use_cache=True)
    found: list[Tensor] = []
    for tree in trees:
        found += read(model, ids, tree, cache)
        cache.crop(-len(tree.ids))
    return found


def check(model: LanguageModel, ids: Ids, probes: Sequence[Probe]) -> None:
    outside = [probe.cut for probe in probes if not 0 <= probe.cut <= len(ids)]
    if outside:
        raise ValueError(f"a probe cuts after {outside[0]} tokens; the sequence has {len(ids)}")
    if not all(probe.given and probe.scored for probe in probes):
        raise ValueError("a probe reads or scores no token; give at least one of each")
    if not full_attention(model):
        raise ValueError(
            f"{model.name} cannot be probed at many places in one pass: some of its layers look back through a "
            "window, are recurrent or take no positions. Use a model all of whose layers have full attention."
        )
    check_context(model.module, max((probe.cut + len(probe.read) for probe in probes), default=0))


def full_attention(model: LanguageModel) -> bool:
    """Whether a mask and positions of our own suit the model.

    Windowed and recurrent layers keep to the order in which tokens come, and so does attention by distance alone.
    """
    layers = DynamicCache(config=model.module.config).layers
    told = "position_ids" in inspect.signature(type(model.module.get_decoder()).forward).parameters
    return told and all(type(layer) is DynamicLayer for layer in layers)


def grown(probes: Sequence[Probe], length: int, cells: int) -> list[Tree]:
    """Trees over the probes in their order, as few as masks of at most `cells` cells over `length` tokens allow."""
    trees = [Tree()]
    for probe in probes:
        nodes = len(trees[-1].ids) + len(probe.read)
        if trees[-1].ids and nodes * (length + nodes) > cells:
            trees.append(Tree())
        trees[-1].add(probe)
    return trees


@torch.no_grad()
def read(model: LanguageModel, ids: Ids, tree: Tree, cache: DynamicCache) -> list[Tensor]:
    """One pass over what the cache lacks of `ids`, and over the tree; both are in the cache afterwards."""
    known = cache.get_seq_length()
    rest = len(ids) - known
    positions = [*range(known, len(ids)), *(o.cut + d for o, d in zip(tree.owners, tree.depths, strict=True))]
    wanted = [path[len(probe.given) - 1 :] for probe, path in zip(tree.probes, tree.paths, strict=True)]
    kept = sorted({node for nodes in wanted for node in nodes})
    rows = torch.tensor(kept, device=model.device) + rest
    with trimmable(), recording(InBlocks(then=(model.layers - 1, lambda: trim(len(positions), rows)))):
        logits = model.module(
            input_ids=torch.tensor([[*ids[known:], *tree.ids]], device=model.device),
            attention_mask=seen(tree, known, len(ids)).to(model.device)[None, None],
            position_ids=torch.tensor([positions], device=model.device),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=rows,
        ).logits[0]
    scores, row = logits.float().log_softmax(-1), {node: at for at, node in enumerate(kept)}
    found = []
    for probe, nodes in zip(tree.probes, wanted, strict=True):
        found.append(scores[[row[node] for node in nodes], list(probe.scored)].cpu())
    check_numbers(torch.cat(found))
    return found


def seen(tree: Tree, known: int, length: int) -> Tensor:
    """Where each token of a pass may look: bool [length - known + N, length + N] for a tree of N nodes."""
    nodes, place = len(tree.ids), torch.arange(length)
    ancestors = torch.eye(nodes, dtype=torch.bool)
    for node, parent in enumerate(tree.parents):
        if parent >= 0:
            ancestors[node] |= ancestors[parent]
    cut = torch.tensor([owner.cut for owner in tree.owners])[:, None]
    blind = torch.tensor([owner.blind for owner in tree.owners])
    sequence = (place < cut) & ~((place >= blind[:, :1]) & (place < blind[:, 1:]))
    before = place[None] <= place[known:, None]
    top = torch.cat([before, torch.zeros(length - known, nodes, dtype=torch.bool)], dim=1)
    return torch.cat([top, torch.cat([sequence, ancestors], dim=1)])
