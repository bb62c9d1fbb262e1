"""A stand-in model and one of its traces, for the tests of the core."""

import copy

import pytest
import torch

from inference.core import Head, Problem, ReasonSettings, head_config, reason
from inference.tests.standin import StandIn, parts, stand_in_model

PROBLEM = Problem(
    "All cats in the house are black. Milo is one of them. What colour is Milo?", ("Black", "White", "Grey")
)

UNDECIDED = Problem("How many lives has Milo?", ("0", "7", "9"))
"""Of options of as many tokens, none has half of the probability under the stand-in's random weights."""


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny tensors are faster without a team of threads, and so is the real model where others use the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def model():
    return stand_in_model()


@pytest.fixture
def trace(model):
    return reason(model, PROBLEM, ReasonSettings())


@pytest.fixture
def head(model):
    return Head(head_config(model))


@pytest.fixture
def sharp():
    """The stand-in's words before a model with grouped heads that is far from uniform."""
    module, tokenizer = parts()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        config = copy.deepcopy(module.config)
        config.initializer_range, config.num_hidden_layers = 0.8, 3
        return StandIn(type(module)(config), tokenizer, "sharp")


@pytest.fixture
def drawn(model, monkeypatch):
    """How many rows each call of the module's own `model` drew."""
    calls, write = [], model.generate_many

    def counted(starts, *, rows, **options):
        calls.append(sum(map(len, rows)))
        return write(starts, rows=rows, **options)

    monkeypatch.setattr(model, "generate_many", counted)
    return calls
