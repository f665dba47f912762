"""What all bodies that read sequences share."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn


class SequenceBody(nn.Module, ABC):
    """Base of bodies that map a sequence of features to a sequence of features.

    Attributes:
        dim_out: Width of the features of each step.
        causal: Whether what is said of step t never depends on steps after t.
    """

    dim_out: int
    causal: bool

    @abstractmethod
    def forward(self, features: Tensor, mask: Tensor | None = None, state: Any = None) -> tuple[Tensor, Any]:
        """Map features (batch, time, dim_in) to (batch, time, dim_out) and the state to go on from.

        Args:
            features: One vector a step.
            mask: True where there is a step, (batch, time) bool, padded on the right; None: everywhere.
            state: What an earlier call returned, to go on where that ended; only without a mask.
        """

    @abstractmethod
    def summary(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Sum up what `forward` returned, (batch, time, dim_out), in one vector a sequence, (batch, dim_out)."""
