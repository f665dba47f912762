"""What datasets of series share: parts in time order, scaling, and windows gathered by index."""

import logging
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nnkit.batches import SeriesBatch
from nnkit.data.base import DataModule, Preprocessing, Samples
from nnkit.data.read_batch import ReadBatch, grouped
from nnkit.data.sampler import Draw
from nnkit.data.splits import SPLITS, Split, check_fractions
from nnkit.data.tables.columns import mean_and_std
from nnkit.errors import UserError
from nnkit.suggest import some_of

if TYPE_CHECKING:
    import pyarrow as pa

_logger = logging.getLogger("nnkit")

Values = NDArray[np.float64]
_LISTED = 5


Bounds = dict[Split, tuple[int, int]]


class LoadedSeries(NamedTuple):
    """One or several series in memory.

    Attributes:
        title: What messages call it, such as the file's path.
        names: Name of each channel.
        targets: Names of the channels to forecast.
        values: (steps, channels) float64, series by series; NaN where a value is to be filled in, never in the first or
            last step of a series.
        fingerprint: SHA-256 that tells it from any other.
        inputs: Names of the channels that are read; None: all.
        sizes: Steps of each series; None: there is one.
        own: Steps of each series by split, where the splits have files of their own; None: they have not.
        labels: What each series is called; None: there is one.
        time: What is learnt of the time of its steps, plain data; None: it is not known.
    """

    title: str
    names: list[str]
    targets: list[str]
    values: Values
    fingerprint: str
    inputs: list[str] | None = None
    sizes: list[int] | None = None
    own: list[dict[Split, int]] | None = None
    labels: list[str] | None = None
    time: dict[str, Any] | None = None

    def bounds(self, options: Mapping[str, Any]) -> list[Bounds]:
        """Return the first step of each split of each series, and the one after its last.

        Args:
            options: With val_fraction and test_fraction.
        """
        sizes = self.sizes or [len(self.values)]
        own = self.own or [{"train": size} for size in sizes]
        found, start = [], 0
        for size, parts in zip(sizes, own, strict=True):
            cuts = cut(size, options["val_fraction"], options["test_fraction"], parts)
            found.append({name: (start + first, start + end) for name, (first, end) in cuts.items()})
            start += size
        return found


class ReadSeries(NamedTuple):
    """A series of a file whose next steps are to be forecast.

    Attributes:
        values: The channels that are read, (steps, channels); NaN where a value is to be filled in.
        described: Columns that stand beside its forecasts: the series, the number of the step and its time, each with a
            value for each step of the horizon.
    """

    values: Values
    described: dict[str, list[Any]]


class WindowSamples(Samples):
    """The windows of one split; only the series itself is held.

    Args:
        inputs: Standardised channels that are read, (steps, channels) float32.
        targets: Those that are forecast, (steps, targets) float32.
        starts: First step to forecast of each window, int64.
        window: Steps before it that are read.
        horizon: Steps to forecast.
    """

    def __init__(self, inputs: Tensor, targets: Tensor, starts: Tensor, window: int, horizon: int) -> None:
        self._inputs = inputs
        self._targets = targets
        self._starts = starts
        self._before = torch.arange(-window, 0)
        self._after = torch.arange(horizon)

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, draw: Draw) -> SeriesBatch:
        starts = self._starts.index_select(0, draw.indices).unsqueeze(1)
        target = self._targets[starts + self._after].flatten(1)
        return SeriesBatch(self._inputs[starts + self._before], target, draw.indices)


@dataclass(kw_only=True, eq=False)
class WindowedSeries(DataModule):
    """Base of datasets of series: a subclass says which series it is, and how a user's file of it is read.

    Each series is cut into three parts in time order: training, validation, test. The steps that a window forecasts
    all lie in its own part; the steps it reads may reach back into the part before, as they are known by then, but
    never into another series. So nothing that is forecast in validation or test is seen in training, neither as a
    target nor as an input. Each channel is standardised with mean and standard deviation of the training parts of all
    series; one that is constant there is only centred.

    Attributes:
        window: Steps the model reads.
        horizon: Steps to forecast, those right after the window.
        stride: Steps between two training windows; validation and test take every window.
        val_fraction: Share of the steps held out for validation.
        test_fraction: Share of the steps held out for the test, the last ones.

    Raises:
        ValueError: If an option is out of range.
    """

    window: int = 64
    horizon: int = 1
    stride: int = 1
    val_fraction: float = 0.1
    test_fraction: float = 0.2

    fact_names = ("num_channels", "num_outputs")
    is_checked = True
    split_by: ClassVar[tuple[str, ...]] = ("window", "horizon", "stride", "val_fraction", "test_fraction")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("window", "horizon", "stride"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")

    def forget(self) -> None:
        """Drop the series."""
        super().forget()
        self._loaded: LoadedSeries | None = None
        self._scaled: tuple[Tensor, Tensor, list[Bounds]] | None = None

    def check_split(self) -> None:
        """Check the fractions; the group and the time of a series are not those of rows that are dealt out."""
        check_fractions(self.val_fraction, self.test_fraction)

    @abstractmethod
    def load(self) -> LoadedSeries:
        """Read or compute the series; what is odd about it is logged where the module `is_new`.

        Raises:
            UserError: If it cannot be had, or is no longer the one that was learnt from.
        """

    @abstractmethod
    def read_file(self, item: str) -> Iterator[tuple[str, ReadSeries | str]]:
        """Read the channels of a user's file.

        Yields:
            What each of its series is called, and the series, or why it cannot be forecast.

        Raises:
            UserError: If the file cannot be read.
        """

    def prepare(self) -> Preprocessing:
        """Load the series, cut it into parts, and learn the scale of each channel from the training part."""
        series = self._loaded = self.load()
        options = self.split_options
        bounds = _long_enough(series, options, self.is_new)
        filled = _filled(series, options)
        training = np.concatenate([filled[slice(*bound["train"])] for bound in bounds])
        scale = {name: mean_and_std(column) for name, column in zip(series.names, training.T, strict=True)}
        if not any(scale[name][1] for name in series.targets):
            raise UserError(
                f"{series.title}: {', '.join(map(repr, series.targets))} never changes in the training part: there is "
                "nothing to forecast"
            )
        for name in [name for name, (_, std) in scale.items() if not std]:
            _logger.warning("%r has one value in the whole training part: it is not scaled", name)
        counts = {name: len(_starts(bounds, name, options)) for name in SPLITS}
        _logger.info(
            "%s: %s steps of %d channels%s; %s windows to train on, %s for validation, %s for the test",
            *(series.title, f"{len(series.values):,}", len(series.names)),
            f" in {len(bounds):,} series" if len(bounds) > 1 else "",
            *(f"{count:,}" for count in counts.values()),
        )
        inputs = series.names if series.inputs is None else series.inputs
        return {
            "channels": [
                {"name": name, "mean": scale[name][0], "std": scale[name][1] or 1.0} for name in inputs
            ],
            "target": {
                "names": series.targets,
                "mean": [scale[name][0] for name in series.targets],
                "std": [scale[name][1] or 1.0 for name in series.targets],
            },
            **options,
            "counts": counts,
            "fingerprint": series.fingerprint,
            "time": series.time,
        }

    def facts(self) -> dict[str, Any]:
        """Return the number of channels, and that of values to forecast: steps times channels."""
        learnt = self.preprocessing
        return {
            "num_channels": len(learnt["channels"]),
            "num_outputs": learnt["horizon"] * len(learnt["target"]["names"]),
        }

    def samples(self, split: Split) -> WindowSamples:
        """Open one part as the run that wrote `preprocessing` cut the series.

        Raises:
            UserError: If the series is gone or has changed since.
        """
        learnt = self.preprocessing
        if self._scaled is None:
            series = self._loaded or self.load()
            self.unchanged(series.title, series.fingerprint)
            filled = _filled(series, learnt)
            target = learnt["target"]
            names = [channel["name"] for channel in learnt["channels"]]
            self._scaled = (
                self._standardised(filled[:, [series.names.index(name) for name in names]]),
                _scaled(
                    filled[:, [series.names.index(name) for name in target["names"]]],
                    target["mean"],
                    target["std"],
                ),
                _long_enough(series, learnt, False),
            )
            self._loaded = None
        inputs, targets, bounds = self._scaled
        return WindowSamples(
            inputs, targets, _starts(bounds, split, learnt), learnt["window"], learnt["horizon"]
        )

    def _standardised(self, values: Values) -> Tensor:
        channels = self.preprocessing["channels"]
        return _scaled(values, *([channel[key] for channel in channels] for key in ("mean", "std")))

    def read(self, items: Sequence[str]) -> Iterator[tuple[str, SeriesBatch | str]]:
        """Read the last window of each series of each file, whose next steps are forecast; see `DataModule.read`."""
        for name, found, _ in self._read(items):
            yield name, found

    def _read(self, items: Sequence[str]) -> Iterator[tuple[str, SeriesBatch | str, dict[str, list[Any]]]]:
        for item in items:
            try:
                for name, found in self.read_file(item):
                    if isinstance(found, str):
                        yield name, found, {}
                    else:
                        yield name, self._last_window(name, found.values), found.described
            except UserError as error:
                yield item, str(error), {}

    def read_batches(self, items: Sequence[str], size: int, keep: Sequence[str] = ()) -> Iterator[ReadBatch]:
        """Read the last windows, and what stands beside each step of their forecasts; see `DataModule.read_batches`."""
        if keep:
            raise UserError(
                f"--keep {','.join(keep)}: forecasts lie after the rows of the input, whose columns end there; "
                "the series and the time stand beside each forecast"
            )
        horizon = self.preprocessing["horizon"]
        found = self._read(items)
        while group := list(islice(found, size)):
            (read,) = grouped(((name, batch) for name, batch, _ in group), size)
            kept = _described([described for _, _, described in group], horizon)
            yield replace(read, kept=kept, rows_each=horizon)

    def _last_window(self, item: str, values: Values) -> SeriesBatch | str:
        window = self.preprocessing["window"]
        if len(values) < window:
            return f"{item} has {len(values):,} rows, and the model reads the last {window:,}"
        inputs = self._standardised(fill_gaps(values, [len(values)])[-window:])
        target = torch.zeros(1, self.facts()["num_outputs"])
        return SeriesBatch(inputs.unsqueeze(0), target, torch.zeros(1, dtype=torch.int64))


def _described(found: Sequence[dict[str, list[Any]]], horizon: int) -> "pa.RecordBatch | None":
    """Return what stands beside the steps of forecasts as columns, None in the rows of what cannot be read."""
    import pyarrow as pa

    names = next((list(described) for described in found if described), [])
    columns = {
        name: [value for described in found for value in described.get(name, [None] * horizon)]
        for name in names
    }
    return pa.RecordBatch.from_pydict(columns) if columns else None


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


def _scaled(values: Values, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    # Divided first: the difference of two numbers near the largest float overflows.
    centre, size = np.array(mean), np.array(std)
    return torch.from_numpy((values / size - centre / size).astype(np.float32))


def _starts(bounds: Sequence[Bounds], split: Split, options: Mapping[str, Any]) -> Tensor:
    """Return the first step to forecast of each window of a split."""
    stride = options["stride"] if split == "train" else 1
    starts = []
    for bound in bounds:
        first = max(bound[split][0], bound["train"][0] + options["window"])
        end = bound[split][1] - options["horizon"] + 1
        starts.append(torch.arange(first, max(first, end), stride))
    return torch.cat(starts)


def _suffices(bound: Bounds, options: Mapping[str, Any]) -> bool:
    """Return whether each split that is wanted has a window."""
    return all(
        len(_starts([bound], name, options))
        for name, (first, end) in bound.items()
        if name == "train" or first < end
    )


def _long_enough(series: LoadedSeries, options: Mapping[str, Any], say: bool) -> list[Bounds]:
    """Return the parts of each series that has a window in each; a series that has not is left out.

    Raises:
        UserError: If no series has.
    """
    bounds = series.bounds(options)
    kept = [bound for bound in bounds if _suffices(bound, options)]
    if not kept:
        longest = max(bound["test"][1] - bound["train"][0] for bound in bounds)
        raise UserError(_too_short(series, longest, options))
    short = [place for place, bound in enumerate(bounds) if bound not in kept]
    if short and say:
        sizes = series.sizes or [len(series.values)]
        labels = series.labels or [str(place + 1) for place in range(len(sizes))]
        listed = some_of([f"{labels[place]} ({sizes[place]:,} steps)" for place in short], _LISTED)
        _logger.warning(
            "%s: %s of %s series are left out, as they are too short for a window in each part: %s",
            *(series.title, f"{len(short):,}", f"{len(bounds):,}", listed),
        )
    return kept


def _too_short(series: LoadedSeries, num_steps: int, options: Mapping[str, Any]) -> str:
    window, horizon = options["window"], options["horizon"]
    if series.own is not None:
        return (
            f"{series.title}: the files of the splits are too short: {window + horizon:,} steps are needed to train on "
            f"(data.window={window} and data.horizon={horizon}) and {horizon:,} in each other file"
        )
    needed = max(num_steps, window + horizon)
    while not _suffices(cut(needed, options["val_fraction"], options["test_fraction"]), options):
        needed += 1
    longest = "" if series.sizes is None or len(series.sizes) == 1 else " in its longest series"
    return (
        f"{series.title} has {num_steps:,} steps{longest}, at least {needed:,} are needed: {window + horizon:,} to "
        f"train on (data.window={window} and data.horizon={horizon}) and {horizon:,} in each part that is held out "
        f"(data.val_fraction={options['val_fraction']:g}, data.test_fraction={options['test_fraction']:g})\n"
        "    a smaller data.window or data.horizon needs fewer; data.val_fraction=0 holds nothing out for validation"
    )


def _filled(series: LoadedSeries, options: Mapping[str, Any]) -> Values:
    if not np.isnan(series.values).any():
        return series.values
    filled = [
        fill_gaps(series.values[slice(start, end)], [last - start for _, last in bound.values()])
        for bound in series.bounds(options)
        for start, end in [(bound["train"][0], bound["test"][1])]
    ]
    return np.concatenate(filled)


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
