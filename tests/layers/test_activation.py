"""Activations by name."""

from typing import get_args

import pytest
import torch
from torch.nn import functional

from nnkit.layers.activation import ActivationName, activation_layer, is_monotone

FORMULAS = {
    "identity": lambda x: x,
    "relu": lambda x: x * (x > 0),
    "leaky_relu": lambda x: torch.where(x > 0, x, 0.01 * x),
    "elu": lambda x: torch.where(x > 0, x, x.exp() - 1),
    "gelu": lambda x: x * (1 + torch.erf(x / 2**0.5)) / 2,
    "gelu_tanh": lambda x: x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3))) / 2,
    "silu": lambda x: x / (1 + (-x).exp()),
    "softplus": lambda x: (1 + x.exp()).log(),
    "sigmoid": lambda x: 1 / (1 + (-x).exp()),
    "tanh": lambda x: (x.exp() - (-x).exp()) / (x.exp() + (-x).exp()),
    "hardtanh": lambda x: x.clamp(-1, 1),
}


@pytest.mark.parametrize("name", get_args(ActivationName))
def test_each_name_is_its_formula(name):
    x = torch.linspace(-4, 4, 101, dtype=torch.float64)
    torch.testing.assert_close(activation_layer(name)(x), FORMULAS[name](x))


@pytest.mark.parametrize("name", get_args(ActivationName))
def test_monotone_ones_commute_with_max_pooling(name):
    maps = 3 * torch.randn(50, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    layer = activation_layer(name)
    commutes = torch.equal(layer(functional.max_pool2d(maps, 2)), functional.max_pool2d(layer(maps), 2))
    assert commutes == is_monotone(name)


def test_unknown_name_is_answered_with_the_names():
    with pytest.raises(ValueError, match=r"activation must be one of identity, relu, .*, not 'rleu'"):
        activation_layer("rleu")
