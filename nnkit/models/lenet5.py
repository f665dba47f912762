"""LeNet-5 as it is commonly built today."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils.memory_format import convert_conv2d_weight_memory_format

from nnkit.layers.activation import ActivationName, activation_layer, is_monotone
from nnkit.layers.checks import check_choice, check_dropout, check_positive

Pooling = Literal["max", "average"]


class LeNet5(nn.Module):
    """The convolutional network C1 S2 C3 S4 C5 F6 of LeCun et al. 1998, for pictures of 32x32 pixels.

    "Gradient-based learning applied to document recognition", Proceedings of the IEEE 86(11), section II.B.
    This is the common modern form; `lenet5_1998` follows the paper to the letter. What differs: pooling has
    no weights (and takes the maximum), C3 sees all maps of S2, tanh is not scaled, PyTorch initialises the
    weights, the output is a linear classifier. With 10 classes and 1 channel the network has 61,706
    parameters instead of 60,000.

    Args:
        dim_in: Channels of a picture.
        activation: Name of the activation after each layer.
        pooling: How S2 and S4 halve their maps: the "max" or the "average" of each 2x2 square.
        dropout: Probability that a unit of C5 or F6 is set to zero while training.

    Raises:
        ValueError: If dim_in is below 1, dropout lies outside [0, 1) or a name is unknown.
    """

    def __init__(
        self,
        dim_in: int,
        *,
        activation: ActivationName = "tanh",
        pooling: Pooling = "max",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_positive("dim_in", dim_in)
        check_choice("pooling", pooling, get_args(Pooling))
        check_dropout(dropout)
        self.c1 = nn.Conv2d(dim_in, 6, kernel_size=5)
        self.s2 = _squash_and_pool(activation, pooling)
        self.c3 = nn.Conv2d(6, 16, kernel_size=5)
        self.s4 = _squash_and_pool(activation, pooling)
        # A 5x5 convolution over 5x5 maps has one position: it is a linear layer, and faster as one.
        self.c5 = nn.Linear(16 * 5 * 5, 120)
        self.f6 = nn.Linear(120, 84)
        self.squash = nn.Sequential(activation_layer(activation), nn.Dropout(dropout))
        self.dim_out = 84
        convert_conv2d_weight_memory_format(self, torch.channels_last)

    def forward(self, pictures: Tensor) -> Tensor:
        """Map pictures (batch, dim_in, 32, 32) to features (batch, 84)."""
        maps = self.s2(self.c1(pictures))  # (batch, 6, 28, 28) -> (batch, 6, 14, 14)
        maps = self.s4(self.c3(maps))  # (batch, 16, 10, 10) -> (batch, 16, 5, 5)
        features = self.squash(self.c5(maps.flatten(1)))  # (batch, 120)
        outputs: Tensor = self.squash(self.f6(features))  # (batch, 84)
        return outputs


def _squash_and_pool(activation: ActivationName, pooling: Pooling) -> nn.Sequential:
    squash = activation_layer(activation)
    if pooling == "average":
        return nn.Sequential(squash, nn.AvgPool2d(2))
    if is_monotone(activation):
        # max(f(x)) = f(max(x)) where f never decreases: the same function with a quarter of the work.
        return nn.Sequential(nn.MaxPool2d(2), squash)
    return nn.Sequential(squash, nn.MaxPool2d(2))
