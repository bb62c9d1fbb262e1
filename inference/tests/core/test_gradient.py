"""Gradient × input, against sums over single tokens, finite differences and what it leaves behind."""

import pytest
import torch

from inference.core import gradient_times_input, invert
from inference.core.spans import answer_span, step_spans, token_ids


def answer_logprob(model, trace, inputs):
    """log p(answer) of a plain pass over all of the trace's input embeddings [1, T, H]."""
    logits = model.module(inputs_embeds=inputs).logits[0].log_softmax(-1)
    answer, ids = answer_span(trace), token_ids(trace)
    return sum(logits[at - 1, ids[at]] for at in range(answer.start, answer.end))


def embedded(model, trace):
    return model.module.get_input_embeddings()(torch.tensor([token_ids(trace)])).detach()


@pytest.mark.parametrize("lent", ["nothing", "examples", "everything"])
def test_equals_the_sum_over_single_tokens(sharp, trace, lent):
    """One gradient for each token alone, everything else held fixed."""
    inputs = embedded(sharp, trace)
    expected = []
    for start, end in step_spans(trace):
        total = torch.tensor(0.0)
        for at in range(start, end):
            one = inputs[0, at].clone().requires_grad_()
            whole = torch.cat([inputs[0, :at], one[None], inputs[0, at + 1 :]])[None]
            (gradient,) = torch.autograd.grad(answer_logprob(sharp, trace, whole), one)
            total += gradient @ one.detach()
        expected.append(total)
    prefixes = {
        "nothing": None,
        "examples": sharp.prefix(trace.prompt_ids[:50]),
        "everything": invert(sharp, trace).prefix,
    }
    made = gradient_times_input(sharp, trace, prefixes[lent])
    torch.testing.assert_close(made, torch.stack(expected), atol=1e-5, rtol=1e-4)
    assert made.abs().min() > 1e-3  # far above the tolerance


def test_equals_the_change_when_a_step_s_embeddings_grow(sharp, trace):
    """Central differences by one factor on all embeddings of the step; in float32, so no small ones."""
    inputs, small = embedded(sharp, trace), 0.01
    made = gradient_times_input(sharp, trace)
    for index, (start, end) in enumerate(step_spans(trace)):
        values = []
        for factor in (1 + small, 1 - small):
            scaled = inputs.clone()
            scaled[:, start:end] *= factor
            with torch.no_grad():
                values.append(float(answer_logprob(sharp, trace, scaled)))
        assert float(made[index]) == pytest.approx((values[0] - values[1]) / (2 * small), rel=0.02)


def test_works_under_no_grad_and_leaves_no_gradient_behind(sharp, trace):
    prefix = invert(sharp, trace).prefix
    keys = prefix.cache.layers[0].keys.clone()
    with torch.no_grad():
        made = gradient_times_input(sharp, trace, prefix)
        assert not torch.is_grad_enabled()
    assert not made.requires_grad
    assert all(weight.grad is None and not weight.requires_grad for weight in sharp.module.parameters())
    assert torch.equal(prefix.cache.layers[0].keys, keys)
