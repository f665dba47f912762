"""Targets that come as an array: classes, real values, or labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nnkit.batches import listed
from nnkit.errors import ConfigError, Problem, UserError
from nnkit.suggest import some_of

Array = NDArray[Any]

# More different whole numbers are amounts rather than classes, unless each has ten samples.
_MAX_CLASSES, _MIN_SAMPLES_PER_CLASS = 50, 10
# The squared errors of larger real values are infinite in float32.
_MAX_VALUE = 1e18
_LISTED = 5


@dataclass(frozen=True)
class Targets:
    """The target of each sample.

    Attributes:
        kind: "index": a class, "real": real values, "multi": labels that a sample has or has not.
        values: Classes (samples,) int64; real values (samples, outputs) float64; labels (samples, classes) float32.
        class_names: Names of the classes or labels; None for real values.
        codes: What stands for each class in the array, its place where classes are one-hot; None for all others.
    """

    kind: Literal["index", "real", "multi"]
    values: Tensor
    class_names: list[str] | None = None
    codes: list[Any] | None = None

    def learn(self, training: Tensor) -> dict[str, Any]:
        """Return the names of the classes, or the scale of real values in the training samples."""
        if self.class_names is not None:
            return {"target": {"name": "y", "codes": self.codes}, "class_names": self.class_names}
        std, mean = torch.std_mean(self.values[training], dim=0, correction=0)
        # Rounding alone does not make a constant output one that changes.
        std = torch.where(std <= 1e-9 * mean.abs(), 1.0, std)
        return {"target": {"name": "y", "mean": mean.tolist(), "std": std.tolist()}}


def on_scale(values: Tensor, learnt: Mapping[str, Any]) -> Tensor:
    """Return real values (samples, outputs) as the network learns them; classes and labels as they are."""
    if "mean" not in learnt["target"]:
        return values
    mean, std = (torch.tensor(learnt["target"][name], dtype=torch.float64) for name in ("mean", "std"))
    return ((values - mean) / std).float()


def read_targets(given: Array, wanted: Sequence[str], names: Sequence[str] | None, title: str) -> Targets:
    """Turn an array into targets of the type that the task wants.

    Args:
        given: Target of each sample, (samples,) or (samples, outputs): numbers, or names of classes.
        wanted: ``${task.targets}``.
        names: Names of the classes 0, 1, ..., or of the labels; None: classes are named by their targets.
        title: What messages call the data.

    Raises:
        UserError: If they are no such targets.
        ConfigError: If they are targets of another task.
    """
    given = _plain(given, title)
    if given.dtype.kind == "f" and len(
        bad := np.flatnonzero(~np.isfinite(given).reshape(len(given), -1).all(axis=1))
    ):
        raise UserError(f"{title}: {len(bad):,} targets are NaN or infinite: samples {listed(bad.tolist())}")
    if "multi" in wanted:
        return _labels(given, names, title)
    if "index" in wanted:
        return _classes(given, names, title)
    if given.dtype.kind == "U":
        raise _other(
            "classification", f"{title}: targets are texts such as {str(given.flat[0])!r}, not numbers"
        )
    values = torch.from_numpy(given.reshape(len(given), -1).astype(np.float64))
    if (values == values[0]).all():
        raise UserError(f"{title}: all targets are {given[0].tolist()}: there is nothing to predict")
    if values.abs().max() > _MAX_VALUE:
        raise UserError(
            f"{title}: targets beyond {_MAX_VALUE:g} have infinite squared errors: use another unit"
        )
    return Targets("real", values)


def read_true_targets(given: Array, learnt: Mapping[str, Any], title: str) -> Tensor:
    """Return targets of other samples than those that were learnt from; -1 or NaN where there is none.

    Args:
        given: As in `read_targets`.
        learnt: `DataModule.preprocessing` with what `Targets.learn` returned.
        title: What messages call the data.

    Raises:
        UserError: If they have another shape.
    """
    given = _plain(given, title)
    target, names = learnt["target"], learnt.get("class_names")
    if names is not None and target["codes"] is not None:
        if given.ndim == 2:
            given = given.argmax(1)
        places = {code: place for place, code in enumerate(target["codes"])}
        return torch.tensor([places.get(code, -1) for code in given.tolist()], dtype=torch.int64)
    if given.dtype.kind == "U":
        raise UserError(f"{title}: targets are texts such as {str(given.flat[0])!r}, not numbers")
    values = given.reshape(len(given), -1).astype(np.float64)
    outputs = len(target["mean"] if names is None else names)
    if values.shape[1] != outputs:
        raise UserError(
            f"{title}: targets have {values.shape[1]} values a sample, those of the run {outputs}"
        )
    return on_scale(torch.from_numpy(values), learnt).float()


def _plain(given: Array, title: str) -> Array:
    if given.ndim == 2 and given.shape[1] == 1:
        given = given[:, 0]
    if given.ndim not in (1, 2) or given.dtype.kind not in "fiubU" or not len(given):
        shape = given.shape[1:]
        raise UserError(
            f"{title}: a target must be a number, a name or a vector, not {given.dtype} of shape {shape}"
        )
    return given


def _other(task: str, text: str) -> ConfigError:
    return ConfigError([Problem("task", text, f"type task={task}")])


def _labels(given: Array, names: Sequence[str] | None, title: str) -> Targets:
    if given.ndim != 2 or not np.isin(given, (0, 1)).all():
        raise _other(
            "classification or task=regression", f"{title}: labels are vectors of 0 and 1, targets are not"
        )
    return Targets("multi", torch.from_numpy(given.astype(np.float32)), _named(names, given.shape[1], title))


def _classes(given: Array, names: Sequence[str] | None, title: str) -> Targets:
    if given.ndim == 2:
        if not (np.isin(given, (0, 1)).all() and (given.sum(1) == 1).all()):
            text = f"{title}: a class is one number, and targets are vectors of {given.shape[1]}"
            raise _other("multilabel" if np.isin(given, (0, 1)).all() else "regression", text)
        names = _named(names, given.shape[1], title)
        return Targets("index", torch.from_numpy(given.argmax(1)), names, [*range(len(names))])
    if given.dtype.kind == "f" and len(odd := np.flatnonzero(given % 1)):
        raise _other("regression", f"{title}: target {given[odd[0]]:g} of sample {odd[0]} is no class")
    codes, classes = np.unique(
        given if given.dtype.kind == "U" else given.astype(np.int64), return_inverse=True
    )
    if names is not None and given.dtype.kind != "U":
        if codes[0] < 0 or codes[-1] >= len(names):
            wrong = codes[0] if codes[0] < 0 else codes[-1]
            raise UserError(
                f"{title}: target {wrong} is outside of the {len(names)} classes that `classes` names"
            )
        return Targets(
            "index", torch.from_numpy(given.astype(np.int64)), list(map(str, names)), [*range(len(names))]
        )
    if len(codes) > max(_MAX_CLASSES, len(given) // _MIN_SAMPLES_PER_CLASS):
        found = some_of(list(map(str, codes.tolist())), _LISTED)
        text = f"{title}: {len(given):,} samples have {len(codes):,} different targets ({found}): these are no classes"
        raise _other("regression", text)
    if len(codes) < 2:
        raise UserError(f"{title}: all targets are {codes[0]}: there is nothing to tell apart")
    return Targets("index", torch.from_numpy(classes), list(map(str, codes.tolist())), codes.tolist())


def _named(names: Sequence[str] | None, size: int, title: str) -> list[str]:
    if names is not None and len(names) != size:
        raise UserError(f"{title}: `classes` holds {len(names)} names, targets have {size} values")
    return list(map(str, range(size) if names is None else names))
