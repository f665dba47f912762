"""Rows of a table that a user names for a trained run: some at a time, with what is wrong with a row."""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from nnkit.data.base import Preprocessing, Samples
from nnkit.data.read_batch import ReadBatch, RowNames, has_target
from nnkit.data.reading.cells import (
    Column,
    ColumnReader,
    DateReader,
    InMemory,
    Kind,
    NumberReader,
    TextReader,
    Texts,
)
from nnkit.data.reading.columns import reader_for
from nnkit.data.reading.dates import DateForm
from nnkit.data.reading.dialect import ReadOptions
from nnkit.data.reading.encodings import encoding_unless_plain
from nnkit.data.reading.table_file import TableFile, as_strings, open_table
from nnkit.data.reading.values import is_missing
from nnkit.data.sampler import Draw
from nnkit.data.tables.columns import MAX_SCORE, Features, LearntColumn, NumberColumn, encode
from nnkit.data.tables.truths import Truths
from nnkit.errors import ConfigError, UserError
from nnkit.suggest import absent, some_of

_logger = logging.getLogger("nnkit")

_LISTED = 20
_KINDS: dict[str, Kind] = {"number": "number", "date": "date"}


@dataclass(frozen=True)
class TableRows:
    """Rows that follow each other in a table.

    Attributes:
        first: Number of the first one, counted from 1.
        columns: The columns that were learnt.
        num_rows: How many rows there are.
        problems: What is wrong with a row, by its place.
        targets: Their targets as `Truths` has them; None where the table has none.
        cells: The columns as they are in the file, those to be kept among them.
    """

    first: int
    columns: Mapping[str, Column]
    num_rows: int
    problems: dict[int, str]
    targets: Tensor | None
    cells: pa.RecordBatch


@dataclass
class RowReader:
    """Reads the columns that a run has learnt, and warns once of values unlike those in training.

    Attributes:
        learnt: What was learnt from each column.
        truths: What reads the targets.
    """

    learnt: Sequence[LearntColumn]
    truths: Truths
    _told: set[str] = field(default_factory=set)

    def check(self, table: TableFile, keep: Collection[str]) -> None:
        """Refuse a table without the columns that are needed.

        Raises:
            UserError: If one that was learnt is lacking.
            ConfigError: If one that is to be kept is lacking.
        """
        unknown = [
            absent("--keep", table.title, name, table.names) for name in keep if name not in table.names
        ]
        if unknown:
            raise ConfigError(unknown)
        lacking = self.lacking(table)
        if lacking:
            raise UserError(
                f"{table.title} lacks {len(lacking)} of the {len(self.learnt)} columns the model was trained on: "
                f"{some_of(lacking, _LISTED)}"
            )

    def lacking(self, table: TableFile) -> list[str]:
        """Return the columns that were learnt and are not in a table."""
        return [spec["name"] for spec in self.learnt if spec["name"] not in table.names]

    def read(self, table: TableFile, keep: Collection[str]) -> Iterator[TableRows]:
        """Read a table, its targets as well if it has all of them.

        Args:
            table: The table, opened and checked.
            keep: Further columns to read.

        Raises:
            UserError: If there are no rows, or some cannot be read.
        """
        targets = self.truths.names if set(self.truths.names) <= set(table.names) else []
        wanted = dict.fromkeys([*(spec["name"] for spec in self.learnt), *targets, *keep])
        forms: dict[str, Any] = {}
        first, opened = 1, table
        for file, cells in table.batches_by_file(list(wanted)):
            # Each file is written in its own way.
            forms, opened = (forms if file is opened else {}), file
            columns, problems = {}, dict[int, str]()
            for spec in self.learnt:
                found = self._column(spec, cells.column(spec["name"]), file, forms)
                columns[spec["name"]] = found[0]
                problems = {**found[1], **problems}
            true = []
            for name in targets:
                reader = _reader(name, self.truths.kind, cells.column(name), file, forms)
                reader.add(cells.column(name))
                true.append(reader.finish())
            truths = self.truths.of(true) if true else None
            yield TableRows(first, columns, cells.num_rows, problems, truths, cells)
            first += cells.num_rows
        self.truths.say(table.title)
        if first == 1:
            raise UserError(f"{table.title} holds column names but no rows")

    def _column(
        self, spec: LearntColumn, cells: pa.Array, table: TableFile, forms: dict[str, Any]
    ) -> tuple[Column, dict[int, str]]:
        """Return a column, and what is wrong with some of its rows."""
        # Dates that are numbers of seconds are read as numbers.
        kind = "number" if spec["kind"] == "date" and spec["epoch"] else _KINDS.get(spec["kind"], "text")
        form = DateForm(**spec["form"]) if spec["kind"] == "date" and spec["form"] else None
        reader = _reader(spec["name"], kind, cells, table, forms, learnt=form)
        reader.add(cells)
        column = reader.finish()
        if isinstance(column, Texts):
            if spec["kind"] == "category" and not spec["other"]:
                self._say_unseen(column, spec["name"], spec["categories"])
            return column, {}
        if spec["kind"] == "number":
            self._say_outlier(column.values, spec)
        return column, _wrong_cells(column.values, cells, spec["name"], reader)

    def _say_unseen(self, column: Texts, name: str, categories: Sequence[str]) -> None:
        if name in self._told:
            return
        known = set(categories)
        unseen = next((text for text in column.values if text not in known), None)
        # Where rare categories were taken together, an unseen one is no news.
        if unseen is not None:
            self._told.add(name)
            _logger.warning(
                "column %r: %r is not in the training rows; it counts as other, as all do that are not there",
                *(name, unseen),
            )

    def _say_outlier(self, values: NDArray[np.float64], spec: NumberColumn) -> None:
        if spec["name"] in self._told:
            return
        far = values[np.abs(values - spec["mean"]) > MAX_SCORE * spec["std"]]
        if len(far):
            self._told.add(spec["name"])
            _logger.warning(
                "column %r: %g lies more than %g standard deviations from the training rows (mean %g, standard "
                "deviation %g); is it in the same unit?",
                *(spec["name"], far[0], MAX_SCORE, spec["mean"], spec["std"]),
            )


def _reader(
    name: str,
    kind: Kind,
    cells: pa.Array,
    table: TableFile,
    forms: dict[str, Any],
    *,
    learnt: DateForm | None = None,
) -> ColumnReader:
    """Return what reads some cells of a column; the first cells of a file tell how its numbers and dates are written.

    Args:
        name: Name of the column.
        kind: What it holds.
        cells: The cells.
        table: The table that they are from.
        forms: What is known of its columns, by their name.
        learnt: How its dates are written in the training rows, which decides where they can be read in two ways.
    """
    missing = table.reading.missing
    if kind == "text":
        return TextReader(InMemory(name, "i4"), missing)
    if name not in forms:
        first = reader_for(name, cells, table, kind=kind, form=learnt)
        assert not isinstance(first, TextReader)
        forms[name] = type(first), first.form
    make, form = forms[name]
    reader: NumberReader | DateReader = make(InMemory(name, "f8"), form, missing)
    return reader


def _wrong_cells(
    values: NDArray[np.float64], cells: pa.Array, name: str, reader: ColumnReader
) -> dict[int, str]:
    """Return what is wrong with cells that hold neither a value nor a word for a missing one, by their row."""
    if isinstance(reader, TextReader) or not (reader.num_texts or getattr(reader, "num_infinite", 0)):
        return {}
    what = "a number" if isinstance(reader, NumberReader) else "a date"
    rows = np.flatnonzero(np.isnan(values))
    texts = as_strings(cells.take(pa.array(rows))).to_pylist()
    return {
        row: f"column {name!r} must hold {what}, not {text.strip()!r}"
        for row, text in zip(rows.tolist(), texts, strict=True)
        if not is_missing(text, reader.missing, number=True)
    }


def read_row_batches(
    items: Sequence[str],
    size: int,
    learnt: Preprocessing,
    truths: Truths,
    make_samples: Callable[[Features, Tensor, Tensor], Samples],
    *,
    reading: ReadOptions,
    keep: Sequence[str] = (),
    ids: Sequence[str] = (),
) -> Iterator[ReadBatch]:
    """Read tables in batches as a run has learnt to; columns that are neither learnt nor the target are ignored.

    Args:
        items: Tables as `open_table` takes them; "-" is standard input.
        size: Rows of a batch, at most.
        learnt: What the run has learnt.
        truths: What reads the targets.
        make_samples: Gathers batches of encoded features, targets and the numbers of rows.
        reading: How the user says that the table of the run is written.
        keep: Columns to repeat beside the predictions.
        ids: Columns to repeat where a table has them.

    Raises:
        ConfigError: If a table lacks a column to keep; what cannot be read is a problem of that item.
    """
    reader = RowReader(learnt["columns"], truths)
    opened: list[TableFile | ReadBatch] = []
    for item in items:
        try:
            own = reading
            if Path(item).is_file():
                own = replace(reading, encoding=encoding_unless_plain(Path(item), reading.encoding))
            table = open_table(item, own)
            if own.delimiter and reader.lacking(table):
                table = open_table(item, replace(own, delimiter=None))
            reader.check(table, keep)
            opened.append(table)
        except ConfigError:
            raise
        except UserError as error:
            opened.append(ReadBatch([item], None, {0: str(error)}))
    kept_names = [*dict.fromkeys([*ids, *keep])]
    for found in opened:
        if isinstance(found, ReadBatch):
            yield found
            continue
        found.say()
        try:
            for rows in reader.read(found, [name for name in kept_names if name in found.names]):
                targets = (
                    torch.zeros(rows.num_rows, dtype=torch.int64) if rows.targets is None else rows.targets
                )
                features = encode(rows.columns, learnt["columns"], rows.num_rows)
                samples = make_samples(features, targets, torch.arange(rows.num_rows))
                yield from _batches(found.title, rows, samples, size, kept_names)
        except UserError as error:
            # The rows before those that cannot be read are answered.
            yield ReadBatch([found.title], None, {0: str(error)})


def _batches(
    title: str, rows: TableRows, samples: Samples, size: int, kept_names: Sequence[str]
) -> Iterator[ReadBatch]:
    """Yield rows that are encoded, in order; `kept_names` are the columns to repeat, empty where there is none."""
    kept = None
    if kept_names:
        none = pa.nulls(rows.num_rows, pa.string())
        there = rows.cells.schema.names
        columns = [rows.cells.column(name) if name in there else none for name in kept_names]
        kept = pa.record_batch(columns, names=list(kept_names))
    for start in range(0, rows.num_rows, size):
        places = range(start, min(start + size, rows.num_rows))
        problems = (
            {place: rows.problems[place] for place in places if place in rows.problems}
            if rows.problems
            else {}
        )
        readable = torch.arange(places.start, places.stop)
        if problems:
            readable = torch.tensor([place for place in places if place not in problems], dtype=torch.int64)
        batch = samples[Draw(None, readable)] if len(readable) else None
        yield ReadBatch(
            RowNames(title, range(rows.first + places.start, rows.first + places.stop)),
            batch,
            {place - start: reason for place, reason in problems.items()},
            has_target(batch.target) if batch is not None and rows.targets is not None else None,
            None if kept is None else kept.slice(start, len(places)),
        )
