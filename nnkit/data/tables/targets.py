"""The column a table's model is to predict: classes or real values, and the rows that have one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nnkit.data.reading.frame import Column, Numbers, Texts, parse_number
from nnkit.errors import ConfigError, Problem

# Beyond these, numbers are amounts rather than names of classes.
_MAX_DECIMAL_CLASSES = 20
_MAX_WHOLE_CLASSES = 50
_MIN_ROWS_PER_CLASS = 10
# The squared errors of larger real values are infinite in float32.
_MAX_VALUE = 1e18

_ANOTHER = "name another column with data.target=COLUMN"


@dataclass(frozen=True)
class Target:
    """The target of each row.

    Attributes:
        values: Class (rows,) int64, or real value (rows,) float64; anything where the row has none.
        kept: Numbers of the rows that have a target, int64.
        class_names: Names of the classes, numbers by size and texts by alphabet; None for real values.
    """

    values: Tensor
    kept: Tensor
    class_names: list[str] | None


def _refuse(text: str, hint: str = "") -> ConfigError:
    return ConfigError([Problem("data.target", text, hint)])


def read_target(name: str, column: Column, classes: bool) -> Target:
    """Turn a column into targets.

    Args:
        name: The column's name.
        column: The column; one of texts if `classes`.
        classes: Whether its values are classes or real values.

    Raises:
        ConfigError: If they cannot be what they are to be, or are all the same.
    """
    if classes:
        assert isinstance(column, Texts)
        return _read_classes(name, column)
    return _read_values(name, column)


def _read_classes(name: str, column: Texts) -> Target:
    kept = np.flatnonzero(column.codes >= 0)
    if not len(kept):
        raise _refuse(f"column {name!r} holds no value at all", _ANOTHER)
    numbers = _number_keys(column.values)
    if numbers is None:
        if len(column.values) > max(_MAX_DECIMAL_CLASSES, len(kept) / 2):
            raise _refuse(
                f"column {name!r} has {len(column.values):,} different texts in {len(kept):,} rows, such as "
                f"{column.values[0]!r}: these are no classes",
                _ANOTHER,
            )
        keys: Sequence[float | str] = column.values
    else:
        _check_not_amounts(name, sorted(set(numbers)), len(kept))
        keys = numbers
    # 1 and 1.0 are one class; it is called what it is called first.
    names: dict[float | str, str] = {}
    for key, value in zip(keys, column.values, strict=True):
        names.setdefault(key, value)
    if len(names) == 1:
        raise _refuse(f"column {name!r} has one class only, {column.values[0]!r}: two are needed")
    ordered = sorted(names, key=lambda key: (key, "") if isinstance(key, float) else (0.0, key))
    places = {key: place for place, key in enumerate(ordered)}
    table = np.array([places[key] for key in keys], dtype=np.int64)
    # A missing code, -1, takes the last entry; these rows are not kept.
    return Target(
        torch.from_numpy(table[column.codes]), torch.from_numpy(kept), [names[key] for key in ordered]
    )


def _number_keys(values: list[str]) -> list[float] | None:
    """Return the numbers that the names of classes are, None unless all of them are finite ones."""
    numbers = [parse_number(value) for value in values]
    finite = [number for number in numbers if number is not None and np.isfinite(number)]
    return finite if len(finite) == len(values) else None


def _check_not_amounts(name: str, numbers: list[float], num_rows: int) -> None:
    whole = all(number.is_integer() for number in numbers)
    few_rows = num_rows < _MIN_ROWS_PER_CLASS * len(numbers)
    if len(numbers) > _MAX_WHOLE_CLASSES and few_rows if whole else len(numbers) > _MAX_DECIMAL_CLASSES:
        raise _refuse(
            f"column {name!r} holds {len(numbers):,} different numbers in {num_rows:,} rows: these are "
            "amounts, not classes",
            f"type task=regression, or {_ANOTHER}",
        )


def _read_values(name: str, column: Column) -> Target:
    if isinstance(column, Texts):
        examples = ", ".join(repr(value) for value in column.values[:3])
        raise _refuse(
            f"column {name!r} holds texts ({examples}), not numbers",
            f"type task=classification, or {_ANOTHER}",
        )
    assert isinstance(column, Numbers)
    if column.num_texts:
        row, text = column.first_text
        more = f" (one of {column.num_texts:,} such rows)" if column.num_texts > 1 else ""
        raise _refuse(f"column {name!r} holds {text!r} in row {row:,}, not a number{more}")
    kept = np.flatnonzero(~np.isnan(column.values))
    if not len(kept):
        raise _refuse(f"column {name!r} holds no number at all", _ANOTHER)
    values = column.values[kept]
    if values.min() == values.max():
        raise _refuse(f"column {name!r} holds {values[0]:g} in every row: there is nothing to predict")
    outside = int((np.abs(values) > _MAX_VALUE).sum())
    if outside:
        raise _refuse(
            f"column {name!r} holds {outside:,} numbers beyond {_MAX_VALUE:g}, such as {np.abs(values).max():g}: "
            "their squared errors would be infinite",
            "give them in another unit",
        )
    return Target(torch.from_numpy(column.values), torch.from_numpy(kept), None)
