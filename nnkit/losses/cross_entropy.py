"""Cross-entropy with class weights given as plain numbers."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nnkit.losses.scoring import number_of


class CrossEntropy(nn.CrossEntropyLoss):
    """torch's cross-entropy of logits (batch, classes) and class indices (batch,), mean over the batch.

    A list of class weights cannot reach torch's own class from a config: it insists on a tensor. Label smoothing is
    part of training alone; validation and test report the loss without it.

    Args:
        label_smoothing: Share of each target spread evenly over all classes, in [0, 1].
        class_weights: One weight a class, for classes that are rare or matter more; None weighs all alike.

    Raises:
        ValueError: If label_smoothing lies outside [0, 1] or a weight is negative.
    """

    def __init__(self, *, label_smoothing: float = 0.0, class_weights: Sequence[float] | None = None) -> None:
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"label_smoothing must lie in [0, 1], not {label_smoothing}")
        if class_weights is not None and any(weight < 0 for weight in class_weights):
            raise ValueError(f"class_weights must not be negative, not {list(class_weights)}")
        weight = None if class_weights is None else torch.tensor(list(class_weights), dtype=torch.float32)
        super().__init__(weight=weight, label_smoothing=label_smoothing)

    def total_weight(self, target: Tensor) -> Tensor:
        """Return what the mean is divided by: the class weights of the targets, added up."""
        if self.weight is None:
            return number_of(target)
        return self.weight[target].sum()
