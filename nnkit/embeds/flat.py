"""Embed for bodies that eat one vector a sample."""

import math
from collections.abc import Sequence

from torch import Tensor, nn

from nnkit.layers.checks import check_all_positive


class Flat(nn.Module):
    """Flattens a sample of any shape into one vector, in row-major order.

    Args:
        shape: Sizes of one sample, such as (channels, height, width) or (features,).

    Raises:
        ValueError: If a size is below 1.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        check_all_positive("shape", shape)
        self.dim_out = math.prod(shape)

    def forward(self, inputs: Tensor) -> Tensor:
        """Flatten inputs (batch, *shape) to (batch, dim_out)."""
        return inputs.flatten(1)
