"""The answers after every step, packed, against one pass for each cut and option."""

import math
from dataclasses import replace

import pytest
import torch

from inference.core import Problem, Token, answer_trajectory, invert
from inference.core.steps import split_steps
from inference.core.trajectory import Trajectory, jensen_shannon
from inference.tests.core.conftest import PROBLEM


def naive(model, trace, options):
    """Text cut by hand, one forward pass for each cut and option; sums and means of log-probabilities."""
    starts = [trace.steps[0].token_start, *(step.token_start for step in trace.steps[1:]), len(trace.tokens)]
    sums, means = [], []
    for start in starts:
        tokens = trace.tokens[:start]
        text = trace.prompt + "".join(token.text for token in tokens)
        cue = model.encode("Answer:" if text.endswith("\n") else "\nAnswer:")
        before = [*trace.prompt_ids, *(token.id for token in tokens), *cue]
        for option in options:
            with torch.no_grad():
                logits = model.module(torch.tensor([[*before, *option]])).logits[0].log_softmax(-1)
            scores = logits[range(len(before) - 1, len(before) + len(option) - 1), list(option)]
            sums.append(scores.sum())
            means.append(scores.mean())
    shape = (len(starts), len(options))
    return torch.stack(sums).view(shape), torch.stack(means).view(shape)


def spaced(model, options):
    return [model.encode(f" {option}") for option in options]


@pytest.mark.parametrize("given", ["nothing", "examples", "everything"])
@pytest.mark.parametrize("cells", [2**21, 20_000, 0])
def test_equals_one_pass_for_each_cut_and_option(sharp, trace, given, cells):
    """The model has grouped heads. From nothing, from the prompt's beginning, and from the pass of an inversion."""
    lent = {
        "nothing": None,
        "examples": sharp.prefix(trace.prompt_ids[:50]),
        "everything": invert(sharp, trace).prefix,
    }
    sums, means = naive(sharp, trace, spaced(sharp, trace.problem.options))
    made = answer_trajectory(sharp, trace, lent[given], cells=cells)
    torch.testing.assert_close(made.scores, sums, atol=1e-4, rtol=0)
    by_mean = answer_trajectory(sharp, trace, lent[given], mean=True, cells=cells)
    torch.testing.assert_close(by_mean.scores, means, atol=1e-4, rtol=0)
    assert made.scores.shape == (5, 3)
    assert (sums - sums[:1]).abs()[1:].min(1).values.max() > 0.01  # steps make a difference that a mix-up would show


def test_steps_on_one_line_are_cut_as_well(sharp, trace):
    """Sentences of one line: the cue goes on a new line there, and nowhere else."""
    ids = sharp.encode("Cats are black. Milo is a cat.\nAnswer: Black")
    pieces = sharp.pieces(ids)
    chain = "".join(pieces)
    tokens = tuple(Token(token, piece, -0.1, 0.1) for token, piece in zip(ids, pieces, strict=True))
    trace = replace(trace, chain=chain, tokens=tokens, steps=split_steps(chain, pieces))
    assert len(trace.steps) == 3
    sums, _ = naive(sharp, trace, spaced(sharp, PROBLEM.options))
    torch.testing.assert_close(answer_trajectory(sharp, trace).scores, sums, atol=1e-4, rtol=0)


def test_an_option_that_begins_another_can_score_below_it(sharp, trace):
    """Else "1" would always beat "12". Both then count the end of the turn."""
    options = ("Black", "Black cat", "Grey")
    asked = replace(trace, problem=Problem(trace.problem.question, options))
    end = sharp.tokenizer.eos_token_id
    sums, _ = naive(sharp, asked, [(*option, end) for option in spaced(sharp, options)])
    made = answer_trajectory(sharp, asked).scores
    torch.testing.assert_close(made, sums, atol=1e-4, rtol=0)
    bare, _ = naive(sharp, asked, spaced(sharp, options))
    assert (bare[:, 0] > bare[:, 1]).all()


def test_distributions_and_shifts_of_known_scores():
    """The second step turns a certain answer into the other one, the third does nothing."""
    half, sure = [0.0, 0.0], [0.0, -60.0]
    made = Trajectory(torch.tensor([half, sure, sure[::-1], sure[::-1]]))
    torch.testing.assert_close(made.distributions.sum(1), torch.ones(4))
    # From (½, ½) to (1, 0) the middle is (¾, ¼): H(¾, ¼) − ½·ln 2.
    first = -0.75 * math.log(0.75) - 0.25 * math.log(0.25) - math.log(2) / 2
    torch.testing.assert_close(made.shifts, torch.tensor([first, math.log(2), 0.0]))


def test_jensen_shannon_is_symmetric_and_bounded():
    one, other = torch.rand(2, 200, 5, generator=torch.Generator().manual_seed(2)).softmax(-1)
    there, back = jensen_shannon(one, other), jensen_shannon(other, one)
    torch.testing.assert_close(there, back)
    assert (there > 0).all()
    assert (there < math.log(2)).all()
    assert jensen_shannon(one, one).max() < 1e-7


def test_shifts_are_one_for_each_step(sharp, trace):
    made = answer_trajectory(sharp, trace)
    assert made.shifts.shape == (len(trace.steps),)
    expected = [jensen_shannon(*made.distributions[index : index + 2]) for index in range(len(trace.steps))]
    torch.testing.assert_close(made.shifts, torch.stack(expected))
