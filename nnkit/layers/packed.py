"""Several linear layers of one input in one matrix."""

from collections.abc import Mapping

from torch import nn


class PackedLinear(nn.Linear):
    """Linear layers that read the same input, one below the other in one matrix: one product instead of several.

    Args:
        dim_in: Width of the input.
        widths: Width of each layer's output by its name, in the order of the rows.
        bias: Whether they have one.

    Attributes:
        widths: As given.
    """

    def __init__(self, dim_in: int, widths: Mapping[str, int], *, bias: bool = True) -> None:
        super().__init__(dim_in, sum(widths.values()), bias)
        self.widths = dict(widths)
