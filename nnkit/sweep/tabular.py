"""Columns of values, shown as wide as there is room or written as CSV, JSON and Markdown."""

from __future__ import annotations

import csv
import io
import json
import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from nnkit.sweep.statistics import Summary
from nnkit.ui.report import number, show, table
from nnkit.ui.terminal import is_terminal, printable

# What a table puts between two columns, and at its edges.
_GAP, _EDGES = 3, 2
_PIPE_WIDTH = 160


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        header: Its name.
        cells: Its values: texts, numbers, summaries over seeds, None for what is missing.
        optional: Whether it may be left out where there is no room.
        only_shown: Whether files go without it, as they say the same otherwise.
        single: Whether its summaries are of one value each, which is all that files hold of them.
    """

    header: str
    cells: Sequence[Any]
    optional: bool = False
    only_shown: bool = False
    single: bool = False


def _text(value: Any) -> str:
    """Return a cell as a reader wants it: a metric with four digits and its standard deviation, a setting as it is."""
    if value is None:
        return "-"
    if isinstance(value, Summary):
        spread = "" if value.deviation is None else f" ± {value.deviation:.2g}"
        return number(value.mean) + spread
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def compact(typed: str) -> str:
    """Return a value as it was typed, a long number with four digits."""
    try:
        return f"{float(typed):.4g}" if len(typed) > 8 else typed
    except ValueError:
        return typed


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Return for each dotted key its last part, or the whole key where two have the same last part."""
    last = [key.rpartition(".")[2] for key in keys]
    return {key: name if last.count(name) == 1 else key for key, name in zip(keys, last, strict=True)}


def interval(value: Summary | None) -> str:
    """Return the interval of the mean as a cell."""
    if value is None or value.low is None or value.high is None:
        return "-"
    return f"{number(value.low)} .. {number(value.high)}"


def show_columns(columns: Sequence[Column], title: str = "") -> list[str]:
    """Print columns as a table; those that are optional and have no room are left out.

    Returns:
        The names of those that were left out.
    """
    width = shutil.get_terminal_size().columns if is_terminal() else _PIPE_WIDTH
    kept, optional = list(columns), [column for column in columns if column.optional]
    while optional and _EDGES - _GAP + sum(_GAP + _width(column) for column in kept) > width:
        kept.remove(optional.pop())
    show(table([column.header for column in kept], texts_of(kept), title))
    return [column.header for column in columns if column not in kept]


def _width(column: Column) -> int:
    return max(map(len, [column.header, *map(_text, column.cells)]))


def texts_of(columns: Sequence[Column]) -> Iterator[list[str]]:
    """Yield the rows of columns as a reader wants them."""
    return (list(map(_text, row)) for row in zip(*(column.cells for column in columns), strict=True))


def to_csv(columns: Sequence[Column]) -> str:
    """Return columns as CSV with all digits; a summary is four columns: mean, deviation, and the interval's ends."""
    spread = [one for column in columns if not column.only_shown for one in _spread(column)]
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(column.header for column in spread)
    for row in zip(*(column.cells for column in spread), strict=True):
        writer.writerow("" if cell is None else _csv_cell(cell) for cell in row)
    return written.getvalue()


def _csv_cell(cell: Any) -> Any:
    if isinstance(cell, str):
        return printable(cell)
    return cell if isinstance(cell, int | float) else json.dumps(cell, ensure_ascii=False)


def _spread(column: Column) -> Iterator[Column]:
    if not any(isinstance(cell, Summary) for cell in column.cells):
        yield column
        return
    parts = {"": "mean"}
    if not column.single:
        parts |= {" deviation": "deviation", " low": "low", " high": "high"}
    for ending, name in parts.items():
        cells = [getattr(cell, name) if isinstance(cell, Summary) else None for cell in column.cells]
        yield Column(column.header + ending, cells)


def to_markdown(columns: Sequence[Column]) -> str:
    """Return columns as a table of Markdown."""
    rows = [[column.header for column in columns], ["---"] * len(columns), *texts_of(columns)]
    cells = ([printable(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows)
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)


def to_rows(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Return columns as one mapping a row, of plain data that JSON can hold."""
    chosen = [column for column in columns if not column.only_shown]
    return [
        {
            column.header: plain_cell(cell.mean if column.single and isinstance(cell, Summary) else cell)
            for column, cell in zip(chosen, row, strict=True)
        }
        for row in zip(*(column.cells for column in chosen), strict=True)
    ]


def plain_cell(cell: Any) -> Any:
    """Return a cell as JSON can hold it, which has no word for what is not finite."""
    if isinstance(cell, Summary):
        parts = {"mean": cell.mean, "deviation": cell.deviation, "low": cell.low, "high": cell.high}
        return {**{name: plain_cell(value) for name, value in parts.items()}, "count": cell.count}
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell
