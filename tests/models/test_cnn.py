"""The plain convolutional network."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from nnkit.models.cnn import CNN


def test_equals_its_blocks_written_out():
    body = CNN(3, channels=[4, 5], kernel_size=5, norm="none", activation="tanh")
    first, second = (module for module in body.modules() if isinstance(module, nn.Conv2d))
    pictures = torch.randn(2, 3, 9, 12)
    maps = torch.tanh(functional.conv2d(pictures, first.weight, first.bias, padding=2))
    maps = functional.max_pool2d(maps, 2, ceil_mode=True)
    maps = torch.tanh(functional.conv2d(maps, second.weight, second.bias, padding=2))
    assert maps.shape == (2, 5, 5, 6)
    torch.testing.assert_close(body(pictures), maps.flatten(2).mean(2))


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (7, 33)])
def test_takes_pictures_of_any_size(size):
    body = CNN(1, channels=[4, 8, 16])
    assert body(torch.randn(2, 1, *size)).shape == (2, body.dim_out) == (2, 16)


def test_batch_norm_makes_outputs_blind_to_the_scale_of_a_kernel():
    body = CNN(1, channels=[4])
    pictures = torch.randn(8, 1, 6, 6)
    before = body(pictures)
    with torch.no_grad():
        next(body.parameters()).mul_(7)
    torch.testing.assert_close(body(pictures), before, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dim_in": 0}, "dim_in must be at least 1, not 0"),
        ({"channels": []}, "channels must name the maps of at least one block"),
        ({"channels": [8, 0]}, r"channels must hold numbers of at least 1, not \[8, 0\]"),
        ({"kernel_size": 4}, "kernel_size must be odd, .*, not 4"),
        ({"pool": 0}, "pool must be at least 1, not 0"),
        ({"norm": "layer"}, "norm must be one of batch, none, not 'layer'"),
        ({"activation": "swish"}, r"activation must be one of .*, not 'swish'"),
        ({"dropout": -0.1}, r"dropout must lie in \[0, 1\), not -0.1"),
    ],
)
def test_refuses_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        CNN(**{"dim_in": 1, **arguments})
