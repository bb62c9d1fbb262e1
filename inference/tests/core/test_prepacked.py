"""Prepacked layers compute what they replace, and only such are replaced as can be."""

import copy
import weakref
from threading import Thread

import pytest
import torch

from inference.core import prepacked
from inference.core.prepacked import PrepackedLinear, prepack, trim, trimmable


def linear(bias=True, dtype=torch.float32):
    torch.manual_seed(3)
    return torch.nn.Linear(37, 70, bias=bias, dtype=dtype).requires_grad_(False)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(37,), (0, 37), (1, 37), (2, 300, 37)])
def test_a_layer_computes_the_same(bias, shape):
    usual = linear(bias)
    rows = torch.randn(shape)
    torch.testing.assert_close(PrepackedLinear(usual)(rows), usual(rows), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
def test_a_gradient_flows_to_the_rows(bias):
    usual = linear(bias)
    rows = torch.randn(2, 5, 37, requires_grad=True)
    found, expected = (
        torch.autograd.grad(layer(rows).square().sum(), rows)[0] for layer in (PrepackedLinear(usual), usual)
    )
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)


def test_rows_that_do_not_lie_in_a_row_are_read_as_they_are():
    usual, rows = linear(), torch.randn(37, 9).T
    torch.testing.assert_close(PrepackedLinear(usual)(rows), usual(rows), atol=1e-5, rtol=1e-5)


def test_the_weight_can_still_be_looked_at():
    usual = linear()
    assert torch.equal(PrepackedLinear(usual).weight, usual.weight)


def test_what_is_saved_of_a_model_is_what_was_loaded():
    module = torch.nn.Sequential(linear(), linear(bias=False))
    before = {name: weight.clone() for name, weight in module.state_dict().items()}
    prepack(module)
    after = module.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], weight) for name, weight in before.items())


def test_every_linear_layer_is_replaced_wherever_it_hangs():
    module = torch.nn.Sequential(linear(), torch.nn.ModuleDict({"deep": torch.nn.Sequential(linear())}))
    prepack(module)
    assert isinstance(module[0], PrepackedLinear)
    assert isinstance(module[1]["deep"][0], PrepackedLinear)
    assert list(module.parameters()) == [module[0].bias, module[1]["deep"][0].bias]


def test_embeddings_that_share_the_outputs_weight_keep_it():
    module = torch.nn.ModuleDict({"in": torch.nn.Embedding(70, 37), "out": linear(bias=False)})
    module["out"].weight = module["in"].weight
    weight = module["in"].weight.detach().clone()
    prepack(module)
    assert torch.equal(module["in"].weight, weight)
    assert torch.equal(module["out"].weight, weight)


def test_other_types_and_devices_and_kinds_of_layers_are_left_alone():
    class Other(torch.nn.Linear):
        """Of which nobody knows what it does."""

    module = torch.nn.Sequential(linear(dtype=torch.bfloat16), linear().to("meta"), Other(3, 4))
    kinds = [type(layer) for layer in module]
    prepack(module)
    assert [type(layer) for layer in module] == kinds


def test_a_copy_of_a_model_shares_only_what_never_changes():
    module = torch.nn.Sequential(linear())
    prepack(module)
    made = copy.deepcopy(module)
    assert made[0].packed is module[0].packed
    assert torch.equal(made[0].bias, module[0].bias)
    made[0].bias[0] = float("nan")
    assert module[0].bias.isfinite().all()


def test_each_old_weight_is_freed_before_the_next_is_packed(monkeypatch):
    module = torch.nn.Sequential(*(torch.nn.Sequential(linear()) for _ in range(4)))
    old, alive = [weakref.ref(part[0].weight) for part in module], []

    class Counted(PrepackedLinear):
        def __init__(self, layer):
            alive.append(sum(weight() is not None for weight in old))
            super().__init__(layer)

    monkeypatch.setattr(prepacked, "PrepackedLinear", Counted)
    prepack(module)
    assert alive == [4, 3, 2, 1]


def test_rows_that_nothing_comes_of_are_not_computed():
    layer, rows = PrepackedLinear(linear()), torch.randn(1, 9, 37)
    whole = layer(rows)
    with trimmable():
        assert torch.equal(layer(rows), whole)  # nothing is said yet
        trim(9, torch.tensor([2, 7]))
        made = layer(rows)
        assert torch.equal(layer(rows[:, :8]), whole[:, :8])  # no rows of that pass
        assert torch.equal(layer(rows[0]), whole[0])
    torch.testing.assert_close(made[:, [2, 7]], whole[:, [2, 7]])
    assert not made[:, [0, 1, 3, 4, 5, 6, 8]].any()
    assert torch.equal(layer(rows), whole)


def test_other_threads_do_not_know_what_is_needed_here():
    layer, rows, found = PrepackedLinear(linear()), torch.randn(1, 9, 37), []
    whole = layer(rows)
    with trimmable():
        trim(9, torch.tensor([2]))
        other = Thread(target=lambda: found.append(layer(rows)))
        other.start()
        other.join()
    assert torch.equal(found[0], whole)
