"""Dropout against what it promises of its masks."""

import pytest
import torch

from nnkit.layers.dropout import Dropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_as_many_numbers_go_as_asked_and_the_mean_stays(p):
    torch.manual_seed(0)
    layer = Dropout(p)
    found = layer(torch.ones(1000, 1001))
    assert (found == 0).float().mean().item() == pytest.approx(p, abs=1 / 256)
    assert found.mean().item() == pytest.approx(1, abs=0.01)
    kept = found[found != 0]
    assert (kept == kept[0]).all()


def test_numbers_go_independently_of_their_neighbours_and_rows():
    torch.manual_seed(0)
    gone = (Dropout(0.25)(torch.ones(600, 1000)) == 0).double()
    gone = gone - gone.mean()
    variance = gone.square().mean()
    for shift in ((0, 1), (0, 2), (0, 3), (1, 0), (7, 5)):
        assert abs((gone * gone.roll(shift, (0, 1))).mean() / variance) < 0.01


def test_the_gradient_passes_where_the_number_did():
    torch.manual_seed(0)
    inputs = torch.ones(50, 50, requires_grad=True)
    found = Dropout(0.5)(inputs)
    found.sum().backward()
    assert torch.equal(inputs.grad, found.detach())


def test_the_global_generator_decides_and_evaluation_leaves_all_as_it_is():
    layer, inputs = Dropout(0.5), torch.randn(20, 20)
    found = []
    for _ in range(2):
        torch.manual_seed(3)
        found.append(layer(inputs))
    assert torch.equal(*found)
    assert not torch.equal(layer(inputs), found[0])
    assert layer.eval()(inputs) is inputs
    assert Dropout(0.0)(inputs) is inputs


@pytest.mark.parametrize("p", [-0.1, 1.0])
def test_no_probability_is_refused(p):
    with pytest.raises(ValueError, match="dropout"):
        Dropout(p)
