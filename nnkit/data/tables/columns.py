"""What is learnt from a table's columns, and how rows are turned into features with it."""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nnkit.data.reading.frame import Column, Numbers, Texts

_logger = logging.getLogger("nnkit")

Rows = NDArray[np.int64]

# Names of columns that number or label the rows; "unnamed" is what a column without a name is called.
_ID_NAME = re.compile(
    r"(.*[_\s.-])?(id|idx|index|nr|no|row|rowid|uuid|guid|unnamed)([:_\s]*\d+)?|.*[a-z](Id|ID)", re.ASCII
)
_MIN_ID_ROWS = 5
# Categories that cover less of the rows than this say nothing of the others.
_MIN_KEPT_SHARE = 0.05
# A single value far outside would outweigh all others in a sum; ten standard deviations are far enough.
MAX_SCORE = 10.0


class NumberColumn(TypedDict):
    """What is learnt from a column of numbers: `indicator` says whether a feature marks missing ones."""

    name: str
    kind: Literal["number"]
    median: float
    mean: float
    std: float
    indicator: bool


class CategoryColumn(TypedDict):
    """What is learnt from a column of texts: `missing` and `other` say whether these have features."""

    name: str
    kind: Literal["category"]
    categories: list[str]
    missing: bool
    other: bool


LearntColumn = NumberColumn | CategoryColumn


@dataclass(frozen=True)
class ColumnOptions:
    """What a user says about columns.

    Attributes:
        drop: Columns to leave out; None leaves out those that look like an identifier.
        max_categories: Categories of a column with a feature of their own; rarer ones share one.
    """

    drop: tuple[str, ...] | None = None
    max_categories: int = 32


class Features(NamedTuple):
    """Rows as features, the one-hot ones still as numbers of features.

    Attributes:
        numbers: Standardised numbers and indicators, (rows, numbers) float32.
        hot: Which one-hot feature is one, for each column, (rows, columns) int32; `num_hot` for none.
        num_hot: Number of one-hot features.
    """

    numbers: Tensor
    hot: Tensor
    num_hot: int


def learn_columns(
    columns: Mapping[str, Column], rows: Rows, options: ColumnOptions
) -> tuple[list[LearntColumn], dict[str, str]]:
    """Learn from the training rows how to encode each column.

    Args:
        columns: Columns without the target.
        rows: Numbers of the training rows.
        options: What the user says.

    Returns:
        What is learnt from each column that is kept, and the reason for each that is not.
    """
    learnt: list[LearntColumn] = []
    dropped: dict[str, str] = {}
    for name, column in columns.items():
        if options.drop is not None and name in options.drop:
            dropped[name] = "named in data.drop"
            continue
        found: LearntColumn | str
        if isinstance(column, Numbers):
            found = _learn_numbers(name, column.values[rows], options)
        else:
            found = _learn_texts(name, column, rows, options)
        if isinstance(found, str):
            dropped[name] = found
        else:
            learnt.append(found)
    return learnt, dropped


def mean_and_std(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return mean and standard deviation, the latter 0 if the values differ by rounding alone."""
    largest = float(np.abs(values).max())
    if largest == 0:
        return 0.0, 0.0
    # Scaled, so that no square of a large number overflows.
    scaled = values / largest
    mean, std = float(scaled.mean()), float(scaled.std())
    return mean * largest, std * largest if std > 1e-12 else 0.0


def _learn_numbers(name: str, values: NDArray[np.float64], options: ColumnOptions) -> NumberColumn | str:
    missing = np.isnan(values)
    known = values[~missing]
    if not len(known):
        return "no value in the training rows"
    median = float(np.median(known))
    mean, std = mean_and_std(np.where(missing, median, values))
    indicator = bool(missing.any())
    if std == 0 and not indicator:
        return f"the same value everywhere: {known[0]:g}"
    if options.drop is None and not indicator and _numbers_rows(name, values):
        return "looks like an identifier: whole numbers, each once (data.drop=[] keeps it)"
    return NumberColumn(
        name=name, kind="number", median=median, mean=mean, std=std or 1.0, indicator=indicator
    )


def _numbers_rows(name: str, values: NDArray[np.float64]) -> bool:
    if len(values) < _MIN_ID_ROWS or not (_ID_NAME.fullmatch(name) or _ID_NAME.fullmatch(name.lower())):
        return False
    return bool((values == np.floor(values)).all()) and len(np.unique(values)) == len(values)


def _learn_texts(name: str, column: Texts, rows: Rows, options: ColumnOptions) -> CategoryColumn | str:
    codes = column.codes[rows]
    known = codes[codes >= 0]
    if not len(known):
        return "no value in the training rows"
    missing = len(known) < len(codes)
    counts = np.bincount(known, minlength=len(column.values))
    present = sorted(np.flatnonzero(counts).tolist(), key=lambda code: (-counts[code], column.values[code]))
    if len(present) == 1 and not missing:
        return f"the same value everywhere: {column.values[present[0]]}"
    if options.drop is None and len(present) >= _MIN_ID_ROWS and len(present) > len(known) / 2:
        example = column.values[int(known[0])]
        return (
            f"looks like an identifier: {len(present):,} different texts in {len(known):,} rows, such as "
            f"{example!r} (data.drop=[] keeps it)"
        )
    other = len(present) > options.max_categories
    if other:
        share = float(counts[present[: options.max_categories]].sum() / len(known))
        if options.drop is None and share < _MIN_KEPT_SHARE:
            return (
                f"{len(present):,} different texts, the {options.max_categories} most frequent of them make "
                f"up {share:.1%} of the rows (data.drop=[] keeps it)"
            )
        _logger.warning(
            "column %r: the %d most frequent of %s categories are kept, the others (%s of the rows) are "
            "taken together",
            *(name, options.max_categories, f"{len(present):,}", f"{1 - share:.1%}"),
        )
    kept = sorted(column.values[code] for code in present[: options.max_categories])
    return CategoryColumn(name=name, kind="category", categories=kept, missing=missing, other=other)


def encode(columns: Mapping[str, Column], learnt: Sequence[LearntColumn], num_rows: int) -> Features:
    """Turn columns into features: numbers and indicators first, then the one-hot features.

    A category that has no feature is the column's "other"; where there is none either, all its features are
    zero.

    Args:
        columns: At least the columns that `learnt` names; a number that is missing is NaN, a text -1.
        learnt: From `learn_columns`.
        num_rows: Rows in each column.
    """
    numbers: list[NDArray[np.float32]] = []
    groups: list[NDArray[np.int32]] = []
    num_hot = num_features(learnt)[1]
    start = 0
    for spec in learnt:
        column = columns[spec["name"]]
        if spec["kind"] == "number":
            assert isinstance(column, Numbers)
            numbers.extend(_encode_numbers(column, spec))
        else:
            assert isinstance(column, Texts)
            groups.append(_encode_texts(column, spec, start, num_hot))
            start += _width(spec)
    return Features(
        torch.from_numpy(np.stack(numbers, axis=1) if numbers else np.zeros((num_rows, 0), np.float32)),
        torch.from_numpy(np.stack(groups, axis=1) if groups else np.zeros((num_rows, 0), np.int32)),
        num_hot,
    )


def _encode_numbers(column: Numbers, spec: NumberColumn) -> list[NDArray[np.float32]]:
    missing = np.isnan(column.values)
    filled = np.where(missing, spec["median"], column.values)
    # Divided first: the difference of two numbers near the largest float overflows.
    scores = filled / spec["std"] - spec["mean"] / spec["std"]
    features = [scores.clip(-MAX_SCORE, MAX_SCORE).astype(np.float32)]
    if spec["indicator"]:
        features.append(missing.astype(np.float32))
    return features


def _encode_texts(column: Texts, spec: CategoryColumn, start: int, none: int) -> NDArray[np.int32]:
    places = {category: start + place for place, category in enumerate(spec["categories"])}
    end = start + len(places)
    other = end + spec["missing"] if spec["other"] else none
    # One entry a code, and a last one for the code -1 of a missing text.
    missing = end if spec["missing"] else other
    table = np.array([places.get(value, other) for value in column.values] + [missing], dtype=np.int32)
    codes: NDArray[np.int32] = table[column.codes]
    return codes


def gather(features: Features, rows: Tensor) -> Tensor:
    """Return the features of some rows, (rows, features) float32.

    Args:
        features: From `encode`.
        rows: Which rows, int64.
    """
    numbers = features.numbers.index_select(0, rows)
    if not features.num_hot:
        return numbers
    # One column too many takes the ones of categories that have no feature.
    hot = torch.zeros(len(rows), features.num_hot + 1)
    hot.scatter_(1, features.hot.index_select(0, rows).to(torch.int64), 1.0)
    return torch.cat([numbers, hot[:, :-1]], dim=1)


def _width(spec: CategoryColumn) -> int:
    return len(spec["categories"]) + spec["missing"] + spec["other"]


def num_features(learnt: Sequence[LearntColumn]) -> tuple[int, int]:
    """Return the number of features that hold numbers or indicators, and that of one-hot features."""
    numbers = sum(1 + spec["indicator"] for spec in learnt if spec["kind"] == "number")
    return numbers, sum(_width(spec) for spec in learnt if spec["kind"] == "category")
