"""The MAP loss of LeNet-5."""

import numpy
import pytest
import torch

from nnkit.losses.map import MAP


@pytest.mark.parametrize("j", [0.1, 1.0, 30.0])
def test_equals_equation_9(j):
    penalties = 20 * torch.rand(6, 10, dtype=torch.float64)
    target = torch.tensor([3, 1, 4, 1, 5, 9])
    y = penalties.numpy()
    expected = (y[numpy.arange(6), target] + numpy.log(numpy.exp(-j) + numpy.exp(-y).sum(1))).mean()
    assert MAP(j=j)(-penalties, target).item() == pytest.approx(expected)


def test_large_penalties_neither_overflow_nor_lose_the_gradient():
    prediction = torch.full((1, 10), -500.0, requires_grad=True)
    loss = MAP()(prediction, torch.tensor([2]))
    loss.backward()
    assert loss.item() == pytest.approx(499.0)
    assert prediction.grad[0, 2].item() == pytest.approx(-1.0)


def test_a_wrong_class_far_beyond_j_is_not_pushed_further():
    prediction = torch.full((1, 10), -100.0)
    prediction[0, 0] = -50.0
    prediction.requires_grad_()
    MAP(j=1.0)(prediction, torch.tensor([0])).backward()
    assert prediction.grad[0, 1:].abs().max() < 1e-6


def test_refuses_by_name():
    with pytest.raises(ValueError, match="j must be positive, not 0"):
        MAP(j=0)
