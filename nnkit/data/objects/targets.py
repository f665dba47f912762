"""Targets that come as an array: classes, real values, or labels."""

from collections.abc import Mapping, Sequence
from typing import Any

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


def learn_targets(
    given: Array, wanted: Sequence[str], names: Sequence[str] | None, title: str
) -> dict[str, Any]:
    """Return what the targets of all samples are, as `read_targets` needs it.

    Args:
        given: Target of each sample, (samples,) or (samples, outputs): numbers, or names of classes.
        wanted: ``${task.targets}``.
        names: Names of the classes 0, 1, ..., or of the labels; None: classes are named by their targets.
        title: What messages call the data.

    Returns:
        "class_names" of classes and labels; "target" with "codes", what stands for each class in the array, which is
        its place where classes are one-hot, and None for labels. For real values `learn_target_scale` adds the scale.

    Raises:
        UserError: If they are no such targets.
        ConfigError: If they are targets of another task.
    """
    given = _plain(given, title)
    if given.dtype.kind == "f" and len(
        bad := np.flatnonzero(~np.isfinite(given).reshape(len(given), -1).all(axis=1))
    ):
        raise UserError(f"{title}: {len(bad):,} targets are NaN or infinite: samples {listed(bad.tolist())}")
    if "multi" not in wanted and "index" not in wanted:
        _check_real_values(given, title)
        return {"target": {"name": "y"}}
    codes, names = (_labels if "multi" in wanted else _classes)(given, names, title)
    return {"target": {"name": "y", "codes": codes}, "class_names": names}


def learn_target_scale(values: Tensor) -> dict[str, list[float]]:
    """Return mean and standard deviation of each output over training samples (samples, outputs)."""
    std, mean = torch.std_mean(values, dim=0, correction=0)
    # Rounding alone does not make a constant output one that changes.
    std = torch.where(std <= 1e-9 * mean.abs(), 1.0, std)
    return {"mean": mean.tolist(), "std": std.tolist()}


def read_targets(given: Array, learnt: Mapping[str, Any], title: str) -> Tensor:
    """Return targets as the network learns them, those of the run or of other samples.

    Args:
        given: As in `learn_targets`.
        learnt: `DataModule.preprocessing` with what `learn_targets` returned.
        title: What messages call the data.

    Returns:
        Class (samples,) int64, -1 for none; labels (samples, labels) float32; or real values (samples, outputs),
        float32 where the scale is learnt, else float64 as they are, NaN for none.

    Raises:
        UserError: If they have another shape.
    """
    given = _plain(given, title)
    target, names = learnt["target"], learnt.get("class_names")
    if target.get("codes") is not None:
        found, places = np.unique(given.argmax(1) if given.ndim == 2 else given, return_inverse=True)
        classes = {code: place for place, code in enumerate(target["codes"])}
        return torch.tensor([classes.get(code, -1) for code in found.tolist()])[torch.from_numpy(places)]
    if given.dtype.kind == "U":
        raise UserError(f"{title}: targets are texts such as {str(given.flat[0])!r}, not numbers")
    values = torch.from_numpy(given.reshape(len(given), -1).astype(np.float64))
    outputs = names or target.get("mean")
    if outputs and values.shape[1] != len(outputs):
        raise UserError(
            f"{title}: targets have {values.shape[1]} values a sample, those of the run {len(outputs)}"
        )
    if "mean" in target:
        mean, std = (torch.tensor(target[name], dtype=torch.float64) for name in ("mean", "std"))
        values = (values - mean) / std
    return values.float() if outputs else values


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


def _check_real_values(given: Array, title: str) -> None:
    if given.dtype.kind == "U":
        text = f"{title}: targets are texts such as {str(given.flat[0])!r}, not numbers"
        raise _other("classification", text)
    if (given == given[0]).all():
        raise UserError(f"{title}: all targets are {given[0].tolist()}: there is nothing to predict")
    if np.abs(given.astype(np.float64)).max() > _MAX_VALUE:
        raise UserError(
            f"{title}: targets beyond {_MAX_VALUE:g} have infinite squared errors: use another unit"
        )


def _labels(given: Array, names: Sequence[str] | None, title: str) -> tuple[None, list[str]]:
    if given.ndim != 2 or not np.isin(given, (0, 1)).all():
        text = f"{title}: labels are vectors of 0 and 1, targets are not"
        raise _other("classification or task=regression", text)
    return None, _named(names, given.shape[1], title)


def _classes(given: Array, names: Sequence[str] | None, title: str) -> tuple[list[Any], list[str]]:
    """Return what stands for each class in the array, and its name."""
    if given.ndim == 2:
        if not (np.isin(given, (0, 1)).all() and (given.sum(1) == 1).all()):
            text = f"{title}: a class is one number, and targets are vectors of {given.shape[1]}"
            raise _other("multilabel" if np.isin(given, (0, 1)).all() else "regression", text)
        return [*range(given.shape[1])], _named(names, given.shape[1], title)
    if given.dtype.kind == "f" and len(odd := np.flatnonzero(given % 1)):
        raise _other("regression", f"{title}: target {given[odd[0]]:g} of sample {odd[0]} is no class")
    codes = np.unique(given if given.dtype.kind == "U" else given.astype(np.int64)).tolist()
    if names is not None and given.dtype.kind != "U":
        if codes[0] < 0 or codes[-1] >= len(names):
            wrong = codes[0] if codes[0] < 0 else codes[-1]
            raise UserError(
                f"{title}: target {wrong} is outside of the {len(names)} classes that `classes` names"
            )
        return [*range(len(names))], list(map(str, names))
    if len(codes) > max(_MAX_CLASSES, len(given) // _MIN_SAMPLES_PER_CLASS):
        found = some_of(list(map(str, codes)), _LISTED)
        text = f"{title}: {len(given):,} samples have {len(codes):,} different targets ({found}): these are no classes"
        raise _other("regression", text)
    if len(codes) < 2:
        raise UserError(f"{title}: all targets are {codes[0]}: there is nothing to tell apart")
    return codes, list(map(str, codes))


def _named(names: Sequence[str] | None, size: int, title: str) -> list[str]:
    if names is not None and len(names) != size:
        raise UserError(f"{title}: `classes` holds {len(names)} names, targets have {size} values")
    return list(map(str, range(size) if names is None else names))
