"""A torch Dataset of the user's own: pairs of an input and a target, by number."""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from nnkit.data.base import Split
from nnkit.data.objects.base import Array, ArrayData, Pairs, join_splits
from nnkit.data.objects.files import check_memory
from nnkit.errors import UserError

_logger = logging.getLogger("nnkit")

Make = Callable[[], Dataset[Any]]


@dataclass(kw_only=True, eq=False)
class PairDataset(ArrayData):
    """A map-style Dataset whose samples are pairs (input, target), all inputs of one shape.

    All samples are read once at the start and kept in memory, so each must be the same whenever it is asked for. An
    attribute `classes` names the classes that whole numbers as targets stand for.

    Attributes:
        dataset: Makes the dataset; in a config, its class and arguments.
        val_dataset: Makes that of the validation samples; None: they are taken from `dataset`.
        test_dataset: Makes that of the test samples; None: they are taken from `dataset`.

    Raises:
        ValueError: If there is no dataset, or an option is out of range.
    """

    dataset: Make | None = None
    val_dataset: Make | None = None
    test_dataset: Make | None = None

    # Arguments that are nodes of their own in a config.
    node_names: ClassVar[tuple[str, ...]] = ("dataset", "val_dataset", "test_dataset")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dataset is None:
            raise ValueError("dataset must name a class of yours: data.dataset._target_=mine.Spirals")
        if self.fold is not None and self.test_dataset is not None:
            raise ValueError(
                "fold makes one fold the test split and test_dataset is one: leave one of them out"
            )

    def open(self) -> Pairs:
        """Make the datasets and read all samples.

        Raises:
            UserError: If that fails, or the samples are not alike.
        """
        makers: dict[Split, Make | None] = {
            "train": self.dataset,
            "val": self.val_dataset,
            "test": self.test_dataset,
        }
        parts: dict[Split, tuple[Array, Array]] = {}
        names: list[str] | None = None
        title = ""
        for split, make in makers.items():
            if make is None:
                continue
            name = _title(make)
            dataset = _made(make, name)
            parts[split] = _read_pairs(dataset, name)
            if split == "train":
                title, classes = name, getattr(dataset, "classes", None)
                names = None if classes is None else list(map(str, classes))
        inputs, targets, settled = join_splits(parts, title)
        return Pairs(title, inputs, targets, settled, _fingerprint(inputs, targets, names), names)


def _title(make: Make) -> str:
    made = getattr(make, "func", make)
    return f"{made.__module__}.{made.__qualname__}"


def _made(make: Make, title: str) -> Dataset[Any]:
    try:
        dataset = make()
    except Exception as error:
        raise UserError(f"{title} cannot be made: {type(error).__name__}: {error}") from error
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        raise UserError(f"{title} is no map-style dataset: it needs __len__ and __getitem__(number)")
    return dataset


def _read_pairs(dataset: Any, title: str) -> tuple[Array, Array]:
    """Return all inputs (samples, *shape) and all targets (samples,) or (samples, outputs) of a dataset."""
    size = len(dataset)
    if not size:
        raise UserError(f"{title} has no samples")
    first, first_target = _pair(dataset, 0, title)
    remedy = "a data module of your own reads them batch by batch: docs/extending.md"
    check_memory(first.nbytes * size, f"{title}: {size:,} inputs of the shape {first.shape}", remedy)
    inputs, targets = np.empty((size, *first.shape), first.dtype), []
    for number in range(size):
        value, target = _pair(dataset, number, title)
        for what, part, of_first in (("input", value, first), ("target", target, first_target)):
            if part.shape != of_first.shape:
                raise UserError(
                    f"{title}: the {what} of sample {number:,} has the shape {part.shape}, that of sample 0 "
                    f"{of_first.shape}: all must have one shape"
                )
        if value.dtype != inputs.dtype and not np.can_cast(value.dtype, inputs.dtype):
            inputs = inputs.astype(np.promote_types(value.dtype, inputs.dtype))
        inputs[number] = value
        targets.append(target)
    again, _ = _pair(dataset, size - 1, title)
    if not np.array_equal(again, value, equal_nan=value.dtype.kind == "f"):
        raise UserError(
            f"{title}: sample {size - 1:,} is another one each time it is asked for; random changes would be "
            "drawn once and stay: leave them out"
        )
    return inputs, np.stack(targets)


def _pair(dataset: Any, number: int, title: str) -> tuple[Array, Array]:
    try:
        sample = dataset[number]
    except Exception as error:
        raise UserError(
            f"{title}: sample {number:,} cannot be read: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(sample, tuple | list) or len(sample) != 2:
        found = f"{len(sample)} values" if isinstance(sample, tuple | list) else f"a {type(sample).__name__}"
        raise UserError(f"{title}: sample {number:,} is {found}, not a pair (input, target)")
    inputs, target = map(_array, sample)
    if inputs.dtype.kind not in "fiub" or target.dtype.kind not in "fiubU":
        kinds = " and ".join(type(part).__name__ for part in sample)
        raise UserError(
            f"{title}: sample {number:,} is a {kinds}: an input must be a tensor or an array of numbers, a target a "
            "number, a name or a vector"
        )
    return inputs, target


def _array(value: Any) -> Array:
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        # NumPy has no such numbers.
        numbers: Array = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
        return numbers
    try:
        return np.asarray(value)
    except ValueError:
        # Nested lists of unequal lengths.
        return np.empty(0, object)


def _fingerprint(inputs: Array, targets: Array, names: list[str] | None) -> str:
    digest = hashlib.sha256(
        repr((inputs.dtype.str, inputs.shape, targets.dtype.str, targets.shape, names)).encode()
    )
    digest.update(np.ascontiguousarray(inputs).data)
    digest.update(np.ascontiguousarray(targets).tobytes())
    return digest.hexdigest()
