"""A sample as a reader knows it: a picture, a text, or the values of its columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nnkit.tasks.drawing import visible
from nnkit.tasks.review import text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nnkit.batches import Batch
    from nnkit.ui.figures import Pixels

# Columns of a row, and letters of a text, that are shown.
_COLUMNS, _LETTERS = 8, 240


def picture_of(sample: Batch, data: Any) -> Pixels | None:
    """Return the picture of a batch of one; None where it is none."""
    inputs = sample.network_inputs()[0]
    if inputs is None or inputs.ndim != 4:
        return None
    return visible(inputs[0].float().cpu().numpy(), data.preprocessing)


def described(sample: Batch, data: Any) -> str:
    """Return a batch of one as text: its tokens, its values by column, or its number in its part."""
    inputs = sample.network_inputs()[0]
    number = f"sample {int(sample.indices[0]) + 1}"
    if inputs is None or inputs.ndim == 4 or (inputs.is_floating_point() and inputs.ndim == 3):
        return number
    if inputs.is_floating_point():
        values = _by_column(inputs[0].tolist(), data)
        more = ", ..." if len(values) > _COLUMNS else ""
        return f"{number}: {', '.join(values[:_COLUMNS])}{more}"
    text = text_of(data, inputs[0].tolist())
    return text if len(text) <= _LETTERS else f"{text[:_LETTERS]} ..."


def _by_column(row: Sequence[float], data: Any) -> list[str]:
    """Return what a row says, column by column, as far as its encoding can be undone."""
    names = data.input_names()[: len(row)]
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        places.setdefault(name, []).append(place)
    found = []
    for column in data.preprocessing.get("columns", ()):
        own = places.get(column["name"])
        if not own:
            continue
        if column["kind"] == "number":
            found.append(f"{column['name']} {row[own[0]] * column['std'] + column['mean']:.4g}")
        elif column["kind"] == "category":
            hot = max(range(len(own)), key=lambda place: row[own[place]])
            known = column["categories"]
            found.append(f"{column['name']} {known[hot] if hot < len(known) else 'other'}")
    return found or [f"{name} {value:+.2f}" for name, value in zip(names, row, strict=False)]
