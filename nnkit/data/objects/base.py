"""What arrays and a user's Dataset share: inputs of any one shape with a target each, split, scaled and gathered."""

import logging
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nnkit.batches import Batch, ImageBatch, SeriesBatch, TableBatch, listed
from nnkit.data.base import DataModule, Preprocessing, Samples, Split
from nnkit.data.objects.files import Role, arrays_by_role, open_arrays
from nnkit.data.objects.targets import learn_target_scale, learn_targets, read_targets
from nnkit.data.sampler import Draw
from nnkit.data.splits import SPLIT_TITLES, RandomSplit, settled_by_sizes
from nnkit.data.splitting import SplitKeys
from nnkit.errors import UserError
from nnkit.files.paths import expand

_logger = logging.getLogger("nnkit")

Array = NDArray[Any]


class _Kind(NamedTuple):
    """What an input is: the facts that are its shape, and the shape in messages."""

    facts: tuple[str, ...]
    shape: str
    batch: type[TableBatch] | type[ImageBatch] | type[SeriesBatch]
    # Entries along it are scaled apart: features, or channels.
    scaled_axis: int = 0


_KINDS = {
    "table": _Kind(("num_features",), "(features)", TableBatch),
    "pictures": _Kind(("in_channels", "height", "width"), "(channels, height, width)", ImageBatch),
    "series": _Kind(("window", "num_channels"), "(time, channels)", SeriesBatch, scaled_axis=1),
}
# Numbers that are looked at together.
_CHUNK = 1 << 22
_CHANNELS = (1, 3, 4)


@dataclass(frozen=True)
class Pairs:
    """Inputs and targets in memory, all splits one after the other.

    Attributes:
        title: What messages call them.
        inputs: Inputs of one shape, (samples, *shape), numbers; may be memory-mapped.
        targets: Target of each, (samples,) or (samples, outputs).
        settled: As in `nnkit.data.splitting.make_splits`.
        fingerprint: SHA-256 of what they were read from.
        class_names: Names of the classes that targets number; None: those are named by their targets.
    """

    title: str
    inputs: Array
    targets: Array
    settled: Tensor | None
    fingerprint: str
    class_names: Sequence[str] | None = None


class ArraySamples(Samples):
    """One split of arrays; a batch is gathered and scaled at once.

    Args:
        inputs: Inputs of all splits as the network sees them but for the scale, (samples, *shape).
        targets: Target of each, on the network's scale.
        rows: Which make up the split, int64.
        scale: Mean and standard deviation, each of a shape that an input can be scaled by.
        kind: "table", "pictures" or "series".
    """

    def __init__(
        self, inputs: Array, targets: Tensor, rows: Tensor, scale: tuple[Array, Array], kind: str
    ) -> None:
        self._inputs = inputs
        self._targets = targets
        self._rows = rows
        self._scale = scale
        self._batch = _KINDS[kind].batch

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, draw: Draw) -> Batch:
        rows = self._rows.index_select(0, draw.indices)
        inputs = _scaled(self._inputs[rows.numpy()], self._scale)
        return self._batch(inputs, self._targets.index_select(0, rows), draw.indices)

    def targets(self) -> Tensor:
        """Return the target of each sample."""
        return self._targets.index_select(0, self._rows)


@dataclass(kw_only=True, eq=False)
class ArrayData(RandomSplit, DataModule):
    """Base of data that are arrays: a subclass opens them.

    What an input is follows from `data.kind`: a table has a vector for each sample, pictures are (channels, height,
    width) or (height, width), a series is (time, channels). Pictures with the channels last are turned.

    Attributes:
        kind_of_input: ``${data.kind}``.
        targets: ``${task.targets}``: "index" makes targets classes, "real" real values, "multi" labels (0 or 1 each).
        standardize: Whether each feature, or each channel, is shifted and scaled to mean 0 and standard deviation 1 of
            the training samples. Without it numbers stay as they are, but bytes of pictures, which become 0 to 1.

    Raises:
        ValueError: If an option is out of range.
    """

    kind_of_input: str = "table"
    targets: Sequence[str] = ("index",)
    standardize: bool = True

    fact_names: ClassVar[tuple[str, ...]] = (
        *(name for kind in _KINDS.values() for name in kind.facts),
        *("num_classes", "num_outputs"),
    )
    is_checked = True
    reads_targets = True

    def __post_init__(self) -> None:
        if self.kind_of_input not in _KINDS:
            raise ValueError(f"kind must be one of {', '.join(_KINDS)}, not {self.kind_of_input}")
        super().__post_init__()

    def forget(self) -> None:
        """Drop the arrays."""
        super().forget()
        self._arranged: tuple[Array, Tensor, dict[Split, Tensor]] | None = None

    @abstractmethod
    def open(self) -> Pairs:
        """Read the arrays.

        Raises:
            UserError: If they cannot be had.
        """

    def prepare(self) -> Preprocessing:
        """Open the arrays, split them, and learn the scale from the training samples."""
        pairs = self.open()
        inputs = _arrange(pairs.inputs, self.kind_of_input, pairs.title, is_new=True)
        learnt = learn_targets(pairs.targets, self.targets, pairs.class_names, pairs.title)
        targets = read_targets(pairs.targets, learnt, pairs.title)
        rows = self._split(pairs, targets)
        _refuse_not_finite(inputs, pairs.title)
        counts = {name: len(part) for name, part in rows.items()}
        shape = " x ".join(map(str, inputs.shape[1:]))
        said = ", ".join(f"{counts[name]:,} for {title}" for name, title in SPLIT_TITLES.items())
        _logger.info(
            "%s: inputs of %s numbers (data.kind=%s); samples: %s",
            *(pairs.title, shape, self.kind_of_input, said),
        )
        if "class_names" not in learnt:
            learnt["target"] |= learn_target_scale(targets[rows["train"]])
            targets = read_targets(pairs.targets, learnt, pairs.title)
        self._arranged = inputs, targets, rows
        return {
            "shape": list(inputs.shape[1:]),
            "given_shape": list(pairs.inputs.shape[1:]),
            **_learn_scale(inputs, rows["train"], self.kind_of_input, self.standardize),
            **learnt,
            **self.split_options,
            "counts": counts,
            "fingerprint": pairs.fingerprint,
        }

    def _split(self, pairs: Pairs, targets: Tensor) -> dict[Split, Tensor]:
        keys = SplitKeys() if pairs.settled is None else SplitKeys(settled=pairs.settled)
        # Real values and labels have two axes.
        return self.split_rows(len(targets), targets if targets.ndim == 1 else None, **keys)

    def facts(self) -> dict[str, Any]:
        """Return the shape of an input by the names of its kind, and the number of classes or outputs; else None."""
        learnt = self.preprocessing
        names = learnt.get("class_names")
        known = dict(zip(_KINDS[self.kind_of_input].facts, learnt["shape"], strict=True))
        known |= {"num_classes": len(names)} if names else {"num_outputs": len(learnt["target"]["mean"])}
        return {name: known.get(name) for name in self.fact_names}

    def samples(self, split: Split) -> ArraySamples:
        """Open one split as the run that wrote `preprocessing` split the data.

        Raises:
            UserError: If they are gone or have changed since.
        """
        if self._arranged is None:
            pairs = self.open()
            self.unchanged(pairs.title, pairs.fingerprint)
            inputs = _arrange(pairs.inputs, self.kind_of_input, pairs.title, is_new=False)
            targets = read_targets(pairs.targets, self.preprocessing, pairs.title)
            self._arranged = inputs, targets, self._split(pairs, targets)
        inputs, targets, rows = self._arranged
        return ArraySamples(inputs, targets, rows[split], self._scale(), self.kind_of_input)

    def _scale(self) -> tuple[Array, Array]:
        learnt, scaled_axis = self.preprocessing, _KINDS[self.kind_of_input].scaled_axis
        others = tuple(axis for axis in range(len(learnt["shape"])) if axis != scaled_axis)
        mean, std = (
            np.expand_dims(np.array(learnt[name]) * learnt["unit"], others) for name in ("mean", "std")
        )
        return mean, std

    def read(self, items: Sequence[str]) -> Iterator[tuple[str, Batch | str]]:
        """Read the inputs of .npy and .npz files as batches of one named ``file.npy:number``; see `DataModule.read`."""
        for item in items:
            try:
                yield from self._read_file(item)
            except UserError as error:
                yield item, str(error)

    def roles_in(self, arrays: dict[str, Array], title: str) -> dict[Role, Array]:
        """Return the arrays of a file that the user names for a trained run by what each is; see `arrays_by_role`."""
        return arrays_by_role(arrays, title)

    def _read_file(self, item: str) -> Iterator[tuple[str, Batch]]:
        found = self.roles_in(open_arrays(expand(item), item), item)
        splits = [split for split, role in found if role == "inputs"]
        if len(splits) > 1:
            raise UserError(f"{item} holds inputs of {' and '.join(splits)}: save those to predict as x")
        inputs = self._as_in_training(found[splits[0], "inputs"], item)
        given, learnt, size = found.get((splits[0], "targets")), self.preprocessing, len(inputs)
        if given is not None and len(given) == size:
            targets = read_targets(given, learnt, item)
        elif "index" in self.targets:
            targets = torch.full((size,), -1)
        else:
            outputs = learnt.get("class_names") or learnt["target"]["mean"]
            targets = torch.full((size, len(outputs)), torch.nan)
        scale, zero = self._scale(), torch.zeros(1, dtype=torch.int64)
        for row in range(size):
            one = _scaled(inputs[row : row + 1], scale)
            batch = _KINDS[self.kind_of_input].batch(one, targets[row : row + 1], zero)
            yield f"{item}:{row + 1}", batch

    def _as_in_training(self, inputs: Array, item: str) -> Array:
        given = tuple(self.preprocessing["given_shape"])
        if inputs.shape == given:
            inputs = inputs[None]
        if inputs.shape[1:] != given:
            expected = ", ".join(map(str, ("samples", *given)))
            raise UserError(f"{item} holds an array of the shape {inputs.shape}, expected is ({expected})")
        if not len(inputs):
            raise UserError(f"{item} holds no samples")
        arranged = _arrange(inputs, self.kind_of_input, item, is_new=False)
        _refuse_not_finite(arranged, item)
        return arranged


def _arrange(inputs: Array, kind: str, title: str, *, is_new: bool) -> Array:
    """Return inputs in the shape of their kind, that of a batch of it; what was decided is logged if they are new."""
    shape = inputs.shape[1:]
    if inputs.dtype.kind not in "fiub":
        raise UserError(f"{title}: inputs must be numbers, not {inputs.dtype}")
    if kind == "table" and not shape:
        return inputs[:, None]
    if kind == "pictures" and len(shape) == 2:
        return inputs[:, None]
    if kind == "pictures" and len(shape) == 3 and shape[2] in _CHANNELS and shape[0] not in _CHANNELS:
        if is_new:
            _logger.warning(
                "%s: inputs of the shape %s are taken as height, width and channels; transpose them if that is wrong",
                *(title, shape),
            )
        return np.moveaxis(inputs, -1, 1)
    if len(shape) == len(_KINDS[kind].facts):
        return inputs
    fitting = [
        f"data.kind={name} {other.shape}" for name, other in _KINDS.items() if len(other.facts) == len(shape)
    ]
    fitting += ["data.kind=pictures (height, width)"] if len(shape) == 2 else []
    raise UserError(
        f"{title}: inputs have the shape {shape}, expected is {_KINDS[kind].shape} (data.kind={kind})\n"
        f"    {'type ' + ' or '.join(fitting) if fitting else 'give vectors, pictures or series'}"
    )


def join_splits(parts: Mapping[Split, tuple[Array, Array]], title: str) -> tuple[Array, Array, Tensor | None]:
    """Put inputs and targets of several splits one after the other.

    Args:
        parts: Inputs and targets of each, "train" first.
        title: What messages call them.

    Returns:
        Inputs, targets, and which split each is in; None if there is one split only.

    Raises:
        UserError: If they do not go together.
    """
    shape = parts["train"][0].shape[1:]
    for split, (inputs, targets) in parts.items():
        if not inputs.ndim or not targets.ndim or len(inputs) != len(targets) or not len(inputs):
            sizes = f"{inputs.shape} and {targets.shape}"
            raise UserError(
                f"{title}: inputs and targets of the {split} split have the shapes {sizes}: one a sample"
            )
        if inputs.shape[1:] != shape:
            text = f"inputs of the {split} split have the shape {inputs.shape[1:]}, those of the training split {shape}"
            raise UserError(f"{title}: {text}")
    if len(parts) == 1:
        return *parts["train"], None
    settled = settled_by_sizes({split: len(targets) for split, (_, targets) in parts.items()})
    inputs, targets = (np.concatenate([part[place] for part in parts.values()]) for place in (0, 1))
    return inputs, targets, settled


def _learn_scale(inputs: Array, rows: Tensor, kind: str, standardize: bool) -> dict[str, Any]:
    """Return "mean" and "std" of each feature or channel over some rows, in units of "unit"; 0 and 1 if none is wanted.

    What never changes is shifted only. Bytes of pictures have 255 as unit, so that mean and deviation are in [0, 1].
    """
    axis = 1 + _KINDS[kind].scaled_axis
    size = inputs.shape[axis]
    unit = 255.0 if kind == "pictures" and inputs.dtype == np.uint8 else 1.0
    if not standardize:
        return {"mean": [0.0] * size, "std": [1.0] * size, "unit": unit}
    others = tuple(place for place in range(inputs.ndim) if place != axis)
    total = sum(values.sum(others) for values in _chunks(inputs, rows))
    mean = total / (len(rows) * inputs[0].size / size)
    squares = sum(
        np.square(values - np.expand_dims(mean, others)).sum(others) for values in _chunks(inputs, rows)
    )
    std = np.sqrt(squares / (len(rows) * inputs[0].size / size))
    # Rounding alone does not make a constant feature one that changes.
    std[std <= 1e-9 * np.abs(mean)] = unit
    return {"mean": (mean / unit).tolist(), "std": (std / unit).tolist(), "unit": unit}


def _chunks(inputs: Array, rows: Tensor) -> Iterator[NDArray[np.float64]]:
    """Yield some rows at a time as float64."""
    for part in torch.split(rows, max(1, _CHUNK // max(1, inputs[0].size))):
        yield inputs[part.numpy()].astype(np.float64)


def _scaled(inputs: Array, scale: tuple[Array, Array]) -> Tensor:
    """Return inputs (batch, ...) shifted and scaled, float32; computed with 64 bits, as times in seconds need them."""
    mean, std = scale
    return torch.from_numpy(((inputs - mean) / std).astype(np.float32))


def _refuse_not_finite(inputs: Array, title: str) -> None:
    if inputs.dtype.kind != "f":
        return
    bad: list[int] = []
    first = 0
    for values in _chunks(inputs, torch.arange(len(inputs))):
        finite = np.isfinite(values).reshape(len(values), -1).all(1)
        bad += (first + np.flatnonzero(~finite)).tolist()
        first += len(values)
    if bad:
        raise UserError(
            f"{title}: {len(bad):,} of {len(inputs):,} inputs hold NaN or infinite numbers: samples {listed(bad)}"
        )
