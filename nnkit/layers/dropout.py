"""Dropout whose masks cost little on a CPU."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from nnkit.layers.checks import check_dropout

# Of the four bytes of a random number the last one lacks a bit.
_BYTES = 3
_STEPS = 256


class Dropout(nn.Module):
    """Sets numbers to zero at random while training, and scales the others up (Srivastava et al. 2014).

    On a CPU torch draws a number for each number, which takes nearly half of the time of a Transformer's step. Here a
    draw serves three; the probability is a multiple of 1/256 for that, at least one, and the scale goes by it.

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
    if features.device.type != "cpu":
        return functional.dropout(features, p)
    zeros = min(max(round(p * _STEPS), 1), _STEPS - 1)
    size = features.numel()
    drawn = torch.randint(1 << 31, (-(-size // _BYTES),), dtype=torch.int32, device="cpu")
    drawn_bytes = drawn.view(torch.uint8).view(-1, 4)[:, :_BYTES].reshape(-1)
    keep = drawn_bytes[:size].view(features.shape) >= zeros
    return (features * keep) * (_STEPS / (_STEPS - zeros))
