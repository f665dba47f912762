"""Figures of a report: learning curves, confusion, calibration, predicted over true values, forecasts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nnkit.analysis.pages import look
from nnkit.analysis.pages.charts import LineSeries, lines
from nnkit.ui.figures import shortened

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nnkit.analysis.report.statistics import Calibration

# Points of a curve and of a cloud: more are not seen, and make a page large.
MOST_POINTS, MOST_DOTS = 400, 500
# Classes whose names are written, and whose counts are.
_NAMED, _COUNTED = 40, 20
_WIDTH, _SIDE, _LETTERS = 460, 340, 14
# Letters of a name beside which there is room for another one.
_SHORT = 22
_NAMES = {"train": "training", "val": "validation"}


def curves(parts: Mapping[str, Mapping[int, float]], name: str, best: int | None) -> Figure:
    """Draw a metric over the steps of a training.

    Args:
        parts: Values by step, by split.
        name: The metric.
        best: Step of the checkpoint that was chosen, where a thin line stands; None: nowhere.
    """
    drawn = []
    for split, points in parts.items():
        # The last point is where it ended.
        places = np.unique(np.linspace(0, len(points) - 1, min(len(points), MOST_POINTS)).round().astype(int))
        steps, values = np.array([*points]), np.array([*points.values()])
        label = _NAMES.get(split, split)
        drawn.append(LineSeries(label, steps[places].tolist(), values[places]))
    marked = f"{name}; the thin line is the best checkpoint" if best is not None else name
    return lines(drawn, marked, "step", name, split=best)


@look.style()
def curves_of_settings(parts: Sequence[LineSeries], title: str, metric: str) -> Figure:
    """Draw a metric over the steps, a line for each setting, whose names may be long."""
    across = 1 if max(len(part.label) for part in parts) > _SHORT else 2
    figure, (axes,) = look.panels(title, 1, 1, _WIDTH, 250 + 22 * -(-len(parts) // across))
    for part in parts:
        axes.plot(part.steps, part.values, label=shortened([part.label], 3 * _SHORT)[0])
    axes.set(xlabel="step", ylabel=metric)
    figure.legend(loc="outside lower left", ncols=across)
    return figure


@look.style()
def confusion(counts: NDArray[Any], names: Sequence[str], title: str) -> Figure:
    """Draw how often each class is taken for each; a row is shaded by the shares of its samples.

    Args:
        counts: (classes, classes), rows are true classes.
        names: Name of each class.
        title: What is counted.
    """
    classes = len(counts)
    side = float(np.clip(classes * 34, 200, _SIDE))
    figure, (axes,) = look.panels(title, 1, 1, side + 120, side + 120)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap=look.shares(), vmin=0, vmax=1)
    if classes <= _NAMED:
        written = shortened(names, _LETTERS)
        size = 9 if classes <= 15 else 6
        upright = 90 if max(map(len, written)) * 6 > side / classes else 0
        axes.set_xticks(range(classes), written, rotation=upright, fontsize=size)
        axes.set_yticks(range(classes), written, fontsize=size)
    else:
        axes.set(xticks=[], yticks=[])
    axes.set(xlabel="predicted", ylabel="true")
    if classes <= _COUNTED:
        small = 8 if classes <= 12 else 6
        for row, column in np.argwhere(counts > 0):
            colour = "white" if shares[row, column] > 0.5 else look.INK
            place = (column, row)
            axes.text(
                *place, f"{counts[row, column]}", color=colour, ha="center", va="center", fontsize=small
            )
    return figure


@look.style()
def reliability(found: Calibration, title: str, vertical: str) -> Figure:
    """Draw how often answers of a probability are right, and how many answers have it.

    Args:
        found: The bins.
        title: What is drawn.
        vertical: What the share is of.
    """
    figure, (upper, lower) = look.panels(title, 2, 1, 380, 360, sharex=True, height_ratios=[3, 1])
    bins = len(found.counts)
    middle = (np.arange(bins) + 0.5) / bins
    there = found.counts > 0
    upper.bar(middle[there], found.accuracy[there], width=0.9 / bins, color=look.BLUE)
    upper.plot([0, 1], [0, 1], "--", color=look.QUIET, linewidth=1)
    upper.set(ylabel=vertical, xlim=(0, 1), ylim=(0, 1))
    lower.bar(middle, found.counts / max(1, found.counts.sum()), width=0.9 / bins, color=look.FAINT)
    lower.set(xlabel="probability", ylabel="share")
    return figure


@look.style()
def predicted_over_true(truth: NDArray[Any], predicted: NDArray[Any], name: str) -> Figure:
    """Draw predicted over true values, (samples,) each, with the line on which they agree."""
    shown = np.unique(np.linspace(0, len(truth) - 1, min(len(truth), MOST_DOTS)).round().astype(int))
    figure, (axes,) = look.panels(f"{name}: predicted over true", 1, 1, 360, 360)
    axes.axline((float(truth.mean()), float(truth.mean())), slope=1, color=look.QUIET, linewidth=1)
    axes.plot(
        truth[shown], predicted[shown], "o", color=look.BLUE, markersize=3, alpha=0.6, markeredgewidth=0
    )
    axes.set(xlabel=f"true {name}", ylabel=f"predicted {name}")
    return figure


@look.style()
def residuals(truth: NDArray[Any], predicted: NDArray[Any], name: str) -> Figure:
    """Draw how predicted values differ from true ones: over the predicted value, and how often."""
    error = predicted - truth
    shown = np.unique(np.linspace(0, len(truth) - 1, min(len(truth), MOST_DOTS)).round().astype(int))
    figure, (left, right) = look.panels(
        f"{name}: predicted minus true", 1, 2, _WIDTH, 300, sharey=True, width_ratios=[2, 1]
    )
    left.axhline(0, color=look.QUIET, linewidth=1)
    left.plot(
        predicted[shown], error[shown], "o", color=look.BLUE, markersize=3, alpha=0.6, markeredgewidth=0
    )
    left.set(xlabel=f"predicted {name}", ylabel="predicted minus true")
    right.hist(error, bins=30, orientation="horizontal", color=look.BLUE)
    right.axhline(float(error.mean()), color=look.ORANGE, linewidth=1)
    right.set(xlabel="samples; mean orange", ylabel="")
    return figure


@look.style()
def over_horizon(values: NDArray[Any], unit: str) -> Figure:
    """Draw the mean absolute error of each step of a horizon, (steps,)."""
    figure, (axes,) = look.panels("error over the horizon", 1, 1, _WIDTH, 250)
    mark = "o-" if len(values) < MOST_POINTS // 10 else "-"
    axes.plot(range(1, len(values) + 1), values, mark, color=look.BLUE, markersize=3)
    axes.set(xlabel="step of the horizon", ylabel=unit)
    axes.set_ylim(0, 1.15 * float(values.max()) or 1.0)
    return figure
