"""A series of the user's: a CSV file with one row a step of time and one column a channel."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from nnkit.data.cache import sha256_of
from nnkit.data.reading.delimited import read_dialect, report_dialect
from nnkit.data.reading.frame import Column, Numbers, Texts, check_dialect, read_frame
from nnkit.data.reading.user_files import find_file
from nnkit.data.series.base import LoadedSeries, Values, WindowedSeries
from nnkit.errors import ConfigError, UserError
from nnkit.suggest import absent, some_of

_logger = logging.getLogger("nnkit")

Gaps = Literal["refuse", "interpolate"]

_LISTED = 10

_NAMES = frozenset({"time", "date", "datetime", "timestamp", "year"})
# Beside the forms of ISO 8601; where two of them fit, that which puts the rows in order is the right one.
_DAYS = ("%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%Y/%m/%d", "%Y-%m", "%Y/%m", "%b %Y", "%Y%m%d")
_FORMS = ("iso", *(day + clock for clock in ("", " %H:%M", " %H:%M:%S") for day in _DAYS))
# Months differ in length by less than this, and a day left out by more.
_REGULAR = (0.5, 1.5)


@dataclass(frozen=True)
class SeriesSource:
    """Where a series stands and how to read it.

    Attributes:
        path: The file, as the user gave it.
        columns: The channels; None for all columns of numbers but the time.
        gaps: Whether cells without a number are refused, or left NaN to be filled in.
        delimiter: The character between two fields; None to find out.
        encoding: The file's codec; None to find out.
    """

    path: str
    columns: Sequence[str] | None = None
    gaps: Gaps = "refuse"
    delimiter: str | None = None
    encoding: str | None = None


class FileSeries(NamedTuple):
    """A series as its file holds it.

    Attributes:
        names: Name of each channel.
        values: (rows, channels); NaN where a cell holds no number, never in the first or last row.
        fingerprint: SHA-256 of the file.
    """

    names: list[str]
    values: NDArray[np.float64]
    fingerprint: str


class MissingColumnsError(UserError):
    """A file lacks columns that are asked for.

    Args:
        message: The sentence that says so.
        names: Those it lacks.
        present: Those it has.
    """

    def __init__(self, message: str, names: list[str], present: list[str]) -> None:
        super().__init__(message)
        self.names = names
        self.present = present


@dataclass(kw_only=True, eq=False)
class SeriesCSV(WindowedSeries):
    """A delimited text file with column names in its first line, plain or .gz, the oldest row first.

    Delimiter, encoding and decimal comma are found out as for tables. A column of dates, or one of numbers called
    time, date, datetime, timestamp or year, is the time: it is left out, and its order is checked. Every row counts
    as one step.

    Attributes:
        path: The file.
        columns: The channels; None: all columns of numbers but the time.
        target_columns: Those to forecast; None: all channels.
        gaps: Whether cells that hold no number are refused, or filled in by straight lines between their neighbours.
        delimiter: The character between two fields; None: found out.
        encoding: The file's codec; None: found out.

    Raises:
        ValueError: If no path is given or an option is out of range.
    """

    path: str | None = None
    columns: Sequence[str | int] | None = None
    target_columns: Sequence[str | int] | None = None
    gaps: Gaps = "refuse"
    delimiter: str | None = None
    encoding: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.path:
            raise ValueError("path must name a CSV file: data.path=FILE.csv")
        for name, given in (("columns", self.columns), ("target_columns", self.target_columns)):
            if given is not None and (not given or len(set(given)) < len(given)):
                raise ValueError(f"{name} must name at least one column, each once, not {list(given)}")
        if self.gaps not in get_args(Gaps):
            raise ValueError(f"gaps must be refuse or interpolate, not {self.gaps!r}")
        check_dialect(self.delimiter, self.encoding)

    def _source(self, path: str, columns: Sequence[str] | None) -> SeriesSource:
        return SeriesSource(path, columns, self.gaps, self.delimiter, self.encoding)

    def load(self) -> LoadedSeries:
        """Read the user's file."""
        path = str(self.path)
        if not self.is_new:
            names = [channel["name"] for channel in self.preprocessing["channels"]]
            series = read_series(self._source(path, names), self.unchanged)
            targets = self.preprocessing["target"]["names"]
            return LoadedSeries(path, names, targets, series.values, series.fingerprint)
        # A name such as 2020 comes as a number.
        columns = None if self.columns is None else [*map(str, self.columns)]
        try:
            series = read_series(self._source(path, columns), say=True)
        except MissingColumnsError as error:
            problems = [
                absent("data.columns", path, name, error.present, given=columns) for name in error.names
            ]
            raise ConfigError(problems) from error
        targets = series.names if self.target_columns is None else [*map(str, self.target_columns)]
        where = f"{path}, among the channels of the series,"
        problems = [
            absent("data.target_columns", where, name, series.names, given=targets)
            for name in targets
            if name not in series.names
        ]
        if problems:
            raise ConfigError(problems)
        return LoadedSeries(path, series.names, targets, series.values, series.fingerprint)

    def read_values(self, item: str, names: Sequence[str]) -> Values:
        """Read the channels by their names; the file may hold others."""
        return read_series(self._source(item, names)).values


def read_series(
    source: SeriesSource, unchanged: Callable[[str, str], str] | None = None, say: bool = False
) -> FileSeries:
    """Read a series whole.

    Args:
        source: Where it stands and how to read it.
        unchanged: `DataModule.unchanged`, called before the file is read; None admits any file.
        say: Whether to log what was found out, left out or is to be filled in.

    Raises:
        UserError: If the file cannot be read, has changed, holds words or gaps, or its rows are not in order.
    """
    path = find_file(source.path)
    found = sha256_of(path)
    if unchanged is not None:
        unchanged(str(path), found)
    dialect = read_dialect(path, source.delimiter, source.encoding)
    columns = read_frame(path, dialect).columns
    if say:
        report_dialect(source.path, dialect, source.delimiter, source.encoding)
    chosen = _choose(source, columns, say)
    _check_gaps(source, chosen, say)
    return FileSeries(list(chosen), np.stack([column.values for column in chosen.values()], axis=1), found)


def _choose(source: SeriesSource, columns: dict[str, Column], say: bool) -> dict[str, Numbers]:
    """Return the channels, and examine the order of the rows if one of the other columns holds the time."""
    named = source.columns or ()
    lacking = [name for name in named if name not in columns]
    if lacking:
        text = f"{source.path} lacks {_listed(lacking)}; its columns: {', '.join(list(columns)[:20])}"
        raise MissingColumnsError(text, lacking, list(columns))
    others = {name: column for name, column in columns.items() if name not in named}
    time = find_time(others, by_name=source.columns is None)
    if time is not None:
        check_order(source.path, *time, columns[time[0]])
        if say:
            say_unequal(source.path, *time, columns[time[0]])
    if source.columns is None:
        return _all_numbers(source.path, columns, time[0] if time else None, say)
    chosen: dict[str, Numbers] = {}
    for name in named:
        column = columns[name]
        if isinstance(column, Texts):
            row, word = _first_word(column)
            raise UserError(
                f"{source.path}: column {name!r} holds words, not numbers ({word!r} in row {row:,} is the first)"
            )
        chosen[name] = column
    return chosen


def _first_word(column: Texts) -> tuple[int, str]:
    row = int(np.argmax(column.codes >= 0))
    return row + 1, column.values[column.codes[row]]


def _all_numbers(title: str, columns: dict[str, Column], time: str | None, say: bool) -> dict[str, Numbers]:
    chosen: dict[str, Numbers] = {}
    left_out: dict[str, str] = {}
    for name, column in columns.items():
        if name == time:
            left_out[name] = "it holds the time"
        elif isinstance(column, Texts):
            left_out[name] = f"it holds words, such as {_first_word(column)[1]!r}"
        elif np.isnan(column.values).all():
            left_out[name] = "it is empty"
        else:
            chosen[name] = column
    for name, reason in left_out.items() if say else ():
        _logger.log(
            logging.INFO if name == time else logging.WARNING,
            "%s: column %r is left out: %s",
            *(title, name, reason),
        )
    if not chosen:
        reasons = "; ".join(f"{name!r}: {reason}" for name, reason in left_out.items())
        raise UserError(f"{title} has no column of numbers ({reasons})")
    return chosen


def _check_gaps(source: SeriesSource, columns: dict[str, Numbers], say: bool) -> None:
    """Refuse gaps as the source says; those at the ends are never filled, as nothing is known on the other side."""
    counts = {name: int(np.isnan(column.values).sum()) for name, column in columns.items()}
    counts = {name: count for name, count in counts.items() if count}
    if not counts:
        return
    total, listed = sum(counts.values()), _counted(counts)
    first = min(counts, key=lambda name: int(np.argmax(np.isnan(columns[name].values))))
    cells = f"{total:,} cells hold no number" if total > 1 else "1 cell holds no number"
    where = f"the first is {_content(columns[first])} of column {first!r} (by column: {listed})"
    if source.gaps == "refuse":
        raise UserError(
            f"{source.path}: {cells}; {where}\n    a run trained with data.gaps=interpolate fills gaps between two "
            "numbers by straight lines"
        )
    for name in counts:
        known = np.flatnonzero(~np.isnan(columns[name].values))
        last = len(columns[name].values) - 1
        if not len(known) or known[0] > 0 or known[-1] < last:
            begins = len(known) and known[0] > 0
            end = "begins" if begins else "ends"
            rows = (1, known[0]) if begins else (known[-1] + 2 if len(known) else 1, last + 1)
            raise UserError(
                f"{source.path}: column {name!r} {end} without a number, rows {rows[0]:,} to "
                f"{rows[1]:,}; such a gap cannot be filled in: cut these rows off or leave the column out"
            )
    if say:
        _logger.warning("%s: %s, which is filled by straight lines; %s", source.path, cells, where)


def _content(column: Numbers) -> str:
    row = int(np.argmax(np.isnan(column.values))) + 1
    text_row, text = column.first_text
    return (
        f"{text!r} in row {row:,}" if text_row == row else f"an empty, missing or infinite one in row {row:,}"
    )


def _counted(counts: dict[str, int]) -> str:
    return some_of([f"{name!r} {count:,}" for name, count in counts.items()], _LISTED)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:_LISTED])) + (" ..." if len(names) > _LISTED else "")
    return f"the column {shown}" if len(names) == 1 else f"the columns {shown}"


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
        column: The column as it is in the table.

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
