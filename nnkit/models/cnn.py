"""Plain convolutional network for images of any size."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.memory_format import convert_conv2d_weight_memory_format

from nnkit.layers.activation import ActivationName, activation_layer
from nnkit.layers.checks import check_all_positive, check_choice, check_dropout, check_positive
from nnkit.layers.probing import MAPS, Probe


class CNN(nn.Module):
    """Blocks of convolution, normalisation, activation and max pooling, then the mean over what is left.

    The mean over all positions (Lin et al. 2014, "Network in network", section 3.2) makes the features independent of
    the images' size. A block's convolution keeps the size; the pooling behind it divides it, rounding up, so that no
    image is too small.

    Args:
        dim_in: Channels of an image.
        channels: Maps of each block, from the image on.
        kernel_size: Height and width of the kernels in pixels; odd.
        pool: Factor by which each block but the last shrinks its maps; 1 keeps their size.
        norm: "batch" normalises each convolution's maps, "none" leaves them.
        activation: Name of the activation of each block.
        dropout: Probability that a feature is set to zero while training.

    Raises:
        ValueError: If a number is out of range, channels is empty or a name is unknown.
    """

    def __init__(
        self,
        dim_in: int,
        *,
        channels: Sequence[int] = (32, 64, 128),
        kernel_size: int = 3,
        pool: int = 2,
        norm: Literal["batch", "none"] = "batch",
        activation: ActivationName = "relu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_positive("dim_in", dim_in)
        if not channels:
            raise ValueError("channels must name the maps of at least one block")
        check_all_positive("channels", channels)
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, so that maps keep their size, not {kernel_size}")
        check_positive("pool", pool)
        check_choice("norm", norm, ("batch", "none"))
        check_dropout(dropout)
        blocks: list[nn.Module] = []
        for inputs, outputs in zip((dim_in, *channels), channels, strict=False):
            if blocks:
                blocks.append(nn.MaxPool2d(pool, ceil_mode=True))
            blocks.append(_block(inputs, outputs, kernel_size, norm, activation))
        self.blocks = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(dropout)
        self.dim_out = channels[-1]
        convert_conv2d_weight_memory_format(self, torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (batch, dim_in, height, width) to features (batch, dim_out)."""
        maps = self.blocks(images)  # (batch, dim_out, height / pool^(blocks - 1), ...)
        features: Tensor = self.dropout(maps.mean((-2, -1)))  # (batch, dim_out)
        return features

    def probe(self) -> list[Probe]:
        """Return what each block and each pooling puts out."""
        # Blocks and the pooling between them take turns.
        names = (f"{('block', 'pooling')[place % 2]} {place // 2 + 1}" for place in range(len(self.blocks)))
        return [Probe(name, layer, MAPS) for name, layer in zip(names, self.blocks, strict=True)]


def _block(dim_in: int, dim_out: int, kernel_size: int, norm: str, name: ActivationName) -> nn.Sequential:
    # Padding of half the kernel keeps the size. Batch normalisation subtracts the mean, and a bias with it.
    convolution = nn.Conv2d(dim_in, dim_out, kernel_size, padding=kernel_size // 2, bias=norm == "none")
    normalise = nn.BatchNorm2d(dim_out) if norm == "batch" else nn.Identity()
    return nn.Sequential(convolution, normalise, activation_layer(name))
