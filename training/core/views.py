"""The texts as the solver needs them: standardised, and seen through one layer at a time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from inference.core.head import KINDS, SURFACE, HeadConfig, Preference
from training.core.data import Pairs
from training.core.solver import Basis, Contrasts, basis_of


@dataclass(frozen=True)
class View:
    """One layer's hidden states and all numbers with names: their columns among the standardised features."""

    layer: int
    columns: Tensor
    basis: Basis


@dataclass(frozen=True)
class Scene:
    """The judged texts. `used` [M'] are their rows among the features; contrasts and standardised texts count in
    M'."""

    used: Tensor
    texts: Tensor
    contrasts: Contrasts


def scene_of(preference: Preference, pairs: Pairs) -> Scene:
    used = judged_texts(pairs)
    contrasts = Contrasts(torch.searchsorted(used, pairs.first), torch.searchsorted(used, pairs.second), pairs.weight)
    return Scene(used, preference.standardised(pairs.features[used]), contrasts)


def judged_texts(pairs: Pairs) -> Tensor:
    """Rows of the features that some judgement names, each once, rising."""
    used: Tensor = torch.unique(torch.cat([pairs.first, pairs.second]))
    return used


def view_of(scene: Scene, config: HeadConfig, at: int) -> View:
    """The view through the layer at place `at` of the config's layers."""
    size = config.block_size
    named = torch.arange(len(config.layers) * size, scene.texts.shape[1])
    columns = torch.cat([torch.arange(at * size, (at + 1) * size), named])
    return View(config.layers[at], columns, basis_of(scene.texts[:, columns], scene.contrasts))


def standardising(config: HeadConfig, features: Tensor) -> Preference:
    """A preference scorer without weights, standardised on texts with `features` [M, F].

    A number with a name counts in full. The hidden state of a layer is scaled to count, as a whole, like one of them:
    otherwise a thousand of its dimensions drown the few numbers that are known to matter.
    """
    scorer, surface = Preference(config.explanation_size), len(SURFACE)
    size = scorer.size
    mean, scale = features.mean(0), spread(features)
    scale[: size - surface] *= config.block_size**0.5
    scorer.mean[:size], scorer.scale[:size] = mean, scale
    own = (features - mean) / scale
    middle = len(config.layers) // 2 * config.block_size
    block = own[:, middle : middle + config.block_size]
    scorer.kinds[middle : middle + config.block_size] = leading_directions(block)
    products = scorer.products(own)
    scorer.mean[size:], scorer.scale[size:] = products.mean(0), spread(products)
    return scorer


def spread(features: Tensor) -> Tensor:
    """Standard deviations of columns; a constant one keeps 1."""
    found = features.std(0, unbiased=False)
    return torch.where(found > 1e-6, found, torch.ones_like(found))


def leading_directions(block: Tensor) -> Tensor:
    """The KINDS directions [D, KINDS] in which rows of `block` [M, D] differ most, scaled so that the coordinates
    have a spread of 1. Subspace iteration (Halko et al. 2011) from a fixed start."""
    start = torch.randn(block.shape[1], KINDS + 5, generator=torch.Generator().manual_seed(0))
    found = torch.linalg.qr(start)[0]
    for _ in range(6):
        found = torch.linalg.qr(block.T @ (block @ found))[0]
    _, _, turned = torch.linalg.svd(block @ found, full_matrices=False)
    directions = (found @ turned.T)[:, :KINDS]
    directions = torch.nn.functional.pad(directions, (0, KINDS - directions.shape[1]))  # of very narrow blocks
    return directions / spread(block @ directions)
