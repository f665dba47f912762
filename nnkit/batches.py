"""The one contract between data and tasks: a NamedTuple for each kind of batch."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

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


class Tokens(NamedTuple):
    """Texts of different lengths with one target each.

    Attributes:
        inputs: Token numbers, (batch, time) int64, padded on the right; what stands there does not matter.
        mask: True where there is a token, (batch, time) bool; the first of each text is one.
        target: Class index, (batch,) int64.
        indices: Which samples of the split these are, (batch,) int64.
    """

    inputs: Tensor
    mask: Tensor
    target: Tensor
    indices: Tensor


class Blocks(NamedTuple):
    """Stretches of a long text, each token with the one that follows it.

    Attributes:
        inputs: Token numbers, (batch, time) int64.
        target: The tokens that follow, (batch, time) int64; `IGNORED` where nothing is to be predicted.
        indices: Which stretches of the split these are, (batch,) int64.
    """

    inputs: Tensor
    target: Tensor
    indices: Tensor


class Series(NamedTuple):
    """Windows of a series with the values to forecast.

    Attributes:
        inputs: Standardised values, (batch, time, channels) float32, the latest last.
        target: Standardised values that follow, (batch, horizon * outputs) float32, the outputs of a step side by side.
        indices: Which windows of the split these are, (batch,) int64.
    """

    inputs: Tensor
    target: Tensor
    indices: Tensor


Batch = Pictures | Table | Tokens | Blocks | Series

# Target of a token that is not scored; torch's own default.
IGNORED = -100


def network_inputs(batch: Batch) -> tuple[Tensor, ...]:
    """Return what a network is called with: the inputs, and the mask where samples differ in length."""
    return (batch.inputs, batch.mask) if isinstance(batch, Tokens) else (batch.inputs,)


def join(batches: Sequence[Batch]) -> Batch:
    """Put batches of one kind together; texts are padded to the longest."""
    first = batches[0]
    if isinstance(first, Tokens):
        time = max(batch.inputs.shape[1] for batch in batches)
        batches = [
            batch._replace(inputs=_padded(batch.inputs, time), mask=_padded(batch.mask, time))
            for batch in batches
            if isinstance(batch, Tokens)
        ]
    return type(first)(*map(torch.cat, zip(*batches, strict=True)))


def _padded(values: Tensor, time: int) -> Tensor:
    return functional.pad(values, (0, time - values.shape[1]))


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
