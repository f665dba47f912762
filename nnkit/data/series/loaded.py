"""Series in memory: what is known of them before, their channels, where their parts begin, and gaps filled in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnkit.data.splits import Split

Values = NDArray[np.float64]
Bounds = dict[Split, tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class SeriesOptions:
    """What is known of a series before its table is read.

    Attributes:
        columns: The channels that are read; None: all columns of numbers but those that number rows or hold the time.
        targets: The channels to forecast; None: all that are read.
        group: Columns whose values tell several series apart.
        fills_gaps: Whether cells without a number are left NaN, to be filled in.
        time: The column that holds the time; None: found out; "none": no column does.
        date_format: How its dates are written; None: found out.
        learnt: What was learnt of the time of the file that a run was trained on; None: nothing is known.
        say: Whether to log what was found out, left out or is to be filled in.
    """

    columns: Sequence[str] | None = None
    targets: Sequence[str] | None = None
    group: Sequence[str] = ()
    fills_gaps: bool = False
    time: str | None = None
    date_format: str | None = None
    learnt: Mapping[str, Any] | None = None
    say: bool = False

    @property
    def named(self) -> list[str]:
        """The columns that are named, each once."""
        return [*dict.fromkeys([*(self.columns or ()), *(self.targets or ()), *self.group])]

    def needed(self, names: Sequence[str]) -> list[str] | None:
        """Return those of a table's columns that are read again for a run, None where they are to be found out."""
        if self.columns is None or self.say:
            return None
        times = self.learnt["columns"] if self.learnt else []
        return [*self.named, *(name for name in times if name in names and name not in self.named)]


@dataclass(frozen=True)
class LoadedSeries:
    """One or several series in memory.

    Attributes:
        title: What messages call it, such as the file's path.
        names: Name of each channel.
        targets: Names of the channels to forecast.
        values: (steps, channels) float64, series by series; NaN where a value is to be filled in, never in the first or
            last step of a series.
        fingerprint: SHA-256 that tells it from any other.
        inputs: Names of the channels that are read; None: all.
        labels: What each series is called: the columns that tell it apart, and its values there.
        sizes: Steps of each series; empty: there is one.
        own: Steps of each series by split, where the splits have files of their own; empty: they have not.
        rows: Row of the table that each step is, counted from 0; None: it is not from a table.
        time: What is known of the time of the steps, plain data; None: nothing.
        ends: Time of the last step of each series; empty: it is not known.
    """

    title: str
    names: list[str]
    targets: list[str]
    values: Values
    fingerprint: str = ""
    inputs: list[str] | None = None
    labels: list[dict[str, str]] = field(default_factory=lambda: [{}])
    sizes: list[int] = field(default_factory=list)
    own: list[dict[Split, int]] = field(default_factory=list)
    rows: NDArray[np.int64] | None = None
    time: dict[str, Any] | None = None
    ends: list[float] = field(default_factory=list)

    def lengths(self) -> list[int]:
        """Return how many steps each series has."""
        return self.sizes or [len(self.values)]

    def bounds(self, options: Mapping[str, Any]) -> list[Bounds]:
        """Return the first step of each split of each series, and the one after its last.

        Args:
            options: With val_fraction and test_fraction.
        """
        found, start = [], 0
        own = self.own or [{"train": size} for size in self.lengths()]
        for size, parts in zip(self.lengths(), own, strict=True):
            cuts = cut(size, options["val_fraction"], options["test_fraction"], parts)
            found.append({name: (start + first, start + end) for name, (first, end) in cuts.items()})
            start += size
        return found

    def of(self, names: Sequence[str]) -> list[int]:
        """Return the places of some channels."""
        return [self.names.index(name) for name in names]

    def described(self, place: int, horizon: int, learnt: Mapping[str, Any] | None) -> dict[str, list[Any]]:
        """Return columns that stand beside the steps after a series: what it is called, their numbers, their times.

        Args:
            place: Which series.
            horizon: Number of steps.
            learnt: What the run learnt of the time.
        """
        from nnkit.data.series.steps import Step, shown

        columns: dict[str, list[Any]] = {
            name: [value] * horizon for name, value in self.labels[place].items()
        }
        columns["step"] = [*range(1, horizon + 1)]
        if learnt:
            times: list[Any] = [None] * horizon
            if self.time is not None and (step := learnt["step"] or self.time["step"]):
                times = shown(Step(*step).after(self.ends[place], horizon), learnt["is_date"])
            columns[learnt["columns"][0] if len(learnt["columns"]) == 1 else "time"] = times
        return columns


def cut(
    num_steps: int, val_fraction: float, test_fraction: float, own: Mapping[Split, int] | None = None
) -> Bounds:
    """Return the first step of each part and the one after its last; a part with a share has at least one.

    Args:
        num_steps: Steps of the series.
        val_fraction: Share of the validation part.
        test_fraction: Share of the test part.
        own: Steps of the parts that have files of their own, in time order; others are shares of the training file.
    """
    own = own or {"train": num_steps}
    known = own["train"]
    num_test = own.get("test", max(1, round(known * test_fraction)) if test_fraction else 0)
    num_val = own.get("val", max(1, round(known * val_fraction)) if val_fraction else 0)
    test, val = num_steps - num_test, num_steps - num_test - num_val
    return {"train": (0, val), "val": (val, test), "test": (test, num_steps)}


def filled_in(series: LoadedSeries, bounds: Sequence[Bounds]) -> Values:
    """Return the values of series, those that are missing filled in part by part.

    Args:
        series: The series.
        bounds: The parts of each series; see `LoadedSeries.bounds`.
    """
    if not np.isnan(series.values).any():
        return series.values
    whole = [
        fill_gaps(series.values[slice(start, end)], [last - start for _, last in bound.values()])
        for bound in bounds
        for start, end in [(bound["train"][0], bound["test"][1])]
    ]
    return np.concatenate(whole)


def fill_gaps(values: Values, ends: Sequence[int]) -> Values:
    """Fill NaN in by straight lines from the value before to the value after.

    Args:
        values: (steps, channels); the first and the last step are complete.
        ends: Ends of the parts, rising. What lies behind an end is not looked at before it, or training would see
            something of the test: a gap that reaches an end holds the last value.
    """
    if not np.isnan(values).any():
        return values
    filled = values.copy()
    for column in filled.T:
        start = 0
        for end in ends:
            missing = start + np.flatnonzero(np.isnan(column[start:end]))
            known = np.flatnonzero(~np.isnan(column[:end]))
            column[missing] = np.interp(missing, known, column[known])
            start = end
    return filled
