"""What is learnt from a table's columns, and how rows are turned into features with it."""

import logging
import mmap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, Protocol, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nnkit.data.reading.cells import Column, Datetimes, Numbers, Texts
from nnkit.data.reading.dates import EpochUnit, epoch_seconds, epoch_unit
from nnkit.data.tables.date_features import DateColumn, encode_dates, learn_dates, num_date_features
from nnkit.data.tables.identifiers import are_uuids, counts_rows, label_rows, numbers_rows
from nnkit.suggest import typed

_logger = logging.getLogger("nnkit")

Rows = NDArray[np.int64]

# Categories that cover less of the rows than this say nothing of the others.
_MIN_KEPT_SHARE = 0.05
# A vector of its own is not learnt from fewer rows.
_MIN_ROWS_PER_VECTOR = 3
# A single value far outside would outweigh all others in a sum; ten standard deviations are far enough.
MAX_SCORE = 10.0
# Rows that are encoded at once, few enough to stay in the processor's cache.
_BLOCK = 1 << 15


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


class RichColumn(TypedDict):
    """What is learnt from a column of many categories, each with a vector that the network learns.

    Number 0 is any other category, those that are too rare among them; then come `categories` in their order, and a
    missing one if `missing`.
    """

    name: str
    kind: Literal["rich"]
    categories: list[str]
    missing: bool


LearntColumn = NumberColumn | CategoryColumn | RichColumn | DateColumn


@dataclass(frozen=True)
class ColumnOptions:
    """What a user says about columns.

    Attributes:
        drop: Columns to leave out; None leaves out those that look like an identifier.
        id: Columns that label the rows in predictions, and are never learnt from.
        max_categories: Categories of a column with a feature of their own; columns with more are rich.
        max_vectors: Categories of a rich column with a vector of their own; 0: all but `max_categories` share a
            feature.
    """

    drop: tuple[str, ...] | None = None
    id: tuple[str, ...] = ()
    max_categories: int = 32
    max_vectors: int = 20_000


class Features(NamedTuple):
    """Rows as features, those of categories still as numbers.

    Attributes:
        numbers: Standardised numbers, parts of dates and indicators, (rows, numbers) float32.
        codes: Categories, (rows, columns) int32. The first columns say which one-hot feature is one, `num_hot` for
            none; the `num_rich` last ones which vector is taken.
        num_hot: Number of one-hot features.
        num_rich: Number of rich columns.
    """

    numbers: Tensor
    codes: Tensor
    num_hot: int
    num_rich: int


class MakeArray(Protocol):
    """Makes the array that features are written to."""

    def __call__(self, name: str, shape: tuple[int, int], dtype: str) -> NDArray[Any]:
        """Return an array of that shape and NumPy type, whatever it holds."""


def in_memory(name: str, shape: tuple[int, int], dtype: str) -> NDArray[Any]:
    """Return an array in memory; see `MakeArray`."""
    return np.empty(shape, dtype)


def learn_columns(
    columns: Mapping[str, Column], rows: Rows, options: ColumnOptions
) -> tuple[list[LearntColumn], dict[str, str]]:
    """Learn from the training rows how to encode each column.

    Args:
        columns: Columns without the target.
        rows: Numbers of the training rows, rising.
        options: What the user says.

    Returns:
        What is learnt from each column that is kept, and the reason for each that is not.
    """
    learnt: list[LearntColumn] = []
    dropped: dict[str, str] = {}
    for name, column in columns.items():
        found: LearntColumn | str
        if isinstance(column, Numbers):
            found = _learn_numbers(name, column, rows, options)
        elif isinstance(column, Datetimes):
            form = None if column.form is None else asdict(column.form)
            found = learn_dates(name, column.values[rows], form, None)
        else:
            found = _learn_texts(name, column, rows, options)
        release(column)
        if isinstance(found, str):
            dropped[name] = found
        else:
            learnt.append(found)
    return learnt, dropped


def release(*arrays: NDArray[Any] | Column) -> None:
    """Give back the memory of arrays or columns in files, which are read or written again from there."""
    for held in arrays:
        array = (
            held if isinstance(held, np.ndarray) else held.codes if isinstance(held, Texts) else held.values
        )
        memory: object = array.base
        # Not every system lets a process say so.
        if isinstance(memory, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            memory.madvise(mmap.MADV_DONTNEED)


def mean_and_std(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return mean and standard deviation, the latter 0 if the values differ by rounding alone."""
    largest = max(float(values.max()), -float(values.min()))
    if largest == 0:
        return 0.0, 0.0
    # Scaled, so that no square of a large number overflows.
    scaled = values / largest
    mean, std = float(scaled.mean()), float(scaled.std())
    return mean * largest, std * largest if std > 1e-12 else 0.0


def _learn_numbers(
    name: str, column: Numbers, rows: Rows, options: ColumnOptions
) -> NumberColumn | DateColumn | str:
    values = column.values[rows]
    missing = np.isnan(values)
    indicator = bool(missing.any())
    # Of a large column each copy counts.
    known = values[~missing] if indicator else values
    if not len(known):
        return "no value in the training rows"
    median = float(np.median(known))
    mean, std = mean_and_std(np.where(missing, median, values) if indicator else values)
    if std == 0 and not indicator:
        return f"the same value in all training rows: {known[0]:g}"
    if options.drop is None and not indicator and numbers_rows(name, values):
        return "looks like an identifier: whole numbers, each once (data.drop=[] keeps it)"
    unit = epoch_unit(values, name)
    if unit is not None:
        _logger.warning(
            "column %r holds times, counted in %s since 1970; they become features of dates (%s leaves the column out)",
            *(name, unit, typed("data.drop", [name])),
        )
        return learn_dates(name, epoch_seconds(values, unit), None, unit)
    if options.drop is None and not indicator and counts_rows(column.values, rows):
        _logger.warning(
            "column %r holds the number of each row and is learnt from; if it only numbers the rows, %s leaves it out",
            *(name, typed("data.drop", [name])),
        )
    return NumberColumn(
        name=name, kind="number", median=median, mean=mean, std=std or 1.0, indicator=indicator
    )


def _learn_texts(
    name: str, column: Texts, rows: Rows, options: ColumnOptions
) -> CategoryColumn | RichColumn | str:
    codes = column.codes[rows]
    known = codes[codes >= 0]
    if not len(known):
        return "no value in the training rows"
    missing = len(known) < len(codes)
    counts = np.bincount(known, minlength=len(column.values))
    present = sorted(np.flatnonzero(counts).tolist(), key=lambda code: (-counts[code], column.values[code]))
    if len(present) == 1 and not missing:
        return f"the same value in all training rows: {column.values[present[0]]}"
    if options.drop is None and (label := _labels(column, present, known)):
        return f"looks like an identifier: {label} (data.drop=[] keeps it)"
    often = [code for code in present if counts[code] >= _MIN_ROWS_PER_VECTOR][: options.max_vectors]
    if len(often) > options.max_categories:
        _say_rich(name, len(often), len(present))
        return RichColumn(
            name=name, kind="rich", categories=sorted(column.values[code] for code in often), missing=missing
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


def _labels(column: Texts, present: Sequence[int], known: NDArray[np.int32]) -> str:
    """Return what tells that texts label the rows, "" if they do not."""
    example = column.values[int(known[0])]
    if are_uuids(column.values[code] for code in present):
        return f"UUIDs such as {example!r}"
    if column.too_many or label_rows(len(present), len(known)):
        return f"{len(present):,} different texts in {len(known):,} rows, such as {example!r}"
    return ""


def _say_rich(name: str, num_often: int, num_present: int) -> None:
    rare = f"; the {num_present - num_often:,} rarest share one" if num_present > num_often else ""
    _logger.info(
        "column %r: each of %s categories gets a learnt vector%s (data.max_vectors=0 keeps the most frequent only)",
        *(name, f"{num_often:,}", rare),
    )


def encode(
    columns: Mapping[str, Column],
    learnt: Sequence[LearntColumn],
    num_rows: int,
    make_array: MakeArray = in_memory,
) -> Features:
    """Turn columns into features: numbers, parts of dates and indicators first, then the one-hot features.

    A category that has no feature is the column's "other"; where there is none either, all its features are
    zero. One that has no vector takes that of unknown ones.

    Args:
        columns: At least the columns that `learnt` names; a number or date that is missing is NaN, a text -1.
        learnt: From `learn_columns`.
        num_rows: Rows in each column.
        make_array: Where the features are written to.
    """
    num_numbers, num_hot = num_features(learnt)
    categories = [*_of_kind(learnt, "category"), *_of_kind(learnt, "rich")]
    numbers = make_array("numbers", (num_rows, num_numbers), "f4")
    codes = make_array("codes", (num_rows, len(categories)), "i4")
    tables = list(_code_tables(columns, categories, num_hot))
    read = [columns[spec["name"]] for spec in learnt]
    for start in range(0, num_rows, _BLOCK):
        block = slice(start, start + _BLOCK)
        features = (feature for spec in learnt for feature in _number_features(columns, spec, block))
        for place, feature in enumerate(features):
            numbers[block, place] = feature
        for place, (spec, table) in enumerate(zip(categories, tables, strict=True)):
            column = columns[spec["name"]]
            assert isinstance(column, Texts)
            codes[block, place] = table[column.codes[block]]
        release(numbers, codes, *read)
    num_rich = len(cardinalities(learnt))
    return Features(torch.from_numpy(numbers), torch.from_numpy(codes), num_hot, num_rich)


def _of_kind(learnt: Sequence[LearntColumn], kind: str) -> list[Any]:
    return [spec for spec in learnt if spec["kind"] == kind]


def _number_features(
    columns: Mapping[str, Column], spec: LearntColumn, block: slice
) -> Iterator[NDArray[np.float64]]:
    """Yield the features of some rows of a column that are no categories, (rows,) each."""
    column = columns[spec["name"]]
    if spec["kind"] == "date":
        assert isinstance(column, Datetimes | Numbers)
        epoch: EpochUnit | None = spec["epoch"]
        values = column.values[block]
        seconds = values if epoch is None or isinstance(column, Datetimes) else epoch_seconds(values, epoch)
        yield from encode_dates(seconds, spec, MAX_SCORE)
    elif spec["kind"] == "number":
        assert isinstance(column, Numbers)
        missing = np.isnan(column.values[block])
        filled = np.where(missing, spec["median"], column.values[block])
        # Divided first: the difference of two numbers near the largest float overflows.
        scores = filled / spec["std"] - spec["mean"] / spec["std"]
        yield scores.clip(-MAX_SCORE, MAX_SCORE)
        if spec["indicator"]:
            yield missing.astype(np.float64)


def _code_tables(
    columns: Mapping[str, Column], specs: Sequence[CategoryColumn | RichColumn], none: int
) -> Iterator[NDArray[np.int32]]:
    """Yield for each column what each of its codes becomes; the last entry is that of the code -1 of a missing text."""
    start = 0
    for spec in specs:
        column = columns[spec["name"]]
        assert isinstance(column, Texts)
        if spec["kind"] == "rich":
            places = {category: place for place, category in enumerate(spec["categories"], 1)}
            other, missing = 0, len(places) + 1 if spec["missing"] else 0
        else:
            places = {category: start + place for place, category in enumerate(spec["categories"])}
            end = start + len(places)
            other = end + spec["missing"] if spec["other"] else none
            missing = end if spec["missing"] else other
            start += _width(spec)
        yield np.array([places.get(value, other) for value in column.values] + [missing], dtype=np.int32)


def gather(features: Features, rows: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return the features of some rows, (rows, features) float32, and their rich categories, (rows, columns) int64.

    Args:
        features: From `encode`.
        rows: Which rows, int64.

    Returns:
        Both; None for the categories where no column is rich.
    """
    numbers = features.numbers.index_select(0, rows)
    codes = features.codes.index_select(0, rows).to(torch.int64)
    num_columns = codes.shape[1] - features.num_rich
    rich = codes[:, num_columns:] if features.num_rich else None
    if not features.num_hot:
        return numbers, rich
    # One column too many takes the ones of categories that have no feature.
    hot = torch.zeros(len(rows), features.num_hot + 1)
    hot.scatter_(1, codes[:, :num_columns], 1.0)
    return torch.cat([numbers, hot[:, :-1]], dim=1), rich


def _width(spec: CategoryColumn) -> int:
    return len(spec["categories"]) + spec["missing"] + spec["other"]


def num_features(learnt: Sequence[LearntColumn]) -> tuple[int, int]:
    """Return the number of features that hold numbers, parts of dates or indicators, and that of one-hot features."""
    numbers = sum(1 + spec["indicator"] for spec in learnt if spec["kind"] == "number")
    numbers += sum(num_date_features(spec) for spec in learnt if spec["kind"] == "date")
    return numbers, sum(_width(spec) for spec in learnt if spec["kind"] == "category")


def cardinalities(learnt: Sequence[LearntColumn]) -> list[int]:
    """Return the number of vectors of each rich column."""
    return [1 + len(spec["categories"]) + spec["missing"] for spec in learnt if spec["kind"] == "rich"]


def feature_columns(learnt: Sequence[LearntColumn]) -> list[str]:
    """Return the column of each feature in the order of `gather`, and of each vector."""
    numbers: list[str] = []
    for spec in learnt:
        if spec["kind"] == "number":
            numbers += [spec["name"]] * (1 + spec["indicator"])
        elif spec["kind"] == "date":
            numbers += [spec["name"]] * num_date_features(spec)
    hot = [spec["name"] for spec in _of_kind(learnt, "category") for _ in range(_width(spec))]
    return [*numbers, *hot, *(spec["name"] for spec in _of_kind(learnt, "rich"))]
