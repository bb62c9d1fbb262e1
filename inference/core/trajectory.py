"""Trajectory: what the model would answer after each step, were it asked for the answer there.

Early answering of Lanham et al. 2023, the forced answers of Bogdan et al. 2025: a cue is put behind the first i
steps, and each option is scored as what follows. All cuts and options go through the model in one packed pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inference.core.cache import PrefixCache
from inference.core.language_model import LanguageModel
from inference.core.limits import device_memory
from inference.core.packed import CELLS, Ids, Probe, logprobs
from inference.core.records import Trace
from inference.core.spans import step_spans, token_ids

CUE = "Answer:"


@dataclass(frozen=True)
class Trajectory:
    """scores [S + 1, P] float32, nats: of each option after the first i steps and the cue, i = 0..S."""

    scores: Tensor

    @property
    def distributions(self) -> Tensor:
        """The scores as probabilities over the P options: [S + 1, P]; rows sum to 1."""
        return self.scores.softmax(-1)

    @property
    def shifts(self) -> Tensor:
        """How far each step moved the distribution: [S], Jensen-Shannon divergence in nats, 0 to ln 2."""
        rows = self.distributions
        return jensen_shannon(rows[:-1], rows[1:])


@device_memory("asking for the answer after each step")
def answer_trajectory(
    model: LanguageModel,
    trace: Trace,
    prefix: PrefixCache | None = None,
    *,
    mean: bool = False,
    cells: int = CELLS,
) -> Trajectory:
    """The distribution over the options after every step; that of an inversion lends its `prefix`.

    An option's score is the sum of its tokens' log-probabilities, so that the distribution is the model's own,
    restricted to the options; with `mean` it is their mean, which does not count against long options, and the
    distribution is no longer the model's. The step that states the answer gets a cut as well, where the options are
    asked for a second time. The pass is split where its mask would have more than `cells` cells (see packed.py, also
    for the errors). Raises ValueError for a problem without options.
    """
    if not trace.problem.options:
        raise ValueError(f"a problem that asks for {trace.problem.asks!r} has no options to score; give a choice")
    options = option_ids(model, trace.problem.options)
    probes = [Probe(cut, cue, option) for cut, cue in cuts(model, trace) for option in options]
    found = logprobs(model, token_ids(trace), probes, prefix, cells)
    scores = torch.stack([one.mean() if mean else one.sum() for one in found])
    return Trajectory(scores.view(-1, len(options)))


def cuts(model: LanguageModel, trace: Trace) -> list[tuple[int, Ids]]:
    """Each place where the answer is asked for, as tokens of prompt + chain before it, with the cue for that place.

    The cue stands on a line of its own.
    """
    prompt, spans = len(trace.prompt_ids), step_spans(trace)
    texts = [token.text for token in trace.tokens]
    made = []
    for cut in (spans[0][0], *(end for _, end in spans)):
        before = trace.prompt + "".join(texts[: cut - prompt])
        made.append((cut, model.encode(CUE if before.endswith("\n") else f"\n{CUE}")))
    return made


def option_ids(model: LanguageModel, options: Sequence[str]) -> list[Ids]:
    """The tokens of each option as it would follow the cue.

    Where one option begins another ("1" and "12"), the end of the turn counts as a token of each, else the shorter
    could never score below the longer.
    """
    made, end = [model.encode(f" {option}") for option in options], model.tokenizer.eos_token_id
    if end is not None and any(one is not other and other[: len(one)] == one for one in made for other in made):
        return [(*one, end) for one in made]
    return made


def jensen_shannon(one: Tensor, other: Tensor) -> Tensor:
    """Jensen-Shannon divergence (Lin 1991) of distributions [..., P]: [...] float32, nats, 0 to ln 2."""
    one, other = one.double(), other.double()
    halves = (torch.special.entr(one) + torch.special.entr(other)) / 2
    divergence: Tensor = torch.special.entr((one + other) / 2) - halves
    return divergence.sum(-1).clamp(min=0).float()
