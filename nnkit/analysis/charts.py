"""Charts of runs and sweeps: learning curves, and what a search has tried."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nnkit.analysis.comparison import Row
from nnkit.analysis.log import read_log
from nnkit.errors import UserError
from nnkit.sweep.directory import Sweep
from nnkit.sweep.statistics import summarize
from nnkit.sweep.trials import DONE, PRUNED
from nnkit.ui import figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Lines that have a colour and a name; more cannot be told apart.
_NAMED = 10
_LONGEST_LABEL = 70
_LOSS = "loss"
_LARGEST = 1e300
_PANEL = (640, 480)

# Step -> value.
Curve = Mapping[int, float]


def learning_curves(rows: Sequence[Row], names: Sequence[str], form: str) -> bytes:
    """Draw training (dashed) and validation (solid) against steps, one colour a row, one panel a metric.

    Where a row stands for several seeds, the line is their mean at the steps that all of them have, and the band one
    sample standard deviation to each side.

    Args:
        rows: Runs, or settings, the best first.
        names: What each is called in the legend.
        form: "png" or "svg".

    Returns:
        The picture.

    Raises:
        UserError: If none of them has anything to draw.
    """
    logs = [[read_log(run.path) for run in row.runs] for row in rows]
    monitors = [row.monitor.partition("/")[2] for row in rows if row.monitor]
    wanted = [_LOSS, *dict.fromkeys(name for name in monitors if name != _LOSS)]
    metrics = [name for name in wanted if any(curves_of(log, name) for group in logs for log in group)]
    if not metrics:
        raise UserError("--curves: none of these runs has logged a loss or the metric it is judged by")
    with figures.style():
        figure = figures.new_figure(_PANEL[0] * len(metrics), _PANEL[1])
        panels = figure.subplots(1, len(metrics), squeeze=False)[0]
        for axes, metric in zip(panels, metrics, strict=True):
            # The best last, so that it lies above the others.
            for place in reversed(range(len(rows))):
                _draw_row(axes, place, [curves_of(log, metric) for log in logs[place]])
            axes.set_xlabel("step")
            axes.set_ylabel(metric)
        _legend(figure, names)
        return figures.to_file(figure, form)


def search_history(sweep: Sweep, form: str) -> bytes:
    """Draw the value of each trial in the order in which they were planned, and the best so far.

    Args:
        sweep: The sweep.
        form: "png" or "svg".

    Returns:
        The picture.

    Raises:
        UserError: If no trial has a value.
    """
    from matplotlib.ticker import MaxNLocator

    definition = sweep.definition()
    found: dict[str, list[tuple[int, float]]] = {DONE: [], PRUNED: []}
    for number, entry in enumerate(sweep.settled().values(), 1):
        value = entry.outcome.metrics.get(definition.monitor)
        if entry.outcome.state in found and value is not None and math.isfinite(value):
            found[entry.outcome.state].append((number, value))
    if not found[DONE] and not found[PRUNED]:
        raise UserError(f"--history: no trial of {sweep.path} has ended with {definition.monitor}")
    with figures.style():
        figure = figures.new_figure(*_PANEL)
        axes = figure.subplots()
        best = _best_so_far(found[DONE], definition.mode == "max")
        if best:
            # To the last trial, though that was pruned.
            best.append((max(number for points in found.values() for number, _ in points), best[-1][1]))
            axes.step(*zip(*best, strict=True), where="post", color="C0", label="best so far")
            axes.plot(*zip(*found[DONE], strict=True), "o", color="C0", markersize=4, label="trial")
        if found[PRUNED]:
            axes.plot(*zip(*found[PRUNED], strict=True), "x", color="0.6", markersize=5, label="pruned")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("trial")
        axes.set_ylabel(figures.legible([definition.monitor], _LONGEST_LABEL)[0])
        axes.legend(frameon=False)
        return figures.to_file(figure, form)


def _best_so_far(points: Sequence[tuple[int, float]], higher: bool) -> list[tuple[int, float]]:
    best: list[tuple[int, float]] = []
    for number, value in points:
        so_far = best[-1][1] if best else value
        best.append((number, max(so_far, value) if higher else min(so_far, value)))
    return best


def curves_of(log: Sequence[dict[str, Any]], metric: str) -> dict[str, Curve]:
    """Return the curves of a metric: that of the validation, and that of training over windows or else epochs."""
    windows, epochs, validation = (
        curve(log, split, f"{prefix}/{metric}")
        for split, prefix in (("train", "train"), ("epoch", "train"), ("val", "val"))
    )
    curves = {"train": windows if len(windows) > 1 else epochs, "val": validation}
    return {split: curve for split, curve in curves.items() if curve}


def curve(log: Sequence[dict[str, Any]], split: str, name: str) -> dict[int, float]:
    """Return the values of a key in the lines of a split by their step."""
    found = {}
    for row in log:
        step, value = row.get("step"), row.get(name)
        if row.get("split") != split or type(step) is not int or not isinstance(value, int | float):
            continue
        # What is too large for a float, or none, cannot be drawn.
        if abs(value) < _LARGEST and abs(step) < _LARGEST:
            found[step] = float(value)
    return dict(sorted(found.items()))


def _draw_row(axes: Axes, place: int, runs: Sequence[Mapping[str, Curve]]) -> None:
    named = place < _NAMED
    look: dict[str, Any] = {"color": f"C{place}" if named else "0.8", "linewidth": 1.5 if named else 0.8}
    for split, style in (("train", "--"), ("val", "-")):
        curves = [run[split] for run in runs if split in run]
        shared = sorted(set.intersection(*map(set, curves))) if curves else []
        if not shared:
            # Seeds that have no step in common are lines of one colour.
            for curve in curves:
                axes.plot(list(curve), list(curve.values()), style, alpha=0.6, **look)
            continue
        at = [summarize([curve[step] for curve in curves]) for step in shared]
        means = [one.mean for one in at]
        marker = "o" if len(shared) == 1 else ""
        axes.plot(shared, means, style, marker=marker, **look)
        if len(curves) > 1 and named:
            spread = [one.deviation or 0.0 for one in at]
            low = [mean - by for mean, by in zip(means, spread, strict=True)]
            high = [mean + by for mean, by in zip(means, spread, strict=True)]
            axes.fill_between(shared, low, high, color=look["color"], alpha=0.15, linewidth=0)


def _legend(figure: Figure, names: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    shown = figures.legible(names[:_NAMED], _LONGEST_LABEL)
    lines = [Line2D([], [], color=f"C{place}", label=name) for place, name in enumerate(shown)]
    more = f"   grey: {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    title = f"dashed: training   solid: validation{more}"
    figure.legend(handles=lines, title=title, loc="outside lower center", frameon=False, fontsize="small")
