"""A series of the user's: a CSV file with one row a step of time and one column a channel."""

from collections.abc import Sequence

from nnkit.data.base import Preprocessing
from nnkit.data.reading.frame import check_dialect
from nnkit.data.series.base import LoadedSeries, Values, WindowedSeries
from nnkit.data.series.series_file import Gaps, MissingColumnsError, SeriesSource, read_series
from nnkit.errors import ConfigError
from nnkit.suggest import absent

_GAPS = ("refuse", "interpolate")


class SeriesCSV(WindowedSeries):
    """A delimited text file with column names in its first line, plain or .gz, the oldest row first.

    Delimiter, encoding and decimal comma are found out as for tables. A column of dates, or one of numbers called
    time, date, datetime, timestamp or year, is the time: it is left out, and its order is checked. Every row counts
    as one step.

    Args:
        path: The file.
        columns: The channels; default: all columns of numbers but the time.
        target_columns: Those to forecast; default: all channels.
        gaps: Whether cells that hold no number are refused, or filled in by straight lines between their neighbours.
        delimiter: The character between two fields; default: found out.
        encoding: The file's codec; default: found out.
        window: As in `WindowedSeries`, like the rest.
        horizon: As in `WindowedSeries`.
        stride: As in `WindowedSeries`.
        val_fraction: As in `WindowedSeries`.
        test_fraction: As in `WindowedSeries`.
        batch_size: As in `WindowedSeries`.
        eval_batch_size: As in `WindowedSeries`.
        num_workers: As in `WindowedSeries`.
        seed: As in `WindowedSeries`.

    Raises:
        ValueError: If no path is given or an argument is out of range.
    """

    def __init__(
        self,
        *,
        path: str | None = None,
        columns: Sequence[str | int] | None = None,
        target_columns: Sequence[str | int] | None = None,
        gaps: Gaps = "refuse",
        delimiter: str | None = None,
        encoding: str | None = None,
        window: int = 64,
        horizon: int = 1,
        stride: int = 1,
        val_fraction: float = 0.1,
        test_fraction: float = 0.2,
        batch_size: int = 64,
        eval_batch_size: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(
            window=window,
            horizon=horizon,
            stride=stride,
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            num_workers=num_workers,
            seed=seed,
        )
        if not path:
            raise ValueError("path must name a CSV file: data.path=FILE.csv")
        for name, given in (("columns", columns), ("target_columns", target_columns)):
            if given is not None and (not given or len(set(given)) < len(given)):
                raise ValueError(f"{name} must name at least one column, each once, not {list(given)}")
        if gaps not in _GAPS:
            raise ValueError(f"gaps must be refuse or interpolate, not {gaps!r}")
        check_dialect(delimiter, encoding)
        self.path = path
        # A name such as 2020 comes as a number.
        self.columns = None if columns is None else tuple(map(str, columns))
        self.target_columns = None if target_columns is None else tuple(map(str, target_columns))
        self.gaps: Gaps = gaps
        self.delimiter = delimiter
        self.encoding = encoding

    def _source(self, path: str, columns: Sequence[str] | None) -> SeriesSource:
        return SeriesSource(
            path, None if columns is None else tuple(columns), self.gaps, self.delimiter, self.encoding
        )

    def load(self, learnt: Preprocessing | None) -> LoadedSeries:
        """Read the user's file."""
        if learnt is not None:
            names = [channel["name"] for channel in learnt["channels"]]
            series = read_series(self._source(self.path, names), expected=learnt["fingerprint"])
            return LoadedSeries(
                self.path, names, learnt["target"]["names"], series.values, series.fingerprint
            )
        try:
            series = read_series(self._source(self.path, self.columns), say=True)
        except MissingColumnsError as error:
            problems = [
                absent("data.columns", self.path, name, error.present, given=self.columns)
                for name in error.names
            ]
            raise ConfigError(problems) from error
        targets = series.names if self.target_columns is None else list(self.target_columns)
        where = f"{self.path}, among the channels of the series,"
        problems = [
            absent("data.target_columns", where, name, series.names, given=targets)
            for name in targets
            if name not in series.names
        ]
        if problems:
            raise ConfigError(problems)
        return LoadedSeries(self.path, series.names, targets, series.values, series.fingerprint)

    def read_values(self, item: str, names: Sequence[str]) -> Values:
        """Read the channels by their names; the file may hold others."""
        return read_series(self._source(item, names)).values
