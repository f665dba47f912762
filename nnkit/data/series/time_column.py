"""The column of a table that says when: found by its content or its name, its order and its steps looked at."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from nnkit.data.reading.frame import Column, Numbers, Texts
from nnkit.errors import UserError

_logger = logging.getLogger("nnkit")

_NAMES = frozenset({"time", "date", "datetime", "timestamp", "year"})
# Beside the forms of ISO 8601; where two of them fit, that which puts the rows in order is the right one.
_DAYS = ("%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%Y/%m/%d", "%Y-%m", "%Y/%m", "%b %Y", "%Y%m%d")
_FORMS = ("iso", *(day + clock for clock in ("", " %H:%M", " %H:%M:%S") for day in _DAYS))
# Months differ in length by less than this, and a day left out by more.
_REGULAR = (0.5, 1.5)


def find_time(columns: Mapping[str, Column], by_name: bool) -> tuple[str, NDArray[np.float64]] | None:
    """Return name and values of the column that holds the time, None if there is none.

    That is the first column of dates, or else the first column of numbers called time, date, datetime, timestamp or
    year.

    Args:
        columns: Columns of a table.
        by_name: Whether a column of numbers may be the time.

    Returns:
        Seconds, or the column's own numbers; NaN where nothing stands.
    """
    for name, column in columns.items():
        if isinstance(column, Texts):
            times = _dates(column)
            if times is not None:
                return name, times
    for name, column in columns.items():
        if by_name and isinstance(column, Numbers) and name.casefold() in _NAMES:
            return name, column.values
    return None


def _dates(column: Texts) -> NDArray[np.float64] | None:
    """Return the dates a column holds in seconds, None if one of its texts is no date."""
    readings = []
    for form in _FORMS:
        try:
            seconds = [_seconds(text, form) for text in column.values]
        except ValueError:
            continue
        if seconds:
            readings.append(np.array([*seconds, np.nan])[column.codes])
    return next(
        (times for times in readings if not len(_backwards(times))), readings[0] if readings else None
    )


def _seconds(text: str, form: str) -> float:
    found = datetime.fromisoformat(text) if form == "iso" else datetime.strptime(text, form)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _backwards(times: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.flatnonzero(np.diff(times) < 0)


def check_order(title: str, name: str, times: NDArray[np.float64], column: Column) -> None:
    """Refuse rows that are not in the order of time.

    Args:
        title: What messages call the table.
        name: The column that holds the time.
        times: Its values from `find_time`.
        column: The column as it stands in the table.

    Raises:
        UserError: If a row is earlier than the one before it; names the first and says how many.
    """
    wrong = _backwards(times)
    if not len(wrong):
        return
    before, row = int(wrong[0]) + 1, int(wrong[0]) + 2
    more = f", and so on in {len(wrong):,} places" if len(wrong) > 1 else ""
    turned = len(wrong) == len(times) - 1
    advice = "the newest row stands first: turn the file round" if turned else "sort the rows"
    way_out = "leave it out of the file" if isinstance(column, Texts) else "name the channels in data.columns"
    raise UserError(
        f"{title} is not in the order of time: row {row:,} ({_cell(column, row)!r} in column {name!r}) is earlier "
        f"than row {before:,} ({_cell(column, before)!r}){more}\n    {advice}; if {name!r} is no time, {way_out}"
    )


def say_unequal(title: str, name: str, times: NDArray[np.float64], column: Column) -> None:
    """Warn of steps of time that differ; names the first and says how many. Arguments as for `check_order`."""
    steps = np.diff(times)
    usual = float(np.median(steps)) if len(steps) else 0.0
    odd = np.flatnonzero((steps < _REGULAR[0] * usual) | (steps > _REGULAR[1] * usual))
    if len(odd):
        row = int(odd[0]) + 1
        _logger.warning(
            "%s: the steps of time in column %r are not equal; the first other one is from row %d (%s) to row %d (%s), "
            "of %s in all; each row counts as one step",
            *(title, name, row, _cell(column, row), row + 1, _cell(column, row + 1), f"{len(odd):,}"),
        )


def _cell(column: Column, row: int) -> str:
    if isinstance(column, Numbers):
        return f"{column.values[row - 1]:.15g}"
    code = column.codes[row - 1]
    return column.values[code] if code >= 0 else ""
