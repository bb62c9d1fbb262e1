"""The mixing of layers and heads that the head learns, on synthetic attention with a known answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from inference.core.flow import mixed_flow
from inference.core.head import Head
from inference.core.mixing import HeadFlow, Mixing, step_shares
from training.core.fit import one_thread
from training.core.mixing_fit import STRENGTHS, divergences, fit_mixing, followed_of
from training.core.step_effects import StepEffects, TestedStep, stacked
from training.core.step_fit import tau_of
from training.core.step_gate import check_steps, keep_what_is_better
from training.material import head_flows
from training.tests.test_core_steps import CONFIG, SHARES, made_test

LAYERS, HEADS, SEGMENTS = 3, 4, 6  # sink, four steps, answer
GOOD = (1, 2)  # the head whose attention goes where the effects are


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    with one_thread():
        yield


def followed(problems: int, seed: int = 0, good: bool = True, traces: int = 1, strength: float = 3) -> StepEffects:
    """Tests of four steps of a trace, with random attention; `good`: one head follows the effects. `traces`: so many
    of a problem, all the same."""
    random = torch.Generator().manual_seed(seed)
    rows, flows = [], {}
    test = made_test(np.random.default_rng(0), 0, *SHARES[0], rollouts=6)
    for problem in range(problems):
        effects = torch.rand(4, generator=random) * 2
        heads = torch.rand(LAYERS, HEADS, SEGMENTS, SEGMENTS, generator=random).tril()
        if good:
            heads[*GOOD, -1, 1:5] = (strength * effects).softmax(0) * 20
        heads /= heads.sum(-1, keepdim=True)
        name = f"t{problem:03}"
        flows |= {f"{name}-{i}": HeadFlow(heads, (-1, 0, 1, 2, 3, -1), SEGMENTS - 1) for i in range(traces)}
        tests = [replace(test, step=step, excess=float(value)) for step, value in enumerate(effects)]
        nothing = torch.zeros(CONFIG.step_size)
        rows += [TestedStep(nothing, one, 3, "", name, f"{name}-{i}") for i in range(traces) for one in tests]
    return stacked(rows, CONFIG.step_size, flows)


def test_the_batched_flow_is_the_flow_of_each_trace() -> None:
    steps, mixing = followed(3), Mixing(LAYERS, HEADS)
    with torch.no_grad():
        mixing.weights.copy_(torch.randn(LAYERS, HEADS, generator=torch.Generator().manual_seed(1)))
        mixing.residual.copy_(torch.tensor([0.3, -1.0, 0.5]))
    whole = followed_of(steps, tau=0.5)
    assert whole is not None
    for trace, found in enumerate(divergences(mixing, whole).tolist()):
        flow = steps.flows[trace]
        mass = mixed_flow(flow.heads, mixing.weights.detach(), mixing.residual.detach(), flow.answer)
        shares = step_shares(mass, flow.step_of, 4)
        target = (steps.effects[steps.traces == trace] / 0.5).softmax(0)
        assert found == pytest.approx(float((target * (target / shares).log()).sum()), abs=1e-5)


def test_the_head_that_follows_the_effects_is_found() -> None:
    steps = followed(20)
    mixing = fit_mixing(steps, 0.5, LAYERS, HEADS).mixing
    shares = mixing.weights.detach().softmax(-1)
    assert divmod(int(shares.argmax()), HEADS) == GOOD
    assert float(shares[GOOD]) > 0.5
    unseen = followed_of(followed(20, seed=1), 0.5)
    assert unseen is not None
    assert divergences(mixing, unseen).mean() < divergences(Mixing(LAYERS, HEADS), unseen).mean()


def test_attention_that_says_nothing_leaves_the_plain_rollout() -> None:
    assert not fit_mixing(followed(20, good=False), 0.5, LAYERS, HEADS).mixing.learned
    assert not fit_mixing(followed(3), 0.5, LAYERS, HEADS).mixing.learned, "too few problems"


def test_traces_of_one_problem_are_no_more_sure_than_one_of_them() -> None:
    once, often = (fit_mixing(followed(6, 3, traces=traces, strength=0.3), 0.5, LAYERS, HEADS) for traces in (1, 4))
    assert set(once.report["divergence"]) == {"plain", *(f"{l2:g}" for l2 in STRENGTHS)}
    assert often.report["divergence"] == pytest.approx(once.report["divergence"], rel=1e-3)
    assert not once.mixing.learned
    assert not often.mixing.learned


def test_of_the_kept_attention_no_more_is_read_than_may_be_held() -> None:
    """Eight traces of one size of which three fit: always the same three, and not the first ones."""
    flow, asked = HeadFlow(torch.zeros(LAYERS, HEADS, 2, 2), (-1, 0), 1), []

    class Kept:
        def get_flow(self, trace: Any) -> HeadFlow | None:
            asked.append(trace)
            return None if trace == "not kept" else flow

    traces: Any = {f"t{at}": f"trace {at}" for at in range(8)} | {"none": "not kept"}
    cache: Any = Kept()
    found = head_flows(traces, cache, most=3 * flow.heads.numel())
    assert len(found) == 3
    assert len(asked) <= 5
    assert set(found) == set(head_flows(traces, cache, most=3 * flow.heads.numel())) != {"t0", "t1", "t2"}
    assert set(head_flows(traces, cache)) == set(traces) - {"none"}


def test_steps_that_were_tested_twice_count_once_and_lone_ones_not_at_all() -> None:
    steps = followed(2)
    alone = replace(steps, effects=steps.effects.masked_fill(torch.arange(8) > 4, torch.nan))
    found = followed_of(alone, 0.5)
    assert found is not None
    assert len(found) == 1


def test_a_mixing_is_kept_only_where_it_beats_the_plain_rollout_beyond_doubt() -> None:
    config = replace(CONFIG, depth=LAYERS, heads=HEADS)
    steps = followed(20)
    mixing = fit_mixing(steps, tau_of(steps), LAYERS, HEADS).mixing
    for unseen, kept in ((followed(20, seed=1), True), (followed(20, seed=1, good=False), False)):
        head = Head(config, number=1)
        head.mixing.load_state_dict(mixing.state_dict())
        check = check_steps(head, steps, unseen)
        assert check.used["mixing"] == kept
        keep_what_is_better(head, check)
        assert head.mixes == kept
