"""Grey levels of pictures with more than 8 bits: kept as they are, then brought to 0..255 by the training pictures."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

# Of type uint8, or int32 and float32 where a file has more than 8 bits.
Levels = np.ndarray[Any, np.dtype[Any]]
# Lowest and highest level by kind of picture: "integer" (16 and 32 bits) and "float".
Ranges = dict[str, list[float]]

# Types of levels; "u1" comes first: levels of 8 bits have no range to learn.
TYPES = ("u1", "i4", "f4")
KINDS = ("byte", "integer", "float")


def gather(read: Callable[[int], Levels], ranges: Ranges, rows: Tensor) -> Tensor:
    """Return pictures, each brought from its own levels to 0..255.

    Args:
        read: Returns the picture of a row, (channels, height, width).
        ranges: From `learn_ranges`.
        rows: The rows, int64.

    Returns:
        The pictures, (batch, channels, height, width) uint8, or float32 in [0, 255].
    """
    return torch.from_numpy(np.stack([to_range(read(row), ranges) for row in rows.tolist()]))


def kind_of(levels: Levels) -> int:
    """Return the place of a picture's type in `KINDS`."""
    return ("u", "i", "f").index(levels.dtype.kind)


def to_range(levels: Levels, ranges: Ranges) -> Levels:
    """Bring levels to 0..255 by the range of their kind, what lies outside being cut off.

    Args:
        levels: Of any shape.
        ranges: From `learn_ranges`; a kind without one is taken for all that its type can hold.

    Returns:
        float32 in [0, 255]; uint8 as it is, and where there is no range.
    """
    kind = KINDS[kind_of(levels)]
    if kind == "byte":
        return levels
    if kind not in ranges:
        return eight_bits(levels)
    low, high = ranges[kind]
    return ((levels.astype(np.float64) - low) * (255 / (high - low or 1.0))).clip(0, 255).astype(np.float32)


def eight_bits(levels: Levels, *, is_wide: bool = False) -> Levels:
    """Return levels as uint8 by what is usual: integers / 256 if they exceed a byte, floats as 0..1 or 0..255.

    Args:
        levels: Of any shape; finite.
        is_wide: Whether integers are known to have 16 bits, however small they are.
    """
    if levels.dtype.kind == "f":
        top = 1.0 if levels.max() <= 1 else 255.0
        return (levels.clip(0, top) * (255 / top)).round().astype(np.uint8)
    is_wide = is_wide or levels.max() > 255
    return (levels.astype(np.int64).clip(0, 65535) >> 8 if is_wide else levels.clip(0, 255)).astype(np.uint8)


def measure(levels: Levels) -> list[float]:
    """Return kind, and lowest, first percentile, last percentile and highest of a picture's levels."""
    if levels.dtype == np.uint8:
        return [0.0, 0.0, 0.0, 255.0, 255.0]
    return [float(kind_of(levels)), *np.quantile(levels.astype(np.float64), (0, 0.01, 0.99, 1)).tolist()]


def learn_ranges(measures: Tensor) -> Ranges:
    """Return the lowest and highest level of each kind of picture with more than 8 bits.

    Args:
        measures: From `measure`, (n, 5) float64; NaN where a picture was not measured.
    """
    ranges = {}
    for number, kind in list(enumerate(KINDS))[1:]:
        known = measures[measures[:, 0] == number]
        if len(known):
            ranges[kind] = [known[:, 1].min().item(), known[:, 4].max().item()]
    return ranges


def about_ranges(measures: Tensor, ranges: Ranges) -> list[str]:
    """Return a sentence on each range that was learnt, with what to type where it may be a poor one.

    Args:
        measures: As for `learn_ranges`.
        ranges: From there.
    """
    sentences = []
    for kind, (low, high) in ranges.items():
        known = measures[measures[:, 0] == KINDS.index(kind)]
        usual = known[:, 2].min().item(), known[:, 3].max().item()
        bits = "are of floats" if kind == "float" else "have more than 8 bits"
        text = (
            f"{len(known):,} of {int((~measures[:, 0].isnan()).sum()):,} training pictures {bits}: their levels "
            f"{low:,.7g} (black) to {high:,.7g} (white) become 0 to 255; data.grey_range=[LOW,HIGH] sets others"
        )
        if usual[1] - usual[0] < (high - low) / 8:
            text += f", and 98 % of each picture lie between {usual[0]:,.7g} and {usual[1]:,.7g}"
        sentences.append(text)
    return sentences
