"""The features of explanations."""

import math

import pytest
import torch

from inference.core import explanation_features, head_config

TEXTS = ["Because all of them are black.", "Cats.", "It followed the first clue and then the second one, as it said."]


def test_shape_and_type_are_those_of_the_head(model, trace):
    features = explanation_features(model, trace, TEXTS)
    assert features.shape == (3, head_config(model).explanation_size)
    assert features.dtype == torch.float32
    assert torch.isfinite(features).all()
    assert explanation_features(model, trace, []).shape == (0, head_config(model).explanation_size)


def test_neighbours_in_the_batch_change_nothing(model, trace):
    together = explanation_features(model, trace, TEXTS * 4)  # more than one batch
    for row, text in enumerate(TEXTS):
        alone = explanation_features(model, trace, [text])[0]
        torch.testing.assert_close(together[row], alone, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(together[row + 9], alone, atol=1e-5, rtol=1e-5)


def test_the_numbers_by_hand(model, trace):
    (made,) = explanation_features(model, trace, [TEXTS[0]])
    context = model.encode(f"{trace.problem.question}\nAnswer: {trace.answer.text}\nExplanation:")
    own = model.encode(" " + TEXTS[0])
    output = model.module(torch.tensor([[*context, *own]]), output_hidden_states=True)
    logprobs = output.logits[0, len(context) - 1 : -1].log_softmax(-1)[range(len(own)), list(own)]
    length = torch.tensor(math.log(1 + len(own)))
    expected = [torch.stack([length, length**2, logprobs.mean()])]
    for layer in reversed(head_config(model).layers):
        states = output.hidden_states[layer][0, len(context) :]
        expected = [states.mean(0), states[-1], *expected]
    torch.testing.assert_close(made, torch.cat(expected), atol=1e-5, rtol=1e-5)


def test_an_empty_text_is_refused(model, trace):
    with pytest.raises(ValueError, match=r"\['1'\] are empty"):
        explanation_features(model, trace, ["Yes.", "  "])
