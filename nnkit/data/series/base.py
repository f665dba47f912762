"""What datasets of series share: parts in time order, scaling, and windows gathered by index."""

import logging
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from nnkit.batches import SeriesBatch
from nnkit.data.base import DataModule, Preprocessing, Samples
from nnkit.data.read_batch import ReadBatch, grouped
from nnkit.data.sampler import Draw
from nnkit.data.series.loaded import Bounds, LoadedSeries, Values, cut, fill_gaps, filled_in
from nnkit.data.splits import SPLITS, Split, check_fractions
from nnkit.data.tables.columns import mean_and_std
from nnkit.errors import UserError
from nnkit.suggest import some_of

if TYPE_CHECKING:
    import pyarrow as pa

_logger = logging.getLogger("nnkit")

_LISTED = 5


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
    def read_file(self, item: str, *, with_targets: bool = False) -> LoadedSeries:
        """Read a user's file with `preprocessing`.

        Args:
            item: The file as the user named it.
            with_targets: Whether channels that are forecast and not read are needed.

        Raises:
            UserError: If it cannot be read.
        """

    def prepare(self) -> Preprocessing:
        """Load the series, cut it into parts, and learn the scale of each channel from the training part."""
        series = self._loaded = self.load()
        options = self.split_options
        bounds = _long_enough(series, options, self.is_new)
        filled = filled_in(series, series.bounds(options))
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

    def input_names(self) -> list[str]:
        """Return the names of the channels."""
        return [str(channel["name"]) for channel in self.preprocessing["channels"]]

    def samples(self, split: Split) -> WindowSamples:
        """Open one part as the run that wrote `preprocessing` cut the series.

        Raises:
            UserError: If the series is gone or has changed since.
        """
        learnt = self.preprocessing
        if self._scaled is None:
            series = self._loaded or self.load()
            self.unchanged(series.title, series.fingerprint)
            filled = filled_in(series, series.bounds(learnt))
            self._scaled = (*self._standardised(series, filled), _long_enough(series, learnt, False))
            self._loaded = None
        inputs, targets, bounds = self._scaled
        return WindowSamples(
            inputs, targets, _starts(bounds, split, learnt), learnt["window"], learnt["horizon"]
        )

    def _standardised(self, series: LoadedSeries, values: Values) -> tuple[Tensor, Tensor]:
        """Return the channels that are read and those that are forecast."""
        learnt = self.preprocessing
        channels, target = learnt["channels"], learnt["target"]
        names, *scale = ([channel[key] for channel in channels] for key in ("name", "mean", "std"))
        inputs = _scaled(values[:, series.of(names)], *scale)
        targets = [name for name in target["names"] if name in series.names]
        if len(targets) < len(target["names"]):
            return inputs, torch.zeros(len(inputs), 0)
        return inputs, _scaled(values[:, series.of(targets)], target["mean"], target["std"])

    def read(self, items: Sequence[str]) -> Iterator[tuple[str, SeriesBatch | str]]:
        """Read the last window of each series of each file, whose next steps are forecast; see `DataModule.read`."""
        for name, found, _ in self._read(items):
            yield name, found

    def _read(self, items: Sequence[str]) -> Iterator[tuple[str, SeriesBatch | str, dict[str, list[Any]]]]:
        learnt = self.preprocessing
        for item in items:
            try:
                series = self.read_file(item)
            except UserError as error:
                yield item, str(error), {}
                continue
            start = 0
            for place, (label, size) in enumerate(zip(series.labels, series.lengths(), strict=True)):
                title = f"{item} ({', '.join(label.values())})" if label else item
                described = series.described(place, learnt["horizon"], learnt.get("time"))
                yield title, self._last_window(title, series, slice(start, start + size)), described
                start += size

    def _last_window(self, title: str, series: LoadedSeries, steps: slice) -> SeriesBatch | str:
        window, values = self.preprocessing["window"], series.values[steps]
        if len(values) < window:
            return f"{title} has {len(values):,} rows, and the model reads the last {window:,}"
        inputs, _ = self._standardised(series, fill_gaps(values, [len(values)])[-window:])
        target = torch.zeros(1, self.facts()["num_outputs"])
        return SeriesBatch(inputs.unsqueeze(0), target, torch.zeros(1, dtype=torch.int64))

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

    def labelled_batches(self, path: str) -> Iterator[SeriesBatch]:
        """Return every window of another file with the steps that follow it; see `DataModule.labelled_batches`."""
        learnt = self.preprocessing
        series = self.read_file(path, with_targets=True)
        own: list[dict[Split, int]] = [{"train": 0, "val": 0, "test": size} for size in series.lengths()]
        whole = replace(series, own=own).bounds(learnt)
        inputs, targets = self._standardised(series, filled_in(series, whole))
        starts = _starts(whole, "test", learnt)
        samples = WindowSamples(inputs, targets, starts, learnt["window"], learnt["horizon"])
        if not len(samples):
            needed = learnt["window"] + learnt["horizon"]
            raise UserError(
                f"{path} cannot be tested on: {max(series.lengths()):,} steps, and {needed:,} are needed"
            )
        size = self.eval_batch_size or self.batch_size
        for start in range(0, len(samples), size):
            yield samples[Draw(None, torch.arange(start, min(start + size, len(samples))))]


def _described(found: Sequence[dict[str, list[Any]]], horizon: int) -> "pa.RecordBatch | None":
    """Return what stands beside the steps of forecasts as columns, None in the rows of what cannot be read."""
    import pyarrow as pa

    names = next((list(described) for described in found if described), [])
    columns = {
        name: [value for described in found for value in described.get(name, [None] * horizon)]
        for name in names
    }
    return pa.RecordBatch.from_pydict(columns) if columns else None


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
    """Return the parts of each series that has a window in each, at least one; other series are left out."""
    bounds = series.bounds(options)
    kept = [bound for bound in bounds if _suffices(bound, options)]
    if not kept:
        longest = max(bound["test"][1] - bound["train"][0] for bound in bounds)
        raise UserError(_too_short(series, longest, options))
    short = [place for place, bound in enumerate(bounds) if bound not in kept]
    if short and say:
        named = zip(map(", ".join, map(dict.values, series.labels)), series.lengths(), strict=True)
        titles = [f"{label} ({size:,} steps)" for label, size in named]
        listed = some_of([titles[place] for place in short], _LISTED)
        _logger.warning(
            "%s: %s of %s series are left out, as they are too short for a window in each part: %s",
            *(series.title, f"{len(short):,}", f"{len(bounds):,}", listed),
        )
    return kept


def _too_short(series: LoadedSeries, num_steps: int, options: Mapping[str, Any]) -> str:
    window, horizon = options["window"], options["horizon"]
    if series.own:
        return (
            f"{series.title}: the files of the splits are too short: {window + horizon:,} steps are needed to train on "
            f"(data.window={window} and data.horizon={horizon}) and {horizon:,} in each other file"
        )
    needed = max(num_steps, window + horizon)
    while not _suffices(cut(needed, options["val_fraction"], options["test_fraction"]), options):
        needed += 1
    longest = " in its longest series" if len(series.lengths()) > 1 else ""
    return (
        f"{series.title} has {num_steps:,} steps{longest}, at least {needed:,} are needed: {window + horizon:,} to "
        f"train on (data.window={window} and data.horizon={horizon}) and {horizon:,} in each part that is held out "
        f"(data.val_fraction={options['val_fraction']:g}, data.test_fraction={options['test_fraction']:g})\n"
        "    a smaller data.window or data.horizon needs fewer; data.val_fraction=0 holds nothing out for validation"
    )
