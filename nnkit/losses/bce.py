"""Binary cross-entropy of each class by itself, with class weights given as plain numbers."""

from collections.abc import Sequence
from typing import Literal

from torch import nn

from nnkit.losses.class_weights import balanced_decisions, weight_tensor


class BCE(nn.BCEWithLogitsLoss):
    """torch's binary cross-entropy of logits (batch, classes) and 0 or 1 for each (batch, classes), mean over both.

    Args:
        class_weights: One weight a class, by which the samples that are in it count (torch's ``pos_weight``); those
            that are not in it count once. None weighs all alike.
        reduction: Whether the loss is the "mean" or the "sum" over samples and classes.

    Raises:
        ValueError: If a weight is negative or not finite, or none is positive.
    """

    # What class weights that are called balanced are, as each class is a decision of its own.
    balanced = staticmethod(balanced_decisions)

    def __init__(
        self, *, class_weights: Sequence[float] | None = None, reduction: Literal["mean", "sum"] = "mean"
    ) -> None:
        super().__init__(pos_weight=weight_tensor(class_weights), reduction=reduction)
