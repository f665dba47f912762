"""Figures of pictures: an input, kernels, maps, and which pixels a score rests on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nnkit.analysis.pages import look

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nnkit.ui.figures import Pixels

# Maps or kernels that are drawn, and width of a figure in pixels.
_MOST, _WIDTH = 64, 460
# Share of the numbers that are within the full colour.
_FULL = 0.995


def tiles(parts: NDArray[Any], across: int, gap: int = 1) -> NDArray[np.floating]:
    """Lay (parts, height, width) out as one matrix, row by row, NaN between them."""
    count, height, width = parts.shape
    down = math.ceil(count / across)
    whole = np.full((down * (height + gap) - gap, across * (width + gap) - gap), np.nan)
    for number, part in enumerate(parts):
        top, left = number // across * (height + gap), number % across * (width + gap)
        whole[top : top + height, left : left + width] = part
    return whole


@look.style()
def picture(image: Pixels, title: str) -> Figure:
    """Draw an image, (height, width, 3) uint8."""
    figure, (axes,) = look.panels(title, 1, 1, 240, 250)
    axes.imshow(image)
    axes.set(xlabel="column", ylabel="row")
    return figure


@look.style()
def maps(values: NDArray[Any], title: str, noun: str = "map") -> Figure:
    """Draw maps or kernels side by side: blue above zero, orange below.

    One number in 200 may be beyond the full colour: a single strong pixel would leave all others pale.

    Args:
        values: (maps, height, width); the first 64 are drawn.
        title: What they are.
        noun: What one of them is called.
    """
    shown = values[:_MOST]
    across = _across(len(shown))
    whole = tiles(shown, across, gap=max(1, round(values.shape[-1] / 10)))
    height = min(max((_WIDTH - 50) * whole.shape[0] / whole.shape[1], 60), 620) + 65
    figure, (axes,) = look.panels(title, 1, 1, _WIDTH, height)
    strongest = np.abs(shown).max(initial=0)
    full = (float(np.quantile(np.abs(shown), _FULL)) if shown.size else 0) or strongest or 1.0
    axes.imshow(whole, cmap=look.signed(), vmin=-full, vmax=full)
    left_out = f" of {len(values)}" if len(values) > len(shown) else ""
    size = " x ".join(map(str, values.shape[1:]))
    counted = f"{noun}s 1 to {len(shown)}{left_out}, {size} each"
    look.bare(axes, f"{counted}; full at {full:.3g}, strongest {strongest:.3g}")
    axes.set_ylabel(f"{across} in a row")
    for spine in axes.spines.values():
        spine.set_visible(True)
    return figure


def _across(count: int) -> int:
    """Return how many tiles a row has: as few rows as keep a tile large enough to be seen."""
    return count if count <= 6 else math.ceil(count / math.ceil(count / 8))


@look.style()
def saliency(image: Pixels, attributions: Sequence[tuple[str, NDArray[Any]]], title: str) -> Figure:
    """Draw an image and beside it how much each pixel speaks for (blue) or against (orange) a score.

    Args:
        image: (height, width, 3) uint8.
        attributions: Each method's name and its numbers, (height, width).
        title: What they explain.
    """
    figure, axes = look.panels(title, 1, 1 + len(attributions), 180 * (1 + len(attributions)), 245)
    axes[0].imshow(image)
    axes[0].set_title("input")
    grey = image.mean(-1)
    for one, (name, values) in zip(axes[1:], attributions, strict=True):
        # The input itself, faintly, so that places can be told.
        one.imshow(grey, cmap="gray_r", alpha=0.15)
        strongest = np.abs(values).max(initial=0) or 1.0
        one.imshow(values, cmap=look.signed(), vmin=-strongest, vmax=strongest)
        one.set_title(f"{name}\nstrongest {strongest:.3g}")
    for one in axes:
        one.set(xlabel="column", ylabel="row")
    return figure
