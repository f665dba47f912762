"""Summing a sequence up in one vector."""

from typing import Literal

import torch
from torch import Tensor

Pooling = Literal["first", "last", "mean", "max"]


def pool(features: Tensor, mask: Tensor | None, how: Pooling) -> Tensor:
    """Sum up features (batch, time, dim) in one vector a sequence, (batch, dim).

    Args:
        features: One vector a step.
        mask: True where there is a step, (batch, time) bool, padded on the right; None: everywhere.
        how: The "first" or the "last" step, or the "mean" or the "max" over all.
    """
    if how == "first":
        return features[:, 0]
    if how == "last":
        if mask is None:
            return features[:, -1]
        return features[torch.arange(len(features), device=features.device), mask.sum(1) - 1]
    if mask is None:
        return features.mean(1) if how == "mean" else features.amax(1)
    seen = mask.unsqueeze(-1)
    if how == "max":
        return features.masked_fill(~seen, -torch.inf).amax(1)
    return features.masked_fill(~seen, 0.0).sum(1) / seen.sum(1)
