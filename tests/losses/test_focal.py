"""Focal loss."""

import numpy
import pytest
import torch
from torch import nn

from nnkit.losses.focal import Focal


@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 0.5]])
def test_gamma_zero_is_cross_entropy(weights):
    logits, target = torch.randn(8, 3, requires_grad=True), torch.randint(3, (8,))
    tensor = None if weights is None else torch.tensor(weights)
    mine = Focal(gamma=0.0, class_weights=weights)(logits, target)
    theirs = nn.CrossEntropyLoss(weight=tensor)(logits, target)
    torch.testing.assert_close(mine, theirs)
    torch.testing.assert_close(*(torch.autograd.grad(loss, logits)[0] for loss in (mine, theirs)))


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_equals_the_papers_formula(gamma):
    logits, target = torch.randn(8, 3, dtype=torch.float64), torch.randint(3, (8,))
    x = numpy.exp(logits.numpy())
    p = (x / x.sum(1, keepdims=True))[numpy.arange(8), target.numpy()]
    expected = -((1 - p) ** gamma * numpy.log(p)).mean()
    assert Focal(gamma=gamma)(logits, target).item() == pytest.approx(expected)


def test_gradients_are_right_and_finite_for_samples_that_are_certain():
    target = torch.tensor([0, 1])
    logits = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: Focal(gamma=2.0)(x, target), logits)
    certain = torch.tensor([[200.0, 0.0, 0.0], [0.0, 200.0, 0.0]], requires_grad=True)
    Focal(gamma=0.5)(certain, target).backward()
    assert certain.grad.isfinite().all()


def test_refuses_by_name():
    with pytest.raises(ValueError, match="gamma must not be negative, not -1"):
        Focal(gamma=-1)
    with pytest.raises(ValueError, match="class_weights must not be negative"):
        Focal(class_weights=[-1.0])
