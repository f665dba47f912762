"""Weights of classes: what a loss takes, and those that make up for how often each class occurs."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def weight_tensor(class_weights: Sequence[float] | None) -> Tensor | None:
    """Return one weight a class as a tensor (classes,) float32; None weighs all alike.

    Args:
        class_weights: One weight a class, or None.

    Raises:
        ValueError: If a weight is negative or not finite, or none is positive.
    """
    if class_weights is None:
        return None
    given = list(class_weights)
    if any(weight < 0 or not math.isfinite(weight) for weight in given):
        raise ValueError(f"class_weights must not be negative and must be finite, not {given}")
    if not any(given):
        raise ValueError(f"class_weights must not all be 0, or nothing is learnt: {given}")
    return torch.tensor(given, dtype=torch.float32)


def weighted_mean(total: Tensor, weight: Tensor) -> Tensor:
    """Return a weighted sum over its weight; 0, with gradients of 0, where no target weighs anything."""
    there = weight > 0
    return total / torch.where(there, weight, 1.0) * there


def balanced(counts: Sequence[int]) -> list[float]:
    """Return weights by which each class counts as much as any other: samples / (classes * samples of the class).

    As scikit-learn's ``class_weight="balanced"``, after King and Zeng 2001, "Logistic regression in rare events data".

    Args:
        counts: Samples of each class, none of them 0.
    """
    return [sum(counts) / (len(counts) * count) for count in counts]


def balanced_decisions(counts: Sequence[int], num_samples: int) -> list[float]:
    """Return for each class by how much the samples outside it outnumber those in it.

    Args:
        counts: Samples of each class, none of them 0.
        num_samples: All samples.
    """
    return [(num_samples - count) / count for count in counts]
