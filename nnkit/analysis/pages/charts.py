"""Figures of bars and lines: scores, contributions, distributions, forecasts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len

from nnkit.analysis.pages import look
from nnkit.ui.figures import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Bars that are drawn, height of one and width of a figure in pixels, letters of a name.
_MOST, _BAR, _WIDTH, _LETTERS = 12, 20, 460, 24
# Points of a line that are marked each, and steps of a chart.
_NAMED, _MOST_STEPS = 40, 60


@look.style()
def bars(
    names: Sequence[str], values: NDArray[Any], title: str, unit: str, marked: Sequence[int] = ()
) -> Figure:
    """Draw numbers as bars, the largest on top: blue above zero, orange below.

    Args:
        names: What each is of.
        values: The numbers.
        title: What they are.
        unit: What the horizontal axis counts.
        marked: Places of bars whose names are followed by a mark, as the true classes are.
    """
    order = np.argsort(-np.abs(values), kind="stable")[:_MOST]
    if not (values < 0).any():
        order = np.argsort(-values, kind="stable")[:_MOST]
    figure, (axes,) = look.panels(title, 1, 1, _WIDTH, _BAR * len(order) + 90)
    shown = values[order]
    axes.barh(range(len(order)), shown, color=[look.BLUE if value >= 0 else look.ORANGE for value in shown])
    written = shortened([names[place] for place in order], _LETTERS)
    ticks = [
        f"{name} \u2713" if place in marked else name for name, place in zip(written, order, strict=True)
    ]
    axes.set_yticks(range(len(order)), ticks)
    axes.invert_yaxis()
    left_out = f"; {len(order)} of {len(values)}" if len(order) < len(values) else ""
    axes.set(xlabel=f"{unit}{left_out}", ylabel="")
    for place, value in enumerate(shown):
        axes.annotate(
            f"{value:.3g}",
            (max(value, 0), place),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            color=look.QUIET,
        )
    axes.margins(x=0.15)
    return figure


@look.style()
def distributions(parts: Mapping[str, NDArray[Any]], title: str, unit: str) -> Figure:
    """Draw for each array its range (thin), the middle 90 % (wide), the middle half (full) and its median (mark).

    Args:
        parts: Numbers by name.
        title: What they are.
        unit: What the horizontal axis counts.
    """
    names = list(parts)
    figure, (axes,) = look.panels(title, 1, 1, _WIDTH, _BAR * len(names) + 90)
    for place, values in enumerate(parts.values()):
        low, five, quarter, median, three, ninety, high = np.quantile(
            values, [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1]
        )
        axes.plot([low, high], [place, place], color=look.FAINT, linewidth=1)
        axes.plot([five, ninety], [place, place], color=look.BLUE, linewidth=3, solid_capstyle="butt")
        axes.plot([quarter, three], [place, place], color=look.BLUE, linewidth=8, solid_capstyle="butt")
        axes.plot([median], [place], "|", color=look.ORANGE, markersize=9, markeredgewidth=1.5)
    axes.set_yticks(range(len(names)), shortened(names, _LETTERS + 8))
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel(f"{unit}: range, 90 %, 50 %, median")
    return figure


@look.style()
def health(rows: Sequence[tuple[str, int, int, int]], title: str) -> Figure:
    """Draw for each layer the share of its units that are dead (orange), saturated (green) and neither (blue).

    Args:
        rows: Name of each layer, how many units it has, and how many of them are dead and saturated.
        title: What they were found on.
    """
    figure, (axes,) = look.panels(title, 1, 1, _WIDTH, _BAR * len(rows) + 110)
    names = [f"{name} ({count})" for name, count, _, _ in rows]
    counts = np.array([row[1:] for row in rows], dtype=float)
    shares = counts[:, 1:] / counts[:, :1]
    parts = {"dead": shares[:, 0], "saturated": shares[:, 1], "neither": 1 - shares.sum(1)}
    left = np.zeros(len(rows))
    for (label, part), colour in zip(parts.items(), (look.ORANGE, look.GREEN, look.BLUE), strict=True):
        axes.barh(range(len(rows)), part, left=left, color=colour, label=label)
        left = left + part
    axes.set_yticks(range(len(rows)), shortened(names, _LETTERS + 8))
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set(xlabel="share of the layer's units", xlim=(0, 1))
    figure.legend(loc="outside lower center", ncols=3)
    return figure


class LineSeries(NamedTuple):
    """A series of a chart.

    Attributes:
        label: What it is.
        steps: Where its points are.
        values: Their numbers.
    """

    label: str
    steps: Sequence[float]
    values: NDArray[Any]


@look.style()
def lines(
    parts: Sequence[LineSeries], title: str, horizontal: str, vertical: str, split: float | None = None
) -> Figure:
    """Draw lines over steps.

    Args:
        parts: The lines.
        title: What they are.
        horizontal: Name of the steps.
        vertical: Unit of the values.
        split: Where a thin vertical line stands, as between past and future; None: nowhere.
    """
    from matplotlib.ticker import MaxNLocator

    figure, (axes,) = look.panels(title, 1, 1, _WIDTH, 270)
    for part in parts:
        shown = np.where(np.isfinite(part.values), part.values, np.nan)
        axes.plot(
            part.steps, shown, "o-" if len(part.steps) < _NAMED else "-", markersize=3, label=part.label
        )
    if split is not None:
        axes.axvline(split, color=look.FAINT, linewidth=1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel=horizontal, ylabel=vertical)
    if len(parts) > 1:
        figure.legend(loc="outside lower center", ncols=3)
    return figure


@look.style()
def steps(names: Sequence[str], values: NDArray[Any], title: str, unit: str) -> Figure:
    """Draw a bar for each of the last 60 steps of a sequence, its name below it: blue above zero, orange below.

    Args:
        names: Name of each step.
        values: Their numbers.
        title: What they are.
        unit: What the vertical axis counts.
    """
    begin = max(0, len(names) - _MOST_STEPS)
    names, values = names[begin:], values[begin:]
    figure, (axes,) = look.panels(title, 1, 1, max(_WIDTH, 17 * len(names)), 230)
    places = np.arange(len(values))
    axes.bar(places, values, color=[look.BLUE if value >= 0 else look.ORANGE for value in values])
    axes.set_xlim(-0.6, len(names) - 0.4)
    name_steps(axes, names)
    axes.axhline(0, color=look.FAINT, linewidth=0.8)
    axes.set(xlabel=f"step; the last {len(names)} of {begin + len(names)}" if begin else "step", ylabel=unit)
    return figure


def name_steps(axes: Axes, names: Sequence[str], every: int = 1) -> None:
    """Write the names of steps below an axis, upright where they are longer than two letters."""
    shown = shortened([*names[::every]], 14)
    upright = 90 if any(cell_len(name) > 2 for name in shown) and len(shown) > 3 else 0
    axes.set_xticks(range(0, len(names), every), shown, rotation=upright)


@look.style()
def scatter(
    places: NDArray[Any], names: Sequence[str], title: str, shares: Sequence[float], marked: int
) -> Figure:
    """Draw named points in two dimensions.

    Args:
        places: (points, 2).
        names: Name of each.
        title: What they are.
        shares: How much of the variance each direction has.
        marked: How many of the first points stand out.
    """
    figure, (axes,) = look.panels(title, 1, 1, _WIDTH, 400)
    axes.plot(*places[marked:].T, "o", color=look.FAINT, markersize=4)
    axes.plot(*places[:marked].T, "o", color=look.BLUE, markersize=5)
    written = shortened(names, 14)
    for number, (place, offset) in enumerate(zip(places, _beside(places, written), strict=True)):
        axes.annotate(
            written[number],
            place,
            xytext=offset,
            textcoords="offset points",
            ha="left" if offset[0] > 0 else "right",
            color=look.INK if number < marked else look.QUIET,
        )
    labels = [f"direction {number}, {share:.0%} of the variance" for number, share in enumerate(shares, 1)]
    axes.set(xlabel=labels[0], ylabel=labels[1])
    return figure


def _beside(places: NDArray[Any], names: Sequence[str]) -> list[tuple[int, int]]:
    """Return where the name of each point stands, in points from it, so that few lie upon another."""
    reach = np.ptp(places, axis=0)
    spots = (places - places.min(axis=0)) / np.where(reach > 0, reach, 1) * np.array([250, 220])
    boxes: list[tuple[float, float, float, float]] = []
    found = []
    for (across, up), name in zip(spots.tolist(), names, strict=True):
        width = 5.5 * cell_len(name)
        options = {}
        for right, above in ((3, 3), (3, -10), (-3, 3), (-3, -10)):
            left = across + right - (width if right < 0 else 0)
            options[right, above] = left, up + above, left + width, up + above + 8
        chosen = next(
            (one for one, box in options.items() if not any(_meet(box, other) for other in boxes)), (3, 3)
        )
        boxes.append(options[chosen])
        found.append(chosen)
    return found


def _meet(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
