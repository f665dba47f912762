"""Embed for bodies that eat pictures."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from nnkit.layers.checks import check_positive


class Pixels(nn.Module):
    """Brings pictures to the size and the memory format that a convolutional body wants.

    A picture a little smaller than `size` (at least three quarters of it both ways, as MNIST's 28 in
    LeNet's 32) is centred and padded, so that its strokes keep their width. The padding repeats the border
    pixels: they are the picture's own background, whatever its value after normalisation, where zeros would
    be a grey frame. Any other size is resized bilinearly, smoothed where it shrinks.

    Args:
        in_channels: Channels of a picture.
        size: Height and width to bring pictures to, in pixels; None keeps each as it is.

    Raises:
        ValueError: If a number is below 1.
    """

    def __init__(self, in_channels: int, *, size: int | None = None) -> None:
        super().__init__()
        check_positive("in_channels", in_channels)
        if size is not None:
            check_positive("size", size)
        self.size = size
        self.dim_out = in_channels

    def forward(self, inputs: Tensor) -> Tensor:
        """Map pictures (batch, in_channels, height, width) to (batch, in_channels, size, size).

        The result is stored channels last: convolution and pooling on a CPU are a third faster so.
        """
        if self.size is not None and inputs.shape[-2:] != (self.size, self.size):
            inputs = self._fit(inputs, self.size)
        return inputs.contiguous(memory_format=torch.channels_last)

    def _fit(self, inputs: Tensor, size: int) -> Tensor:
        height, width = inputs.shape[-2:]
        if size * 3 <= 4 * min(height, width) and max(height, width) <= size:
            top, left = (size - height) // 2, (size - width) // 2
            frame = (left, size - width - left, top, size - height - top)
            return functional.pad(inputs, frame, mode="replicate")
        shrinks = height > size or width > size
        return functional.interpolate(
            inputs, (size, size), mode="bilinear", align_corners=False, antialias=shrinks
        )
