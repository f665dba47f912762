"""The output layer of LeNet-5: Euclidean distance to a drawing of each digit."""

import torch
from torch import Tensor, nn

# Digits on bitmaps 7 wide and 12 high, as in section II.B of the paper; the drawings are our own.
_BITMAPS = """
..###..  ...##..  .#####.  .#####.  ....##.  #######  ..####.  #######  .#####.  .#####.
.##.##.  ..###..  ##...##  ##...##  ...###.  #######  .##....  #######  ##...##  ##...##
##...##  .####..  ##...##  .....##  ..####.  ##.....  ##.....  .....##  ##...##  ##...##
##...##  ...##..  .....##  .....##  ..#.##.  ##.....  ##.....  ....##.  ##...##  ##...##
##...##  ...##..  .....##  .....##  .##.##.  ##.....  ##.....  ....##.  .##.##.  ##...##
##...##  ...##..  ....##.  ..####.  .#..##.  ######.  ######.  ...##..  .#####.  .######
##...##  ...##..  ...##..  ..####.  ##..##.  .....##  ##...##  ...##..  ##...##  ..#####
##...##  ...##..  ..##...  .....##  #######  .....##  ##...##  ..##...  ##...##  .....##
##...##  ...##..  .##....  .....##  #######  .....##  ##...##  ..##...  ##...##  .....##
##...##  ...##..  ##.....  .....##  ....##.  .....##  ##...##  .##....  ##...##  .....##
.##.##.  .######  #######  ##...##  ....##.  ##...##  ##...##  .##....  ##...##  ....##.
..###..  .######  #######  .#####.  ....##.  .#####.  .#####.  .##....  .#####.  .####..
"""
_DIM = 7 * 12


def digit_codes() -> Tensor:
    """Return the bitmaps of the digits 0 to 9 row by row, (10, 84): +1 for ink, -1 elsewhere."""
    lines = [line.split() for line in _BITMAPS.split("\n") if line]
    bitmaps = ["".join(rows) for rows in zip(*lines, strict=True)]
    return torch.tensor([[1.0 if pixel == "#" else -1.0 for pixel in bitmap] for bitmap in bitmaps])


class RBF(nn.Module):
    """Compares features with one fixed +-1 code for each digit, a stylised drawing of it.

    LeCun et al. 1998, section II.B. Features are best squashed to about [-1, 1], as LeNet-5's F6 is. The
    paper's unit outputs the squared distance, a penalty; this one returns minus that, so that the largest
    output is the best class, as with every other head.

    Args:
        dim_in: Width of the features: 84, the pixels of a bitmap.
        num_classes: 10; there are codes for the digits only.

    Raises:
        ValueError: If either number is another one.
    """

    codes: Tensor

    def __init__(self, dim_in: int, num_classes: int) -> None:
        super().__init__()
        if dim_in != _DIM:
            raise ValueError(f"dim_in must be {_DIM}, the pixels of a 7x12 bitmap, not {dim_in}")
        if num_classes != 10:
            raise ValueError(
                f"num_classes must be 10, the digits that there are codes for, not {num_classes}"
            )
        self.register_buffer("codes", digit_codes())

    def forward(self, features: Tensor) -> Tensor:
        """Map features (batch, 84) to minus the squared distances to the codes (batch, 10)."""
        return -(features.unsqueeze(1) - self.codes).square().sum(-1)

    def probabilities(self, outputs: Tensor) -> Tensor:
        """Turn what `forward` returned, (batch, 10), into probabilities: Gaussians around the codes."""
        return outputs.softmax(-1)
