"""The time of a series: which columns hold it, whether rows are in its order, and how it goes on after the last."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnkit.data.reading.cells import Column, Datetimes, Numbers, Texts
from nnkit.data.reading.columns import Frame
from nnkit.data.reading.date_parts import days_since_1970
from nnkit.data.reading.dates import (
    DateForm,
    date_form,
    digit_seconds,
    epoch_seconds,
    epoch_unit,
    find_clock_form,
    find_date_form,
    names_time,
    seconds,
)
from nnkit.data.reading.table_file import TableFile, as_strings
from nnkit.data.reading.values import MOSTLY
from nnkit.data.series.loaded import SeriesOptions
from nnkit.data.series.steps import REGULAR, Seconds, Step, months_of, odd_steps
from nnkit.errors import UserError

_logger = logging.getLogger("nnkit")

Codes = NDArray[np.int64]

# Columns of numbers that are the time without being dates: a year, or seconds of an experiment.
_NAMES = frozenset({"time", "date", "datetime", "timestamp", "year"})
_ROLES = {
    **{"year": ("year", "yr", "年"), "quarter": ("quarter", "qtr"), "month": ("month", "mon", "mo", "月")},
    **{"day": ("day", "dom", "日"), "hour": ("hour", "hr", "时"), "minute": ("minute", "min")},
    "second": ("second", "sec"),
}
_ROLE_OF = {name: role for role, names in _ROLES.items() for name in names}
_LATER = {"hour": 3600, "minute": 60, "second": 1}
_DAY = 86_400
_YEARS = (1000, 3000)
# Rows that show how dates are written, where the user or an earlier run has told it.
_SAMPLE = 1_000


@dataclass(frozen=True)
class Time:
    """The time of each row.

    Attributes:
        columns: Names of the columns that it was read from.
        values: Seconds since 1970 of dates, or the column's own numbers, (rows,).
        is_date: Whether they are dates.
        form: How the dates are written; None where that need not be known.
    """

    columns: tuple[str, ...]
    values: Seconds
    is_date: bool
    form: DateForm | None = None

    @property
    def title(self) -> str:
        """What messages call it."""
        listed = " and ".join(map(repr, self.columns))
        return f"column {listed}" if len(self.columns) == 1 else f"columns {listed}"

    def learnt(self) -> dict[str, Any]:
        """Return what is to be known of other files of the same kind, as plain data."""
        return {
            "columns": list(self.columns),
            "is_date": self.is_date,
            "form": asdict(self.form) if self.form else None,
        }


def find_time(table: TableFile, frame: Frame, options: SeriesOptions) -> Time | None:
    """Return the time of the rows, None if no column holds it.

    That is, in this order: a column of dates, with the clock times beside it; numbers that count from 1970; year and
    month in columns of their own, with what else there is of day, hour, minute and second; a column of numbers that is
    called time, date, datetime, timestamp or year. A column that is named for something else is none of them.

    Args:
        table: The table.
        frame: Its columns.
        options: What is known.

    Raises:
        UserError: If the column that is named holds no times, or a row has none, or none has the `date_format`.
    """
    columns = {
        name: column
        for name, column in frame.columns.items()
        if name == options.time or name not in options.named
    }
    if options.learnt is not None:
        names = tuple(options.learnt["columns"])
    elif options.time is None:
        names = _choose(columns, options.columns is None)
    elif options.time == "none" and "none" not in columns:
        names = ()
    else:
        names = _with_clock(options.time, columns)
    in_parts = len(names) > 1 and not isinstance(columns.get(names[0]), Datetimes)
    if options.date_format and (not names or in_parts):
        raise UserError(
            f"{table.title}: no column holds dates of the form data.date_format={options.date_format}\n"
            "    data.time=COLUMN names the one that does; without dates leave data.date_format out"
        )
    if not names or not set(names) <= set(columns):
        return None
    found = _read(table, frame.columns, names, options)
    without = np.flatnonzero(np.isnan(found.values))
    if len(without):
        row = int(without[0]) + 1
        more = f" ({len(without):,} such rows)" if len(without) > 1 else ""
        raise UserError(
            f"{table.title}: row {row:,} has no time: {cell(table, names, row)!r} in {found.title}{more}\n"
            "    fill it in or leave the row out; data.time=COLUMN names another column, data.time=none takes the rows "
            "in the order of the file"
        )
    return found


def _choose(columns: Mapping[str, Column], by_name: bool) -> tuple[str, ...]:
    dates = next((name for name, column in columns.items() if isinstance(column, Datetimes)), None)
    if dates is not None:
        return _with_clock(dates, columns)
    numbers = {name: column for name, column in columns.items() if isinstance(column, Numbers)}
    for name, column in numbers.items():
        if epoch_unit(column.values, name) or (names_time(name) and digit_seconds(column.values) is not None):
            return (name,)
    if not by_name:
        return ()
    parts = _calendar(columns)
    return parts or tuple(name for name in numbers if name.casefold() in _NAMES)[:1]


def _with_clock(date: str, columns: Mapping[str, Column]) -> tuple[str, ...]:
    """Return a column of dates with the column of its clock times or hours, if there is one."""
    column = columns[date]
    if not isinstance(column, Datetimes) or (column.values % _DAY > 0).any():
        return (date,)
    for name, other in columns.items():
        if isinstance(other, Texts) and other.values and find_clock_form(other.values):
            return date, name
    repeats = len(np.unique(column.values)) < len(column.values)
    for name, other in columns.items() if repeats else ():
        if _ROLE_OF.get(name.casefold()) == "hour" and _whole_within(other, 0, 24):
            return date, name
    return (date,)


def _calendar(columns: Mapping[str, Column]) -> tuple[str, ...]:
    """Return the columns of year, month and so on, empty without the first two."""
    roles: dict[str, str] = {}
    for name in columns:
        roles.setdefault(_ROLE_OF.get(name.casefold().strip(), ""), name)
    known = [roles[role] for role in _ROLES if role in roles]
    if "year" not in roles or not _whole_within(columns[roles["year"]], *_YEARS):
        return ()
    month = roles.get("month") or roles.get("quarter")
    if month is None:
        return ()
    is_number = _whole_within(columns[month], 1, 12)
    return tuple(known) if is_number or _month_numbers(columns[month]) is not None else ()


def _whole_within(column: Column, low: float, high: float) -> bool:
    if not isinstance(column, Numbers):
        return False
    values = column.values
    return bool(((values >= low) & (values <= high) & (values == np.floor(values))).all())


def _month_numbers(column: Column) -> Seconds | None:
    """Return the month of each row, by its number or its name; None where it has neither."""
    if isinstance(column, Numbers):
        return column.values
    names = [f"{name} 2000" for name in column.values] if isinstance(column, Texts) else []
    form = find_date_form(names)
    if form is None or not isinstance(column, Texts):
        return None
    return np.append(months_of(np.nan_to_num(seconds(names, form)))[0] % 12 + 1, np.nan)[column.codes]


def _read(
    table: TableFile, columns: Mapping[str, Column], names: tuple[str, ...], options: SeriesOptions
) -> Time:
    first = columns[names[0]]
    if len(names) > 1 and not isinstance(first, Datetimes):
        return Time(
            names, _from_parts({_ROLE_OF[name.casefold().strip()]: columns[name] for name in names}), True
        )
    learnt = options.learnt or {}
    time = _one_column(table, names[0], first, options.date_format, learnt.get("form"))
    if len(names) == 1:
        return time
    clock = columns[names[1]]
    if isinstance(clock, Numbers):
        return replace(time, columns=names, values=time.values + clock.values * _LATER["hour"])
    form = find_clock_form(clock.values) if isinstance(clock, Texts) else None
    if form is None or not isinstance(clock, Texts):
        raise UserError(f"{table.title}: column {names[1]!r} holds no clock times such as 14:30")
    later = np.append(seconds(clock.values, form), np.nan)[clock.codes]
    return replace(time, columns=names, values=time.values + later)


def _one_column(
    table: TableFile, name: str, column: Column, date_format: str | None, learnt: dict[str, Any] | None
) -> Time:
    if isinstance(column, Datetimes) and column.form is None:
        if date_format:
            _logger.warning(
                "%s: the dates of column %r are no texts: data.date_format has no effect", table.title, name
            )
        return Time((name,), column.values, True)
    form = (
        DateForm(**learnt) if learnt else date_form(date_format, sample(table, name)) if date_format else None
    )
    pattern = column.form.pattern if isinstance(column, Datetimes) and column.form else None
    if form is not None and form.pattern != pattern:
        read = reread(table, name, form)
        known = ~np.isnan(read)
        if date_format and known.mean() < MOSTLY:
            raise UserError(
                f"{table.title}: the cells of column {name!r} are no dates of the form data.date_format={date_format}, "
                f"such as {cell(table, (name,), 1)!r}"
            )
        # What was learnt decides, unless these dates can only be read in another way.
        if date_format or known.all() or (known.any() and isinstance(column, Texts)):
            return Time((name,), read, True, form)
    if isinstance(column, Numbers):
        unit = epoch_unit(column.values, "time")
        found = digit_seconds(column.values) if unit is None else epoch_seconds(column.values, unit)
        return Time((name,), column.values if found is None else found, found is not None)
    if isinstance(column, Texts):
        raise UserError(
            f"{table.title}: column {name!r} holds no times, such as {cell(table, (name,), 1)!r} in row 1\n"
            "    data.date_format=%d/%m/%Y tells how dates are written"
        )
    return Time((name,), column.values, True, column.form)


def _from_parts(parts: Mapping[str, Column]) -> Seconds:
    """Return seconds since 1970 of year, month and so on in columns of their own; NaN where there is no such day."""
    numbers = {role: column.values for role, column in parts.items() if isinstance(column, Numbers)}
    month = _month_numbers(parts["month"]) if "month" in parts else numbers["quarter"] * 3 - 2
    assert month is not None
    days = days_since_1970(numbers["year"], month, numbers.get("day", np.ones(len(month))))
    clock = (numbers[role] * size for role, size in _LATER.items() if role in numbers)
    return sum(clock, days * _DAY)


def sample(table: TableFile, name: str) -> list[str]:
    """Return the first cells of a column that hold something."""
    batch = next(table.batches([name]))
    return [text for text in as_strings(batch.column(0).slice(0, _SAMPLE)).to_pylist() if text]


def reread(table: TableFile, name: str, form: DateForm) -> Seconds:
    """Return a column of delimited text as dates of a form."""
    return np.concatenate([seconds(as_strings(batch.column(0)), form) for batch in table.batches([name])])


def cell(table: TableFile, names: Sequence[str], row: int) -> str:
    """Return what a row holds in some columns, as it is written.

    Args:
        table: The table.
        names: Names of the columns.
        row: The row, counted from 1.
    """
    seen = 0
    for columns in table.texts(names):
        if row <= seen + len(columns[0]):
            return " ".join(str(cells[row - seen - 1] or "").strip() for cells in columns)
        seen += len(columns[0])
    return ""


def settle_doubt(table: TableFile, time: Time, codes: Codes | None, say: bool) -> Time:
    """Return the time with its dates read in the way that puts the rows in order, where two ways are possible.

    Args:
        table: The table.
        time: From `find_time`.
        codes: Series of each row; None: there is one.
        say: Whether to log what was decided.
    """
    if time.form is None or not time.form.other or len(time.columns) > 1:
        return time
    name = time.columns[0]
    other_form = replace(time.form, pattern=time.form.other, other=time.form.pattern)
    other = replace(time, values=reread(table, name, other_form), form=other_form)
    fits = [_orderliness(one.values, codes) for one in (time, other)]
    chosen = other_form if fits[1] > fits[0] else time.form
    if say and fits[0] == fits[1]:
        _logger.warning("%s: column %r: %s", table.title, name, time.form.doubt(_doubtful(table, time)))
    elif say:
        _logger.info(
            "%s: dates in column %r are read as %s, by which the rows follow one another (data.date_format)",
            *(table.title, name, chosen.pattern),
        )
    return replace(other if fits[1] > fits[0] else time, form=replace(chosen, other=None))


def _doubtful(table: TableFile, time: Time) -> str:
    """Return a date that is another one by the other reading."""
    assert time.form is not None
    form = replace(time.form, pattern=str(time.form.other))
    texts = sample(table, time.columns[0])
    differs = np.flatnonzero(seconds(texts, form) != seconds(texts, time.form))
    return texts[int(differs[0])] if len(differs) else texts[0]


def _orderliness(times: Seconds, codes: Codes | None) -> tuple[int, float]:
    """Return how well rows are in the order of time: the fewer backward steps and the more equal steps, the greater."""
    if np.isnan(times).any():
        return -len(times), 0.0
    order = np.arange(len(times)) if codes is None else np.argsort(codes, kind="stable")
    inside = np.ones(len(times) - 1, bool) if codes is None else np.diff(codes[order]) == 0
    steps = np.diff(times[order])[inside]
    if not len(steps):
        return 0, 1.0
    sizes = np.abs(steps)
    usual = np.median(sizes)
    equal = float(((sizes >= REGULAR[0] * usual) & (sizes <= REGULAR[1] * usual)).mean())
    return -int(min((steps < 0).sum(), (steps > 0).sum())), equal


def say_odd_steps(table: TableFile, time: Time, step: Step, rows: Codes, inside: NDArray[np.bool_]) -> None:
    """Log steps of time that differ from the usual one, and times that repeat; each counts as one step.

    Args:
        table: The table.
        time: The time of each row of the file.
        step: The usual step.
        rows: Rows of the file, series by series in the order of time.
        inside: Whether two rows that follow one another are of one series, (rows - 1,).
    """
    steps = (
        "the steps of time in {} are not equal; the first other one is from row {:,} ({}) to row {:,} ({})"
    )
    repeats = "times repeat in {}; the first are those of row {:,} ({}) and row {:,} ({})"
    for places, what in zip(odd_steps(time.values[rows], step, inside), (steps, repeats), strict=True):
        if len(places):
            first, second = int(rows[places[0]]) + 1, int(rows[places[0] + 1]) + 1
            cells = [cell(table, time.columns, row) for row in (first, second)]
            told = what.format(time.title, first, cells[0], second, cells[1])
            _logger.warning(
                "%s: %s, of %s in all; each row counts as one step", table.title, told, f"{len(places):,}"
            )
