"""A series of the user's: a CSV file with one row a step of time and one column a channel."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from nnkit.data.reading.frame import check_dialect
from nnkit.data.series.base import LoadedSeries, Values, WindowedSeries
from nnkit.data.series.series_file import Gaps, MissingColumnsError, SeriesSource, read_series
from nnkit.errors import ConfigError
from nnkit.suggest import absent


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
