"""Embed that reads a picture row by row."""

from torch import Tensor, nn

from nnkit.layers.checks import check_positive


class Rows(nn.Module):
    """Turns a picture into a sequence: its rows from the top, the pixels of all channels side by side.

    Args:
        in_channels: Channels of a picture.
        width: Pixels in a row.

    Raises:
        ValueError: If a number is below 1.
    """

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        check_positive("in_channels", in_channels)
        check_positive("width", width)
        self.dim_out = in_channels * width

    def forward(self, inputs: Tensor) -> Tensor:
        """Map pictures (batch, in_channels, height, width) to sequences (batch, height, in_channels * width)."""
        return inputs.transpose(1, 2).flatten(2)
