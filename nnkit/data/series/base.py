"""What datasets of series share: parts in time order, scaling, and windows gathered by index."""

import logging
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nnkit.batches import SeriesBatch
from nnkit.data.base import DataModule, Preprocessing, Samples, Split
from nnkit.data.sampler import Draw
from nnkit.data.tables.columns import mean_and_std
from nnkit.errors import UserError

_logger = logging.getLogger("nnkit")

Values = NDArray[np.float64]


class LoadedSeries(NamedTuple):
    """A series in memory.

    Attributes:
        title: What messages call it, such as the file's path.
        names: Name of each channel.
        targets: Names of the channels to forecast.
        values: (steps, channels) float64; NaN where a value is to be filled in, never in the first or last step.
        fingerprint: SHA-256 that tells it from any other.
    """

    title: str
    names: list[str]
    targets: list[str]
    values: Values
    fingerprint: str


class WindowSamples(Samples):
    """The windows of one part; only the series itself is held.

    Args:
        values: Standardised series, (steps, channels) float32.
        columns: Places of the channels to forecast, int64.
        starts: First step to forecast of each window, int64.
        window: Steps before it that are read.
        horizon: Steps to forecast.
    """

    def __init__(self, values: Tensor, columns: Tensor, starts: Tensor, window: int, horizon: int) -> None:
        self._values = values
        self._columns = columns
        self._starts = starts
        self._before = torch.arange(-window, 0)
        self._after = torch.arange(horizon)

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, draw: Draw) -> SeriesBatch:
        starts = self._starts.index_select(0, draw.indices).unsqueeze(1)
        target = self._values[starts + self._after][..., self._columns]
        return SeriesBatch(self._values[starts + self._before], target.flatten(1), draw.indices)


@dataclass(kw_only=True, eq=False)
class WindowedSeries(DataModule):
    """Base of datasets of series: a subclass says which series it is, and how a user's file of it is read.

    The series is cut into three parts in time order: training, validation, test. The steps that a window forecasts
    all lie in its own part; the steps it reads may reach back into the part before, as they are known by then. So
    nothing that is forecast in validation or test is seen in training, neither as a target nor as an input. Each
    channel is standardised with mean and standard deviation of the training part; one that is constant there is
    only centred.

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
    split_by = ("window", "horizon", "stride", "val_fraction", "test_fraction")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("window", "horizon", "stride"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")

    def forget(self) -> None:
        """Drop the series."""
        super().forget()
        self._loaded: LoadedSeries | None = None
        self._scaled: Tensor | None = None

    @abstractmethod
    def load(self) -> LoadedSeries:
        """Read or compute the series; what is odd about it is logged where the module `is_new`.

        Raises:
            UserError: If it cannot be had, or is no longer the one that was learnt from.
        """

    @abstractmethod
    def read_values(self, item: str, names: Sequence[str]) -> Values:
        """Read the channels of a user's file, (rows, channels); NaN where a value is to be filled in.

        Raises:
            UserError: If they cannot be read.
        """

    def prepare(self) -> Preprocessing:
        """Load the series, cut it into parts, and learn the scale of each channel from the training part."""
        series = self._loaded = self.load()
        num_steps, options = len(series.values), self.split_options
        if not _suffices(num_steps, options):
            raise UserError(_too_short(series.title, num_steps, options))
        bounds = cut(num_steps, self.val_fraction, self.test_fraction)
        training = _filled(series, options)[slice(*bounds["train"])]
        scale = {name: mean_and_std(column) for name, column in zip(series.names, training.T, strict=True)}
        if not any(scale[name][1] for name in series.targets):
            raise UserError(
                f"{series.title}: {', '.join(map(repr, series.targets))} never changes in the training part: there is "
                "nothing to forecast"
            )
        for name in [name for name, (_, std) in scale.items() if not std]:
            _logger.warning("%r has one value in the whole training part: it is not scaled", name)
        counts = {name: len(_starts(bound, name, options)) for name, bound in bounds.items()}
        _logger.info(
            "%s: %s steps of %d channels; %s windows to train on, %s for validation, %s for the test",
            *(series.title, f"{num_steps:,}", len(series.names)),
            *(f"{count:,}" for count in counts.values()),
        )
        return {
            "channels": [
                {"name": name, "mean": mean, "std": std or 1.0} for name, (mean, std) in scale.items()
            ],
            "target": {
                "names": series.targets,
                "mean": [scale[name][0] for name in series.targets],
                "std": [scale[name][1] or 1.0 for name in series.targets],
            },
            **options,
            "counts": counts,
            "fingerprint": series.fingerprint,
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
            self._scaled = self._standardised(_filled(series, learnt))
            self._loaded = None
        names = [channel["name"] for channel in learnt["channels"]]
        columns = torch.tensor([names.index(name) for name in learnt["target"]["names"]])
        bounds = cut(len(self._scaled), learnt["val_fraction"], learnt["test_fraction"])
        starts = _starts(bounds[split], split, learnt)
        return WindowSamples(self._scaled, columns, starts, learnt["window"], learnt["horizon"])

    def _standardised(self, values: Values) -> Tensor:
        mean, std = (
            np.array([channel[key] for channel in self.preprocessing["channels"]]) for key in ("mean", "std")
        )
        # Divided first: the difference of two numbers near the largest float overflows.
        return torch.from_numpy((values / std - mean / std).astype(np.float32))

    def read(self, items: Sequence[str]) -> Iterator[tuple[str, SeriesBatch | str]]:
        """Read the last window of each file; the steps that follow it are forecast; see `DataModule.read`."""
        names = [channel["name"] for channel in self.preprocessing["channels"]]
        for item in items:
            if item == "-":
                yield item, "a series is read from a CSV file, not from standard input: name the file"
                continue
            try:
                yield item, self._last_window(item, self.read_values(item, names))
            except UserError as error:
                yield item, str(error)

    def _last_window(self, item: str, values: Values) -> SeriesBatch:
        window = self.preprocessing["window"]
        if len(values) < window:
            raise UserError(f"{item} has {len(values):,} rows, and the model reads the last {window:,}")
        inputs = self._standardised(fill_gaps(values, [len(values)])[-window:])
        target = torch.zeros(1, self.facts()["num_outputs"])
        return SeriesBatch(inputs.unsqueeze(0), target, torch.zeros(1, dtype=torch.int64))


def cut(num_steps: int, val_fraction: float, test_fraction: float) -> dict[Split, tuple[int, int]]:
    """Return the first step of each part and the one after its last; a part with a share has at least one."""
    num_test = max(1, round(num_steps * test_fraction)) if test_fraction else 0
    num_val = max(1, round(num_steps * val_fraction)) if val_fraction else 0
    test, val = num_steps - num_test, num_steps - num_test - num_val
    return {"train": (0, val), "val": (val, test), "test": (test, num_steps)}


def _starts(bound: tuple[int, int], split: Split, options: dict[str, Any]) -> Tensor:
    first, end = max(bound[0], options["window"]), bound[1] - options["horizon"] + 1
    return torch.arange(first, max(first, end), options["stride"] if split == "train" else 1)


def _suffices(num_steps: int, options: dict[str, Any]) -> bool:
    """Return whether each split that is wanted has a window."""
    bounds = cut(num_steps, options["val_fraction"], options["test_fraction"])
    return all(
        len(_starts(bound, name, options))
        for name, bound in bounds.items()
        if name == "train" or bound[0] < bound[1]
    )


def _too_short(title: str, num_steps: int, options: dict[str, Any]) -> str:
    window, horizon = options["window"], options["horizon"]
    needed = max(num_steps, window + horizon)
    while not _suffices(needed, options):
        needed += 1
    return (
        f"{title} has {num_steps:,} steps, at least {needed:,} are needed: {window + horizon:,} to train on "
        f"(data.window={window} and data.horizon={horizon}) and {horizon:,} in each part that is held out "
        f"(data.val_fraction={options['val_fraction']:g}, data.test_fraction={options['test_fraction']:g})\n"
        "    a smaller data.window or data.horizon needs fewer; data.val_fraction=0 holds nothing out for validation"
    )


def _filled(series: LoadedSeries, options: dict[str, Any]) -> Values:
    bounds = cut(len(series.values), options["val_fraction"], options["test_fraction"])
    return fill_gaps(series.values, [end for _, end in bounds.values()])


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
