"""Items that a user names, such as files, read in batches: which can be predicted, and why others cannot."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, overload

import torch
from torch import Tensor

from nnkit.batches import Batch, is_padded, join
from nnkit.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

_logger = logging.getLogger("nnkit")


@dataclass(frozen=True)
class ReadBatch:
    """Items that go through the network together, in the order in which they were named.

    Attributes:
        names: Name of each item.
        batch: The items that can be read, joined; None where none can.
        problems: The sentence that tells why an item cannot be read, by its place in `names`.
        labelled: Which items of `batch` have a true target in it, (items,) bool; None where the input has no targets.
        kept: Columns to stand beside the predictions, `rows_each` rows for each of `names`; None: no columns.
        rows_each: Rows of a table that the predictions of an item are: the steps of a forecast, else 1.
    """

    names: Sequence[str]
    batch: Batch | None
    problems: dict[int, str] = field(default_factory=dict)
    labelled: Tensor | None = None
    kept: pa.RecordBatch | None = None
    rows_each: int = 1

    def readable(self) -> tuple[Sequence[str], pa.RecordBatch | None]:
        """Return the names and the kept columns of the items of `batch`."""
        if not self.problems:
            return self.names, self.kept
        import pyarrow as pa

        places = [place for place in range(len(self.names)) if place not in self.problems]
        rows = [place * self.rows_each + row for place in places for row in range(self.rows_each)]
        kept = None if self.kept is None else self.kept.take(pa.array(rows, pa.int64()))
        return [self.names[place] for place in places], kept

    def rows(self) -> tuple[Sequence[str], pa.RecordBatch | None]:
        """Return the same with each name as often as the item has rows in a table of predictions."""
        names, kept = self.readable()
        return names if self.rows_each == 1 else [name for name in names for _ in range(self.rows_each)], kept


class RowNames(Sequence[str]):
    """Names of the rows of a table, ``file.csv:1`` and so on, made when they are asked for.

    Attributes:
        title: The table as the user named it.
        numbers: Numbers of the rows, counted from 1.
    """

    def __init__(self, title: str, numbers: range) -> None:
        self.title, self.numbers = title, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> RowNames: ...
    def __getitem__(self, place: int | slice) -> str | RowNames:
        if isinstance(place, slice):
            return RowNames(self.title, self.numbers[place])
        return f"{self.title}:{self.numbers[place]}"

    def __iter__(self) -> Iterator[str]:
        return (f"{self.title}:{number}" for number in self.numbers)


def grouped(
    read: Iterable[tuple[str, Batch | str]], size: int, with_targets: bool = False
) -> Iterator[ReadBatch]:
    """Join items that were read one by one, in order: texts of any length, or inputs of one shape.

    Args:
        read: Names, each with a batch of one or the sentence that tells why there is none.
        size: Items of a batch, at most.
        with_targets: Whether the targets are true ones, -1 or NaN where an item has none.
    """
    iterator = iter(read)
    while group := list(islice(iterator, size)):
        start, shape = 0, None
        for number, (_, batch) in enumerate(group):
            if isinstance(batch, str):
                continue
            other = None if is_padded(batch) else batch.inputs.shape[1:]
            if shape is not None and other != shape:
                yield _joined(group[start:number], with_targets)
                start = number
            shape = other
        yield _joined(group[start:], with_targets)


def _joined(group: Sequence[tuple[str, Batch | str]], with_targets: bool) -> ReadBatch:
    names = [name for name, _ in group]
    problems = {place: found for place, (_, found) in enumerate(group) if isinstance(found, str)}
    batches = [found for _, found in group if not isinstance(found, str)]
    if not batches:
        return ReadBatch(names, None, problems)
    batch = join(batches)
    return ReadBatch(names, batch, problems, has_target(batch.target) if with_targets else None)


def only_labelled(batches: Iterable[ReadBatch], title: str) -> Iterator[Batch]:
    """Yield the items that have a true target, and log in the end how many were left out.

    Args:
        batches: Items of a file or folder.
        title: What messages call it.

    Raises:
        UserError: If none has a target.
    """
    labelled = unlabelled = unreadable = 0
    first = ""
    for read in batches:
        unreadable += len(read.problems)
        for place, reason in read.problems.items():
            first = first or (reason if read.names[place] in reason else f"{read.names[place]}: {reason}")
        if read.batch is None:
            continue
        known = (
            torch.zeros(len(read.batch.indices), dtype=torch.bool) if read.labelled is None else read.labelled
        )
        rows = known.nonzero().squeeze(1)
        unlabelled += len(known) - len(rows)
        labelled += len(rows)
        if len(rows):
            yield type(read.batch)(*(part[rows] for part in read.batch))
    if not labelled:
        what = (
            f"the first item that cannot be read is {first}"
            if first
            else "none of its items has a true target"
        )
        raise UserError(f"{title} cannot be tested on: {what}")
    if unlabelled:
        _logger.warning("%s: %s items without a true target are left out", title, f"{unlabelled:,}")
    if unreadable:
        _logger.warning(
            "%s: %s items that cannot be read are left out; the first: %s", title, f"{unreadable:,}", first
        )


def has_target(target: Tensor) -> Tensor:
    """Return which items have all of their targets, (items,) bool: -1 or NaN is none."""
    known = ~torch.isnan(target) if target.is_floating_point() else target >= 0
    return known.reshape(len(target), -1).all(1)


def refuse_kept(keep: Sequence[str]) -> None:
    """Raise a UserError if columns are to be kept of what has none."""
    if keep:
        raise UserError(f"--keep {','.join(keep)}: what this run reads has no columns")
