"""The one contract between data and tasks: a NamedTuple for each kind of batch."""

from typing import NamedTuple

from torch import Tensor


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
