"""Embed that reads a picture as a sequence of square patches."""

from torch import Tensor, nn
from torch.nn import functional

from nnkit.layers.checks import check_positive


class Patches(nn.Module):
    """Cuts a picture into patches, row by row, and maps each to a vector (Dosovitskiy et al. 2021, section 3.1).

    A picture whose sides are no multiple of the patch is padded at the right and at the bottom with zeros.

    Args:
        in_channels: Channels of a picture.
        patch_size: Height and width of a patch, in pixels.
        dim: Width of the vectors.

    Raises:
        ValueError: If a number is below 1.
    """

    def __init__(self, in_channels: int, *, patch_size: int = 4, dim: int = 128) -> None:
        super().__init__()
        for name, value in (("in_channels", in_channels), ("patch_size", patch_size), ("dim", dim)):
            check_positive(name, value)
        self.patch_size = patch_size
        self.dim_out = dim
        self.linear = nn.Linear(in_channels * patch_size**2, dim)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map pictures (batch, in_channels, height, width) to sequences (batch, patches, dim)."""
        size = self.patch_size
        height, width = inputs.shape[-2:]
        padded = functional.pad(inputs, (0, -width % size, 0, -height % size))
        # (batch, channels * size * size, patches)
        cut = functional.unfold(padded, size, stride=size)
        vectors: Tensor = self.linear(cut.transpose(1, 2))
        return vectors
