"""Cross-entropy with class weights given as plain numbers."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from nnkit.losses.class_weights import weight_tensor, weighted_mean
from nnkit.losses.scoring import number_of


class CrossEntropy(nn.CrossEntropyLoss):
    """torch's cross-entropy of logits (batch, classes) and class indices (batch,), mean over the batch.

    A list of class weights cannot reach torch's own class from a config: it insists on a tensor. Label smoothing is
    part of training alone; validation and test report the loss without it.

    Args:
        label_smoothing: Share of each target spread evenly over all classes, in [0, 1].
        class_weights: One weight a class, for classes that are rare or matter more; None weighs all alike.

    Raises:
        ValueError: If label_smoothing lies outside [0, 1], a weight is negative or not finite, or none is positive.
    """

    def __init__(self, *, label_smoothing: float = 0.0, class_weights: Sequence[float] | None = None) -> None:
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"label_smoothing must lie in [0, 1], not {label_smoothing}")
        super().__init__(weight=weight_tensor(class_weights), label_smoothing=label_smoothing)
        # Only then may a batch weigh nothing, and torch's mean over it is not a number.
        self._may_weigh_nothing = class_weights is not None and 0 in class_weights

    @override
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Score logits (batch, classes) against class indices (batch,); returns a scalar."""
        if not self._may_weigh_nothing:
            return super().forward(input, target)
        total = functional.cross_entropy(
            input, target, self.weight, reduction="sum", label_smoothing=self.label_smoothing
        )
        return weighted_mean(total, self.total_weight(target))

    def total_weight(self, target: Tensor) -> Tensor:
        """Return what the mean is divided by: the class weights of the targets, added up."""
        if self.weight is None:
            return number_of(target)
        return self.weight[target].sum()
