"""Figures of a network itself: its layers from top to bottom, and its units with the connections that matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nnkit.analysis.pages import look
from nnkit.ui.figures import shortened

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Layers that are drawn one by one, units of a column, and connections between two columns.
_MOST_ROWS, _MOST_UNITS, _MOST_LINKS = 30, 64, 40
_ROW = 34


@dataclass(frozen=True)
class LayerRow:
    """One layer, or several that belong together.

    Attributes:
        name: Its path in the network.
        kind: Its class, or how many layers it stands for.
        output: Shape of what it puts out, the batch left out.
        parameters: Its parameters.
        multiply_adds: Products that it adds up for one sample.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    multiply_adds: int


def grouped(rows: Sequence[LayerRow], most: int = _MOST_ROWS) -> list[LayerRow]:
    """Put layers of one part of the network together, the deepest parts first, until there are few enough."""
    depth = max((row.name.count(".") for row in rows), default=0)
    found = list(rows)
    while len(found) > most and depth > 0:
        groups: dict[str, list[LayerRow]] = {}
        for row in found:
            groups.setdefault(".".join(row.name.split(".")[:depth]), []).append(row)
        found = [some[0] if len(some) == 1 else _joined(name, some) for name, some in groups.items()]
        depth -= 1
    return found


def _joined(name: str, rows: Sequence[LayerRow]) -> LayerRow:
    return LayerRow(
        name,
        f"{len(rows)} layers",
        rows[-1].output,
        sum(row.parameters for row in rows),
        sum(row.multiply_adds for row in rows),
    )


@look.style()
def network(rows: Sequence[LayerRow], title: str) -> Figure:
    """Draw layers from the input down: name, kind and shape, with bars for parameters and multiply-adds."""
    from matplotlib.patches import FancyBboxPatch

    figure, (boxes, bars) = look.panels(
        title, 1, 2, 540, _ROW * len(rows) + 80, sharey=True, width_ratios=[1.5, 1]
    )
    for place, row in enumerate(rows):
        boxes.add_patch(
            FancyBboxPatch(
                (0.02, place - 0.4), 0.96, 0.8, boxstyle="round,pad=0,rounding_size=0.03",
                facecolor="none", edgecolor=look.QUIET, linewidth=0.8,
            )
        )  # fmt: skip
        if place:
            boxes.annotate(
                "",
                (0.5, place - 0.37),
                (0.5, place - 0.63),
                arrowprops={"arrowstyle": "->", "color": look.QUIET},
            )
        (name,), (kind,) = shortened([row.name], 26), shortened([row.kind], 20)
        boxes.text(0.05, place - 0.14, name, va="center", fontsize=8)
        boxes.text(0.05, place + 0.19, kind, va="center", color=look.QUIET, fontsize=7)
        shape = " x ".join(map(str, row.output)) or "-"
        boxes.text(0.95, place, shape, ha="right", va="center", fontsize=8)
    boxes.set(xlim=(0, 1), ylim=(len(rows) - 0.4, -0.6))
    look.bare(boxes, "layer, kind, shape of what it puts out", "layer")
    for offset, colour, label, values in (
        (-0.18, look.BLUE, "parameters", [row.parameters for row in rows]),
        (0.18, look.ORANGE, "multiply-adds", [row.multiply_adds for row in rows]),
    ):
        places = np.arange(len(rows)) + offset
        bars.barh(places, np.array(values) / max(1, *values), height=0.32, color=colour, label=label)
        for place, value in zip(places, values, strict=True):
            if value:
                bars.text(
                    value / max(1, *values) + 0.02,
                    place,
                    f"{value:,}",
                    va="center",
                    fontsize=7,
                    color=look.QUIET,
                )
    bars.set(xlim=(0, 1.5), xticks=[], xlabel="share of the largest")
    bars.tick_params(left=False)
    figure.legend(loc="outside lower right", ncols=2)
    return figure


@dataclass(frozen=True)
class Units:
    """One column of units.

    Attributes:
        name: Stands below it.
        values: What each unit puts out, (units,).
        labels: Names beside the units; empty: none.
        weights: From the column before to this one, (units, units before); None: no lines are drawn.
    """

    name: str
    values: NDArray[Any]
    labels: Sequence[str] = ()
    weights: NDArray[Any] | None = None


@look.style()
def columns(parts: Sequence[Units], title: str) -> Figure:
    """Draw units as columns, full where they fire most, with the connections that carry most between them.

    A connection carries its weight times what its unit puts out. Blue adds to the next unit, orange takes away.

    Args:
        parts: Columns from the input on; of one with more than 64 units those with the largest outputs are drawn.
        title: What is shown.
    """
    from matplotlib.collections import LineCollection
    from matplotlib.colors import to_rgba

    chosen = [_chosen(part.values) for part in parts]
    heights = [_heights(len(rows)) for rows in chosen]
    tallest = max(np.ptp(y) for y in heights)
    figure, (axes,) = look.panels(title, 1, 1, 120 * len(parts) + 160, 110 + 320 * tallest)
    for place, (part, rows, y) in enumerate(zip(parts, chosen, heights, strict=True)):
        if place and part.weights is not None:
            carried = (
                part.weights[np.ix_(rows, chosen[place - 1])] * parts[place - 1].values[chosen[place - 1]]
            )
            strongest = np.abs(carried).max(initial=0) or 1.0
            order = np.argsort(-np.abs(carried), axis=None)[:_MOST_LINKS]
            to, start = np.unravel_index(order, carried.shape)
            ends = [
                [(place - 1, heights[place - 1][a]), (place, y[b])] for a, b in zip(start, to, strict=True)
            ]
            colours = [
                to_rgba(
                    look.BLUE if value > 0 else look.ORANGE, min(1.0, 0.15 + 0.85 * abs(value) / strongest)
                )
                for value in carried[to, start]
            ]
            axes.add_collection(LineCollection(ends, colors=colours, linewidths=0.9, zorder=1))
        strongest = np.abs(part.values).max(initial=0) or 1.0
        size = 90 if len(rows) <= 20 else 3000 / len(rows) / 2
        axes.scatter(
            [place] * len(rows), y, s=size, c=part.values[rows], cmap=look.signed(), vmin=-strongest,
            vmax=strongest, edgecolors=look.QUIET, linewidths=0.7, zorder=2,
        )  # fmt: skip
        if part.labels and len(rows) <= 20:
            for row, height in zip(rows, y, strict=True):
                (name,) = shortened([part.labels[row]], 18)
                # Names of the first column stand on its left, where no connection is.
                axes.annotate(
                    f"{name} {part.values[row]:.2g}",
                    (place, height),
                    xytext=(9 if place else -9, 0),
                    textcoords="offset points",
                    ha="left" if place else "right",
                    va="center",
                    fontsize=8,
                )
    counts = [
        f"{part.name}\n{len(rows)} of {len(part.values)}" if len(rows) < len(part.values) else part.name
        for part, rows in zip(parts, chosen, strict=True)
    ]
    left = 1.2 if parts[0].labels else 0.4
    reach = tallest / 2 + 0.05
    axes.set(xlim=(-left, len(parts) - 0.2), ylim=(0.5 - reach, 0.5 + reach), yticks=[], ylabel="unit")
    axes.set_xticks(range(len(parts)), counts)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("layer; each column's strongest unit is full")
    return figure


def _chosen(values: NDArray[Any]) -> NDArray[np.int64]:
    found: NDArray[np.int64] = np.sort(np.argsort(-np.abs(values), kind="stable")[:_MOST_UNITS])
    return found


def _heights(count: int) -> NDArray[np.float64]:
    """Return where the units of a column are, the first on top; few of them stay near the middle."""
    reach = min(1.0, 0.1 * (count - 1)) / 2
    return np.linspace(0.5 + reach, 0.5 - reach, count)
