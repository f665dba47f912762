"""The one contract between data and tasks: a NamedTuple for each kind of batch."""

from typing import NamedTuple

import torch
from torch import Tensor

# Sample numbers that a message names.
_LISTED = 8


class Pictures(NamedTuple):
    """Pictures with one target each.

    Attributes:
        inputs: Normalised pixels, (batch, channels, height, width), float32.
        target: Class index (batch,) int64, or real values (batch, outputs) float32.
        indices: Which samples of the split these are, (batch,) int64.
    """

    inputs: Tensor
    target: Tensor
    indices: Tensor


class Table(NamedTuple):
    """Rows of a table with one target each.

    Attributes:
        inputs: Standardised and one-hot encoded columns, (batch, features), float32.
        target: Class index (batch,) int64, or standardised real values (batch, outputs) float32.
        indices: Which rows of the split these are, (batch,) int64.
    """

    inputs: Tensor
    target: Tensor
    indices: Tensor


Batch = Pictures | Table


def not_finite(batch: Batch) -> dict[str, Tensor]:
    """Return which samples hold NaN or an infinite number, (batch,) bool by field; only fields that have any."""
    found = {}
    for name, value in batch._asdict().items():
        if isinstance(value, Tensor) and value.is_floating_point() and value.ndim and value.numel():
            bad = ~torch.isfinite(value.reshape(len(value), -1)).all(1)
            if bad.any():
                found[name] = bad
    return found


def listed(numbers: list[int]) -> str:
    """Return the first of these numbers as a list, and how many more there are."""
    more = f" and {len(numbers) - _LISTED:,} more" if len(numbers) > _LISTED else ""
    return ", ".join(map(str, numbers[:_LISTED])) + more
