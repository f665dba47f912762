"""Dropout whose masks cost little on a CPU."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from nnkit.layers.checks import check_dropout

# Of the four bytes of a random number the last one lacks a bit.
_BYTES = 3
_STEPS = 256
# The largest change of p or of 1 - p by rounding, as a share of it.
_TOLERANCE = 0.05


class Dropout(nn.Module):
    """Sets numbers to zero at random while training, and scales the others up (Srivastava et al. 2014).

    On a CPU torch draws a number for each number, which takes nearly half of the time of a Transformer's step. Here a
    draw serves three, and the probability is rounded to a multiple of 1/256 for that: 0.1 becomes 26/256 = 0.1016. The
    scale is that of the rounded probability, so the expectation is exact. Where rounding would change p or 1 - p by
    more than 5 %, as for 0.01 or 0.001, torch's own dropout is used, with p as it is; so it is on other devices.

    Args:
        p: Probability that a number is set to zero.

    Raises:
        ValueError: If it does not lie in [0, 1).
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        check_dropout(p)
        self.p = p

    def forward(self, features: Tensor) -> Tensor:
        """Map features to features of the same shape."""
        return dropout(features, self.p) if self.training else features

    def extra_repr(self) -> str:
        """Show the probability."""
        return f"p={self.p}"


def dropout(features: Tensor, p: float) -> Tensor:
    """Set numbers of a tensor to zero with probability p, and divide the others by 1 - p; see `Dropout`."""
    if not p:
        return features
    zeros = round(p * _STEPS)
    is_near = p < 1 and abs(zeros / _STEPS - p) <= _TOLERANCE * min(p, 1 - p)
    if features.device.type != "cpu" or not is_near:
        return functional.dropout(features, p)
    size = features.numel()
    drawn = torch.randint(1 << 31, (-(-size // _BYTES),), dtype=torch.int32, device="cpu")
    drawn_bytes = drawn.view(torch.uint8).view(-1, 4)[:, :_BYTES].reshape(-1)
    keep = drawn_bytes[:size].view(features.shape) >= zeros
    return (features * keep) * (_STEPS / (_STEPS - zeros))
