"""Steps hidden from the answer, packed, against one masked pass for each."""

from dataclasses import replace

import pytest
import torch

from inference.core import direct_suppression, full_suppression, invert
from inference.core.inversion import answer_position
from inference.core.spans import answer_span, step_spans, token_ids

ROUNDING = 5e-5  # nats; float32 differs by up to 1.5e-5 on some processors, as the weights of `sharp` are large


def masked(model, trace, blind, first):
    """log p(answer) when tokens from `first` on see none of `blind`: one pass over the trace with its own mask."""
    ids = torch.tensor([[*trace.prompt_ids, *(token.id for token in trace.tokens)]])
    mask = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool).tril()
    for row in range(first, ids.shape[1]):
        mask[row, blind[0] : min(blind[1], first)] = False
    with torch.no_grad():
        logits = model.module(ids, attention_mask=mask[None, None]).logits[0].log_softmax(-1)
    answer = answer_span(trace)
    return sum(logits[at - 1, ids[0, at]] for at in range(answer.start, answer.end))


def naive(model, trace, first):
    plain = masked(model, trace, (0, 0), len(trace.prompt_ids))
    return torch.stack([plain - masked(model, trace, span, first(span)) for span in step_spans(trace)])


def test_the_answer_s_tokens(trace, sharp):
    span = answer_span(trace)
    ids = [*trace.prompt_ids, *(token.id for token in trace.tokens)]
    assert sharp.decode(ids[span.cue : span.start]) == "Answer:"
    assert sharp.decode(ids[span.start : span.end]).strip() == trace.answer.text
    assert span.start - 1 == answer_position(trace)


def test_a_step_s_tokens_take_the_white_space_after_it(trace, sharp):
    ids, spans = token_ids(trace), step_spans(trace)
    texts = [sharp.decode(ids[start:end]) for start, end in spans]
    assert texts == [*(f"{step.text}\n" for step in trace.steps[:-1]), trace.steps[-1].text]


@pytest.mark.parametrize("lent", [False, True])
@pytest.mark.parametrize("cells", [2**21, 0])
def test_direct_suppression_equals_a_pass_for_each_step(sharp, trace, lent, cells):
    prefix = invert(sharp, trace).prefix if lent else None
    cue = answer_span(trace).cue
    made = direct_suppression(sharp, trace, prefix, cells)
    torch.testing.assert_close(made, naive(sharp, trace, lambda span: cue), atol=ROUNDING, rtol=0)
    assert made[:-1].abs().min() > 1e-3  # far above the tolerance
    assert made[-1] == 0  # the step that states the answer holds nothing before it


@pytest.mark.parametrize("lent", [False, True])
def test_full_suppression_equals_a_pass_for_each_step(sharp, trace, lent):
    prefix = invert(sharp, trace).prefix if lent else None
    cue = answer_span(trace).cue
    made = full_suppression(sharp, trace, prefix)
    torch.testing.assert_close(made, naive(sharp, trace, lambda span: min(span[1], cue)), atol=ROUNDING, rtol=0)
    direct = direct_suppression(sharp, trace, prefix)
    assert (made - direct)[:2].abs().min() > 1e-3  # what went through later steps
    assert float(made[2]) == pytest.approx(float(direct[2]), abs=1e-5)  # nothing stands between it and the answer


def test_words_before_the_answer_in_its_own_step_are_hidden(sharp, trace):
    """A step that reasons and then states the answer: only the first part is hidden."""
    last, second = trace.steps[-1], trace.steps[-2]
    joined = replace(last, index=2, char_start=second.char_start, token_start=second.token_start)
    merged = replace(trace, steps=(*trace.steps[:-2], joined))
    made, before = direct_suppression(sharp, merged), direct_suppression(sharp, trace)
    assert made.shape == (3,)
    torch.testing.assert_close(made, before[:3], atol=1e-5, rtol=0)


def test_a_chain_that_states_no_answer_is_asked_for_its_last_token(sharp, trace):
    mute = replace(trace, chain=trace.chain.replace("Answer:", "Colour:"))
    ends = len(trace.prompt_ids) + len(trace.tokens)
    assert (answer_span(mute).start, answer_span(mute).end) == (ends - 1, ends)
    assert answer_span(mute).start - 1 == answer_position(mute)
    cue = answer_span(mute).cue
    made = direct_suppression(sharp, mute)
    torch.testing.assert_close(made, naive(sharp, mute, lambda span: cue), atol=ROUNDING, rtol=0)
