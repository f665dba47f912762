"""What a table's model is to predict: a class, real values or labels, and the rows that have them."""

import ast
import json
import logging
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nnkit.data.reading.cells import Column, Datetimes, Texts
from nnkit.data.reading.part import Finding
from nnkit.errors import ConfigError, Problem
from nnkit.suggest import typed

# Beyond these, numbers are amounts rather than names of classes.
_MAX_DECIMAL_CLASSES = 20
_MAX_WHOLE_CLASSES = 50
_MIN_ROWS_PER_CLASS = 10
_MAX_LABELS = 1_000
# The squared errors of larger real values are infinite in float32.
_MAX_VALUE = 1e18
# 01 and 1E2 are codes, which a number would not give back.
_CODE = re.compile(r"[+-]?0\d+|\d+[eE]\d+")
_NUMPY_LIST = re.compile(r"\[(?:'[^']*'\s*){2,}\]")
SEPARATORS = ("|", ";", ",")
SPELT = {"bar": "|", "semicolon": ";", "comma": ",", "tab": "\t", "space": " "}
# Cells that an example is chosen from.
_EXAMINED = 1_000
TRUTH = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1, "no": 0, "yes": 1}

_ANOTHER = "name another column with data.target=COLUMN"


@dataclass(frozen=True)
class Target:
    """The target of each row.

    Attributes:
        values: Class (rows,) int64, real values (rows, outputs) float64, or labels (rows, labels) float32, 1 for those
            that a row has; anything where the row has no target.
        kept: Numbers of the rows that have a target, int64.
        class_names: Names of the classes, numbers by size and texts by alphabet, or of the labels; None where targets
            are real values.
        findings: What was found out and is to be said: logging levels and sentences.
        separator: What stands between two labels of a cell; None where there is nothing to separate.
    """

    values: Tensor
    kept: Tensor
    class_names: list[str] | None
    findings: tuple[Finding, ...] = ()
    separator: str | None = None

    @property
    def classes(self) -> Tensor | None:
        """Class of each row that has one, (kept,) int64; None where targets are no classes."""
        if self.values.ndim > 1:
            return None
        return self.values if len(self.kept) == len(self.values) else self.values[self.kept]


def _refuse(text: str, hint: str = "") -> ConfigError:
    return ConfigError([Problem("data.target", text, hint)])


def read_targets(
    columns: Mapping[str, Column], wanted: Sequence[str], separator: str | None = None
) -> Target:
    """Turn the columns of the target into targets.

    Args:
        columns: The columns by name, those of texts where no real values are wanted.
        wanted: Types of target that the task learns from: "index", "real" or "multi".
        separator: What stands between two labels of a cell; None: found out.

    Raises:
        ConfigError: If they cannot be what they are to be, or are all the same.
    """
    (first, column), *others = columns.items()
    if "real" in wanted:
        return _read_values(columns)
    if "multi" in wanted:
        return read_truths(columns) if others else read_labels(first, column, separator)
    if others:
        raise _refuse(
            f"{len(columns)} columns, and a class is read from one",
            "task=regression predicts a real value for each, task=multilabel a label for each column of 0 and 1",
        )
    assert isinstance(column, Texts)
    refuse_several(f"column {first!r}", column.values, separator)
    return read_target(first, column, classes=True)


def read_target(name: str, column: Column, classes: bool) -> Target:
    """Turn a column into classes, or into real values.

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
    return _read_values({name: column})


def _read_classes(name: str, column: Texts) -> Target:
    kept = np.flatnonzero(column.codes >= 0)
    if not len(kept):
        raise _refuse(f"column {name!r} holds no value at all", _ANOTHER)
    numbers = _number_keys(column.values)
    if numbers is None:
        if column.too_many or len(column.values) > max(_MAX_DECIMAL_CLASSES, len(kept) / 2):
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
    """Return the numbers that the names of classes are, None unless all of them are finite ones and none is a code."""
    numbers = []
    for value in values:
        try:
            number = float(value)
        except ValueError:
            return None
        if not np.isfinite(number) or "_" in value or _CODE.fullmatch(value):
            return None
        numbers.append(number)
    return numbers


def _check_not_amounts(name: str, numbers: list[float], num_rows: int) -> None:
    whole = all(number.is_integer() for number in numbers)
    few_rows = num_rows < _MIN_ROWS_PER_CLASS * len(numbers)
    if len(numbers) > _MAX_WHOLE_CLASSES and few_rows if whole else len(numbers) > _MAX_DECIMAL_CLASSES:
        raise _refuse(
            f"column {name!r} holds {len(numbers):,} different numbers in {num_rows:,} rows: these are "
            "amounts, not classes",
            f"type task=regression, or {_ANOTHER}",
        )


def _read_values(columns: Mapping[str, Column]) -> Target:
    numbers = [_real_values(name, column) for name, column in columns.items()]
    kept = np.flatnonzero(~np.isnan(numbers).any(axis=0))
    if not len(kept):
        raise _refuse(
            "no row holds a number in each of the columns " + ", ".join(map(repr, columns)), _ANOTHER
        )
    values = np.stack(numbers, axis=1)
    return Target(torch.from_numpy(values), torch.from_numpy(kept), None)


def _real_values(name: str, column: Column) -> NDArray[np.float64]:
    """Return a column's numbers, (rows,), NaN where one is missing."""
    if isinstance(column, Texts):
        examples = ", ".join(repr(value) for value in column.values[:3])
        raise _refuse(
            f"column {name!r} holds texts ({examples}), not numbers",
            f"type task=classification, or {_ANOTHER}",
        )
    if isinstance(column, Datetimes):
        raise _refuse(f"column {name!r} holds dates, not numbers", _ANOTHER)
    if column.num_texts:
        row, text = column.first_text
        more = f" (one of {column.num_texts:,} such rows)" if column.num_texts > 1 else ""
        raise _refuse(
            f"column {name!r} holds {text!r} in row {row:,}, not a number{more}",
            f"{typed('data.missing', [text, *filter(None, column.missing)])} leaves such rows out",
        )
    values = column.values[~np.isnan(column.values)]
    if not len(values):
        raise _refuse(f"column {name!r} holds no number at all", _ANOTHER)
    if values.min() == values.max():
        raise _refuse(f"column {name!r} holds {values[0]:g} in every row: there is nothing to predict")
    outside = int((np.abs(values) > _MAX_VALUE).sum())
    if outside:
        raise _refuse(
            f"column {name!r} holds {outside:,} numbers beyond {_MAX_VALUE:g}, such as {np.abs(values).max():g}: "
            "their squared errors would be infinite",
            "give them in another unit",
        )
    return column.values


def read_truths(columns: Mapping[str, Column]) -> Target:
    """Turn columns of 0 and 1 into labels that are called like the columns.

    Args:
        columns: Columns of texts by name: 0 and 1, false and true, or no and yes.

    Raises:
        ConfigError: If one of them holds something else.
    """
    values, known = [], []
    for name, column in columns.items():
        assert isinstance(column, Texts)
        truths = [TRUTH.get(value.casefold(), -1) for value in column.values]
        if -1 in truths:
            code = truths.index(-1)
            row = int(np.flatnonzero(column.codes == code)[0]) + 1
            raise _refuse(
                f"column {name!r} holds {column.values[code]!r} in row {row:,}, and a label is 0 or 1",
                "data.target=COLUMN reads the labels of one column, such as a|b",
            )
        values.append(np.array([*truths, -1], np.float32)[column.codes])
        known.append(column.codes >= 0)
    kept = np.flatnonzero(np.all(known, axis=0))
    if not len(kept):
        raise _refuse(
            "no row holds a value in each of the columns " + ", ".join(map(repr, columns)), _ANOTHER
        )
    return Target(torch.from_numpy(np.stack(values, axis=1)), torch.from_numpy(kept), list(columns))


def read_labels(name: str, column: Column, separator: str | None = None) -> Target:
    """Turn a column of any number of labels a cell, such as ``a|b`` or a list, into labels.

    An empty cell is a row without a label.

    Args:
        name: The column's name.
        column: The column, one of texts.
        separator: What stands between two labels; None: "|", ";" or ",", the first that occurs.

    Raises:
        ConfigError: If it holds no label at all, or texts that are no labels.
    """
    assert isinstance(column, Texts)
    findings: list[Finding] = []
    found = _separator_of(column.values) if separator is None else SPELT.get(separator, separator)
    cells = [labels_in(value, found) for value in column.values]
    if separator is None and found and any(len(labels) > 1 for labels in cells):
        text = f"column {name!r}: labels are separated by {found!r} (data.target_separator)"
        findings.append((logging.INFO, text))
    names = sorted({label for labels in cells for label in labels})
    num_rows = len(column.codes)
    if not names:
        raise _refuse(f"column {name!r} holds no label at all", _ANOTHER)
    if column.too_many or len(names) > max(_MAX_DECIMAL_CLASSES, min(num_rows / 2, _MAX_LABELS)):
        raise _refuse(
            f"column {name!r} has {len(names):,} different labels in {num_rows:,} rows, such as {names[0]!r}: these "
            "are no labels",
            "data.target_separator=X sets what stands between two labels",
        )
    empty = int((column.codes < 0).sum())
    if empty:
        text = f"column {name!r}: {empty:,} empty cells count as rows without a label"
        findings.append((logging.WARNING, text))
    places = {label: place for place, label in enumerate(names)}
    # The last entry is that of the code -1 of an empty cell.
    table = np.zeros((len(cells) + 1, len(names)), np.float32)
    for code, labels in enumerate(cells):
        table[code, [places[label] for label in labels]] = 1
    values = torch.from_numpy(table[column.codes])
    return Target(values, torch.arange(num_rows), names, tuple(findings), found)


def _separator_of(cells: Sequence[str]) -> str:
    """Return the sign that separates labels; "" where cells are lists, or hold one label each."""
    plain = [value for value in cells if listed_labels(value) is None]
    return next((sign for sign in SEPARATORS if any(sign in value for value in plain)), "")


def refuse_several(what: str, cells: Iterable[str | None], separator: str | None) -> None:
    """Refuse cells that look like several labels each where one class is to be learnt.

    Args:
        what: What messages call the column.
        cells: The cells.
        separator: What the user says stands between two labels, "" for nothing; None: found out.

    Raises:
        ConfigError: If some of them do.
    """
    if separator == "":
        return
    different = {cell: None for cell in cells if cell}
    found = _likely_separator(different) if separator is None else SPELT.get(separator, separator)
    several = [cell for cell in different if listed_labels(cell) is not None or (found and found in cell)]
    if several:
        raise _refuse(
            f"cells of {what} hold several labels, such as {max(several[:_EXAMINED], key=len)[:60]!r}",
            "type task=multilabel to predict all of them, or data.target_separator='' to take each cell as one",
        )


def _likely_separator(cells: Collection[str]) -> str:
    """Return what probably separates labels in different cells, "" if each is one label."""
    for sign in SEPARATORS:
        cut = [labels_in(cell, sign) for cell in cells if sign in cell]
        labels = [label for cell in cells for label in labels_in(cell, sign)]
        # Labels stand alone as well, or in most cells beside others. Names have commas, too: there they must make many
        # cells out of few labels.
        is_likely = 2 * len(cut) > len(cells) or any(label in cells for some in cut for label in some)
        if (
            cut
            and len(set(labels)) < (len(cells) if sign == "," else len(labels))
            and (is_likely or sign == ",")
        ):
            return sign
    return ""


def labels_in(cell: str, separator: str) -> tuple[str, ...]:
    """Return the labels in a cell, each once; all of it is one where the separator is "" and it is no list."""
    labels = listed_labels(cell)
    if labels is None:
        labels = cell.split(separator) if separator else [cell]
    return tuple(dict.fromkeys(label.strip() for label in labels if label.strip()))


def listed_labels(cell: str) -> list[str] | None:
    """Return the labels of a list as JSON, Python or NumPy writes it; None where the cell holds none."""
    if not (cell.startswith("[") and cell.endswith("]")):
        return None
    if _NUMPY_LIST.fullmatch(cell):
        # Python would join texts without commas between them.
        return re.findall("'([^']*)'", cell)
    for parse in (json.loads, ast.literal_eval):
        try:
            found = parse(cell)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(found, list):
            return [label if isinstance(label, str) else json.dumps(label) for label in found]
    return None
