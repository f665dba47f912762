"""LeNet-5 as it is commonly built today."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.memory_format import convert_conv2d_weight_memory_format

from nnkit.layers.activation import ActivationName, activation_layer, is_monotone
from nnkit.layers.checks import check_choice, check_dropout, check_positive
from nnkit.layers.pooling import MaxPool2x2
from nnkit.layers.probing import MAPS, UNITS, Probe


class LeNet5(nn.Module):
    """The convolutional network C1 S2 C3 S4 C5 F6 of LeCun et al. 1998, for images of 32x32 pixels.

    "Gradient-based learning applied to document recognition", Proceedings of the IEEE 86(11), section II.B and figure
    2. This is the common modern form; `lenet5_1998` follows the paper to the letter. What differs: pooling has no
    weights (and takes the maximum), C3 reads all maps of S2, tanh is not scaled, PyTorch initialises the weights, the
    output is a linear classifier. With 10 classes and 1 channel the network has 61,706 parameters instead of 60,000.

    Args:
        dim_in: Channels of an image.
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
        pooling: Literal["max", "average"] = "max",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_positive("dim_in", dim_in)
        check_choice("pooling", pooling, ("max", "average"))
        check_dropout(dropout)
        self.c1 = nn.Conv2d(dim_in, 6, kernel_size=5)  # 156 parameters with 1 channel
        self.s2 = _squash_and_pool(activation, pooling)  # none; 12 in the paper
        self.c3 = nn.Conv2d(6, 16, kernel_size=5)  # 2,416; 1,516 in the paper
        self.s4 = _squash_and_pool(activation, pooling)  # none; 32 in the paper
        # A 5x5 convolution over 5x5 maps has one position: it is a linear layer, and faster as one.
        self.c5 = nn.Linear(16 * 5 * 5, 120)  # 48,120
        self.f6 = nn.Linear(120, 84)  # 10,164; 84 is a bitmap of 7x12, see `nnkit.heads.rbf`
        self.squash = nn.Sequential(activation_layer(activation), nn.Dropout(dropout))
        self.dim_out = 84
        convert_conv2d_weight_memory_format(self, torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (batch, dim_in, 32, 32) to features (batch, 84)."""
        x = self.c1(images)  # (batch, 6, 28, 28): kernels of 5x5 fit into 32x32 at 28x28 places
        x = self.s2(x)  # (batch, 6, 14, 14)
        x = self.c3(x)  # (batch, 16, 10, 10)
        x = self.s4(x)  # (batch, 16, 5, 5)
        x = self.squash(self.c5(x.flatten(1)))  # (batch, 120)
        features: Tensor = self.squash(self.f6(x))  # (batch, 84)
        return features

    def probe(self) -> list[Probe]:
        """Return the paper's layers; C1 and C3 before the activation, which comes with the pooling."""
        maps = {"C1": self.c1, "S2": self.s2, "C3": self.c3, "S4": self.s4}
        return [
            *(Probe(name, layer, MAPS) for name, layer in maps.items()),
            *(Probe(name, self.squash, UNITS, call) for call, name in enumerate(("C5", "F6"))),
        ]


def _squash_and_pool(activation: ActivationName, pooling: str) -> nn.Sequential:
    squash = activation_layer(activation)
    if pooling == "average":
        return nn.Sequential(squash, nn.AvgPool2d(2))
    if is_monotone(activation):
        # max(f(x)) = f(max(x)) where f never decreases: the same function with a quarter of the work.
        return nn.Sequential(MaxPool2x2(), squash)
    return nn.Sequential(squash, MaxPool2x2())
