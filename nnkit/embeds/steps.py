"""Embed for bodies that take the values of a series as they are."""

from torch import Tensor, nn

from nnkit.layers.checks import check_positive


class Steps(nn.Module):
    """Hands a series on, the channels of each step as its features.

    Args:
        num_channels: Values in a step.

    Raises:
        ValueError: If the number is below 1.
    """

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        check_positive("num_channels", num_channels)
        self.dim_out = num_channels

    def forward(self, inputs: Tensor) -> Tensor:
        """Return inputs (batch, time, num_channels)."""
        return inputs
