"""Series of the user's: a table with one row a step of time and one column a channel."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from nnkit.data.reading.file_options import ValueOptions
from nnkit.data.reading.split_files import open_split_files
from nnkit.data.reading.table_file import TableFile, open_table
from nnkit.data.series.base import WindowedSeries
from nnkit.data.series.file_series import read_series
from nnkit.data.series.loaded import LoadedSeries, SeriesOptions
from nnkit.data.series.steps import REGULAR
from nnkit.data.splits import Split
from nnkit.errors import UserError

_logger = logging.getLogger("nnkit")

Gaps = Literal["refuse", "interpolate"]


@dataclass(kw_only=True, eq=False)
class Series(ValueOptions, WindowedSeries):
    """One or several series in a table: CSV, TSV, Parquet, Feather or JSON, one file, a folder or a pattern of them.

    Found out and logged are how the table is written, which column holds the time (dates in the forms of many places,
    numbers that count from 1970, a date with its clock time or year and month in columns of their own), and which
    columns are channels: those of numbers that neither hold the time nor number the rows. Rows with the newest first
    are turned round; rows in no order of time and several series that `group` does not tell apart are refused. Every
    row counts as one step. Where splits have files of their own, these follow one another in time.

    Attributes:
        columns: The channels that are read; None: all columns of numbers that are channels.
        target_columns: Those to forecast, also ones that are not read; None: all that are read.
        time: The column that holds the time; None: found out; "none": no column does.
        group: Column, or columns, whose values tell several series apart. Each is cut into the three parts in its own
            time order.
        gaps: Whether cells that hold no number are refused, or filled in by straight lines between their neighbours.

    Raises:
        ValueError: If no path is given or an option is out of range.
    """

    columns: Sequence[str | int] | None = None
    target_columns: Sequence[str | int] | None = None
    time: str | int | None = None
    group: str | int | Sequence[str | int] | None = None
    gaps: Gaps = "refuse"

    split_by: ClassVar[tuple[str, ...]] = (*WindowedSeries.split_by, "group")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._reading = self.read_options()
        for name, given in (("columns", self.columns), ("target_columns", self.target_columns)):
            if given is not None and (not given or len(set(given)) < len(given)):
                raise ValueError(f"{name} must name at least one column, each once, not {list(given)}")
        if self.gaps not in get_args(Gaps):
            raise ValueError(f"gaps must be refuse or interpolate, not {self.gaps!r}")

    def load(self) -> LoadedSeries:
        """Read the user's files."""
        table = open_split_files(self.files_of_splits(self.path), self._reading)
        if "val" in table.files and "test" not in table.files:
            raise UserError(
                "data.val_path: the steps of the test are the last ones; name their file with data.test_path"
            )
        found = table.fingerprint()
        if not self.is_new:
            self.unchanged(table.title, found)
        series = read_series(table, self._options())
        own = _own_sizes(table.files, series) if len(table.files) > 1 else []
        return replace(series, fingerprint=found, own=own)

    @property
    def _group(self) -> tuple[str, ...]:
        group = self.split_options["group"]
        is_list = isinstance(group, Sequence) and not isinstance(group, str)
        return tuple(map(str, group if is_list else [] if group is None else [group]))

    def _options(self, *, reads_targets: bool = True) -> SeriesOptions:
        """Return what is known of a table: what the user says, or what was learnt."""
        known = SeriesOptions(
            group=self._group,
            fills_gaps=self.gaps == "interpolate",
            time=None if self.time is None else str(self.time),
            say=self.is_new,
        )
        if self.is_new:
            columns, targets = (
                None if names is None else [*map(str, names)] for names in (self.columns, self.target_columns)
            )
            return replace(known, columns=columns, targets=targets, date_format=self.date_format)
        columns = [channel["name"] for channel in self.preprocessing["channels"]]
        targets = self.preprocessing["target"]["names"] if reads_targets else columns
        # Runs of earlier releases learnt nothing of the time.
        learnt = self.preprocessing.get("time") or {"columns": []}
        return replace(known, columns=columns, targets=targets, learnt=learnt)

    def read_file(self, item: str, *, with_targets: bool = False) -> LoadedSeries:
        """Read the channels by their names; the file may hold others."""
        series = read_series(open_table(item, self._reading), self._options(reads_targets=with_targets))
        learnt = self.preprocessing.get("time")
        if learnt and series.time is None:
            _logger.warning(
                "%s: %s, the time of the training data, is lacking: the rows are taken to be in its order",
                *(item, " and ".join(map(repr, learnt["columns"]))),
            )
        elif learnt and series.time and _differ(learnt["step"], series.time["step"]):
            steps = ["{1:g} {0}".format(*step) for step in (series.time["step"], learnt["step"])]
            _logger.warning("%s: a step is %s, and %s in the training data", item, *steps)
        return series


def _differ(one: list[Any] | None, other: list[Any] | None) -> bool:
    """Return whether two usual steps of time are as unlike as steps that are logged as odd."""
    if not one or not other or one[0] != other[0]:
        return False
    return not REGULAR[0] <= other[1] / one[1] <= REGULAR[1]


def _own_sizes(files: Mapping[Split, TableFile], series: LoadedSeries) -> list[dict[Split, int]]:
    """Return how many steps of each series are in the file of each split, once these follow one another."""
    sizes = [sum(batch.num_rows for batch in table.batches(table.names[:1])) for table in files.values()]
    place = np.repeat(np.arange(len(sizes)), sizes)[series.rows]
    found = []
    for places in np.split(place, np.cumsum(series.sizes)[:-1]):
        if (np.diff(places) < 0).any():
            titles = [table.title for table in files.values()]
            raise UserError(f"the files of the splits do not follow one another in time: {', '.join(titles)}")
        counts = np.bincount(places, minlength=len(sizes)).tolist()
        found.append(dict(zip(files, counts, strict=True)))
    return found
