"""Norms of each layer's gradients over a training, where `callbacks=gradients` has recorded them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nnkit.analysis.inspection.recorded import Recorded
from nnkit.analysis.log import read_log
from nnkit.analysis.pages import look
from nnkit.callbacks.gradients import PREFIX, SPLIT
from nnkit.ui.figures import shortened

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nnkit.analysis.inspection.parts import Inspection
from nnkit.analysis.pages.parts import Section

# Lines with a colour each, width of the figure in pixels and letters of a name.
_MOST, _WIDTH, _LETTERS = 12, 460, 28


def read(directory: Path) -> Recorded | None:
    """Return the norms that a run has recorded, (layer, step); None where it has none.

    Args:
        directory: The run directory.

    Raises:
        UserError: If its log cannot be read.
    """
    rows = [
        row for row in read_log(directory) if row.get("split") == SPLIT and isinstance(row.get("step"), int)
    ]
    layers = list(dict.fromkeys(name for row in rows for name in row if name.startswith(PREFIX)))
    if not layers:
        return None
    values = np.array([[_number(row.get(layer)) for row in rows] for layer in layers])
    steps = [str(row["step"]) for row in rows]
    names = [layer.removeprefix(PREFIX).removeprefix("body.") for layer in layers]
    return Recorded("gradient norms", values, ("layer", "step"), {"layer": names, "step": steps})


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def grouped(norms: Mapping[str, Any], most: int = _MOST) -> dict[str, Any]:
    """Put layers of one part of the network together, the deepest parts first, until there are few enough.

    Args:
        norms: By the layer's name, (steps,) each.
        most: Layers to keep.

    Returns:
        The norm of all gradients of each part: the root of the sum of the squares.
    """
    depth, found = max(name.count(".") for name in norms), dict(norms)
    while len(found) > most and depth > 0:
        squares: dict[str, Any] = {}
        for name, values in found.items():
            part = ".".join(name.split(".")[:depth])
            squares[part] = squares.get(part, 0) + np.square(values)
        found = {name: np.sqrt(values) for name, values in squares.items()}
        depth -= 1
    return found


def add(found: Inspection, section: Section, norms: Recorded | None) -> None:
    """Show the norms, where there are some."""
    if norms is None:
        return
    found.arrays["weights/gradient norms"] = norms
    parts = grouped(dict(zip(norms.along("layer"), norms.values, strict=True)))
    section.figures["gradient norms"] = _figure(parts, [int(step) for step in norms.along("step")])


@look.style()
def _figure(parts: Mapping[str, Any], steps: Sequence[int]) -> Figure:
    height = 270 + 16 * -(-len(parts) // 2)
    figure, (axes,) = look.panels("norms of gradients over training", 1, 1, _WIDTH, height)
    for number, (name, values) in enumerate(
        zip(shortened(list(parts), _LETTERS), parts.values(), strict=True)
    ):
        # A logarithm has no place for what is zero or not finite.
        shown = np.where(np.isfinite(values) & (values > 0), values, np.nan)
        line = "--" if number >= len(look.CYCLE) else "-"
        axes.plot(steps, shown, line, linewidth=1.2, label=name, marker="" if len(steps) > 1 else "o")
    axes.set(xlabel="step", ylabel="norm", yscale="log")
    figure.legend(loc="outside lower center", ncols=2)
    return figure
