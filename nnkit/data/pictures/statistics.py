"""Brightness of pictures: what normalises them, and what tells a stranger from them."""

import math
from typing import Any

import numpy as np
from torch import Tensor

_SUM, _SQUARES, _BORDER = 0, 1, 2


def picture_statistics(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return sum of values, sum of squares, and mean of the outermost pixels, for each picture and channel.

    Kept for each picture, so that the normalisation of any split costs no pass over the pixels.

    Args:
        pixels: Pictures, (n, channels, height, width) uint8.

    Returns:
        Statistics, (n, channels, 3) float64, exact sums.
    """
    values = pixels.astype(np.uint32)
    edges = (values[..., 0, :], values[..., -1, :], values[..., 1:-1, 0], values[..., 1:-1, -1])
    border = np.concatenate(edges, axis=-1).mean(axis=-1)
    flat = values.reshape(*values.shape[:2], -1)
    sums = flat.sum(axis=-1, dtype=np.float64)
    squares = np.square(flat).sum(axis=-1, dtype=np.float64)
    return np.stack([sums, squares, border], axis=-1)


def normalisation(statistics: Tensor, num_pixels: int) -> dict[str, Any]:
    """Return mean and standard deviation of each channel, and how bright pictures and their borders are.

    Args:
        statistics: From `picture_statistics`, (n, channels, 3); rows of NaN are left out.
        num_pixels: Pixels in a picture.

    Returns:
        "mean" and "std" of each channel in [0, 1]; "brightness" with mean and standard deviation, over the
        pictures, of the mean level of a "picture" and of its "border", in [0, 255].
    """
    known = statistics[~statistics.isnan().any(dim=-1).any(dim=-1)]
    total = len(known) * num_pixels
    mean = known[..., _SUM].sum(dim=0) / total
    variance = known[..., _SQUARES].sum(dim=0) / total - mean**2
    levels = {"picture": known[..., _SUM].mean(dim=1) / num_pixels, "border": known[..., _BORDER].mean(dim=1)}
    return {
        "mean": (mean / 255).tolist(),
        # A channel that never changes is left as it is rather than divided by zero.
        "std": [math.sqrt(value) / 255 if value > 1e-6 else 1.0 for value in variance.tolist()],
        "brightness": {
            name: [level.mean().item(), level.std(correction=0).item()] for name, level in levels.items()
        },
    }
