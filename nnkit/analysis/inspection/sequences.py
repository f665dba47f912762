"""Figures of sequences: attention of each head, gates over steps, and the prediction after each layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len

from nnkit.analysis.pages import look
from nnkit.analysis.pages.charts import name_steps
from nnkit.ui.figures import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from nnkit.analysis.inspection.recorded import Recorded

# Steps, units and heads that are drawn.
MOST_STEPS, MOST_HEADS = 40, 16
_CELL = 14
# Steps whose predictions are written.
_MOST_READ = 24


def _named(axes: Axes, rows: Sequence[str], columns: Sequence[str]) -> None:
    axes.set_yticks(range(len(rows)), shortened(rows, 14))
    name_steps(axes, columns)


@look.style()
def attention(weights: Recorded, title: str, focus: int = 0) -> Figure:
    """Draw what each head attends to, and their mean with the names of the steps; a full cell is the largest weight.

    Args:
        weights: (head, query, key); 40 steps are drawn.
        title: What they are.
        focus: The step that is asked about: the last one that is drawn, where it is not among the first 40.
    """
    places = [_drawn(size, focus) for size in weights.shape[1:]]
    part = weights.values[:, places[0], places[1]]
    shown = part[:MOST_HEADS]
    heads, queries, keys = shown.shape
    rows, columns = (weights.along(axis)[place] for axis, place in zip(("query", "key"), places, strict=True))
    across = min(4, heads)
    down = math.ceil(heads / across) if heads > 1 else 0
    width, height = max(_CELL * keys + 130, 320), _CELL * queries + 120
    small = max(60.0, 130 * queries / max(queries, keys)) + 34
    figure = look.new_figure(max(width, 130 * across if down else 0), height + down * small)
    look.entitle(figure, title)
    grid = figure.add_gridspec(1 + down, across, height_ratios=[height, *[small] * down])
    whole = figure.add_subplot(grid[0, :])
    full = float(shown.max(initial=0)) or 1.0
    _shade(whole, part.mean(0), full)
    whole.set_title(f"mean of the heads, full at {full:.2g}" if heads > 1 else f"full at {full:.2g}")
    _named(whole, rows, columns)
    left_out = [_left_out(place, size) for place, size in zip(places, weights.shape[1:], strict=True)]
    whole.set(xlabel=f"attended to (key){left_out[1]}", ylabel=f"attends (query){left_out[0]}")
    for head in range(heads if down else 0):
        axes = figure.add_subplot(grid[1 + head // across, head % across])
        _shade(axes, shown[head], full)
        axes.set(xticks=[], yticks=[], xlabel=f"head {head + 1}")
    return figure


def _drawn(size: int, focus: int) -> slice:
    """Return the steps that are drawn."""
    end = min(size, max(focus + 1, MOST_STEPS))
    return slice(max(0, end - MOST_STEPS), end)


def _left_out(place: slice, size: int) -> str:
    return f", {place.start + 1} to {place.stop} of {size}" if place.stop - place.start < size else ""


def _shade(axes: Axes, values: NDArray[Any], full: float) -> None:
    axes.imshow(values, cmap=look.shares(), vmin=0, vmax=full)
    for spine in axes.spines.values():
        spine.set_visible(True)


@look.style()
def gates(parts: Sequence[Recorded], cell: str) -> Figure:
    """Draw gates and states over the steps, a row for each unit: blue above zero, orange below.

    Args:
        parts: (unit, step) each, of one cell.
        cell: Its name, which the names of the parts begin with; empty where there is one only.
    """
    title = f"gates and states: {cell}" if cell else "gates and states"
    across = min(len(parts), 3)
    down = math.ceil(len(parts) / across)
    figure, axes = look.panels(title, down, across, max(240 * across, 460), 190 * down + 50)
    for place, one in enumerate(axes):
        if place >= len(parts):
            one.set_axis_off()
            continue
        part = parts[place]
        strongest = float(np.abs(part.values).max(initial=0)) or 1.0
        strongest = 1.0 if strongest <= 1 else strongest
        one.imshow(part.values, cmap=look.signed(), vmin=-strongest, vmax=strongest, aspect="auto")
        for spine in one.spines.values():
            spine.set_visible(True)
        names = part.along("step")
        # Names that lie beside each other need more room than those that stand upright.
        most = 10 if max(map(cell_len, names)) == 2 else 18
        name_steps(one, names, max(1, -(-len(names) // most)))
        one.set_title(f"{part.name.removeprefix(cell).strip()}, full at {strongest:.2g}")
        one.set(xlabel="step", ylabel="unit", yticks=[])
    return figure


@look.style()
def lens(
    layers: Sequence[str],
    probabilities: NDArray[Any],
    texts: Sequence[Sequence[str]],
    steps: Sequence[str],
    title: str,
) -> Figure:
    """Draw the most probable column after each layer at the last 24 steps, written and shaded by its probability.

    Args:
        layers: Name of each layer.
        probabilities: Of the most probable column, (layers, steps).
        texts: That column's name, for each layer and step.
        steps: Name of each step.
        title: What is predicted.
    """
    begin = max(0, len(steps) - _MOST_READ)
    steps, probabilities = steps[begin:], probabilities[:, begin:]
    texts = [some[begin:] for some in texts]
    cell = 26 if max(len(text) for row in texts for text in row) <= 3 else 58
    figure, (axes,) = look.panels(title, 1, 1, max(cell * len(steps) + 110, 320), 30 * len(layers) + 130)
    axes.imshow(probabilities, cmap=look.shares(), vmin=0, vmax=1, aspect="auto")
    for row, some in enumerate(texts):
        for column, text in enumerate(shortened(some, max(2, cell // 7))):
            colour = "white" if probabilities[row, column] > 0.6 else look.INK
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
    axes.set_yticks(range(len(layers)), shortened(layers))
    name_steps(axes, steps)
    left_out = f"; the last {len(steps)}" if begin else ""
    axes.set(xlabel=f"step{left_out}", ylabel="after")
    return figure
