"""Focal loss: cross-entropy that looks away from what is easy."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nnkit.losses.class_weights import weight_tensor, weighted_mean
from nnkit.losses.scoring import number_of


class Focal(nn.Module):
    """Cross-entropy with each sample scaled by (1 - p)^gamma, where p is the probability of the right class.

    Lin et al. 2017, "Focal loss for dense object detection", equations 4 and 5. Useful where one class
    crowds out the others. With gamma = 0 it is cross-entropy.

    Args:
        gamma: How much less the easy samples count; the paper's best is 2.
        class_weights: One weight a class (the paper's alpha), or None. As in torch's cross-entropy the loss is the
            weighted mean.

    Raises:
        ValueError: If gamma is negative, a weight is negative or not finite, or no weight is positive.
    """

    class_weights: Tensor | None

    def __init__(self, *, gamma: float = 2.0, class_weights: Sequence[float] | None = None) -> None:
        super().__init__()
        if gamma < 0:
            raise ValueError(f"gamma must not be negative, not {gamma}")
        self.gamma = gamma
        self.register_buffer("class_weights", weight_tensor(class_weights))

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Score logits (batch, classes) against class indices (batch,); returns a scalar."""
        log_probability = prediction.log_softmax(-1).gather(-1, target.unsqueeze(-1)).squeeze(-1)
        # expm1 keeps 1 - p exact where p is close to 1. At 0 the power's slope is infinite for gamma < 1.
        miss = (-log_probability.expm1()).clamp(min=torch.finfo(log_probability.dtype).tiny)
        loss = -(miss**self.gamma) * log_probability
        if self.class_weights is None:
            return loss.mean()
        weights = self.class_weights[target]
        return weighted_mean((weights * loss).sum(), weights.sum())

    def total_weight(self, target: Tensor) -> Tensor:
        """Return what the mean is divided by: the class weights of the targets, added up."""
        if self.class_weights is None:
            return number_of(target)
        return self.class_weights[target].sum()
