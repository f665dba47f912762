"""The columns of a whole table: what each holds is decided by its first cells."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nnkit.data.reading.cells import (
    Column,
    ColumnReader,
    DateReader,
    InMemory,
    Kind,
    MakeSink,
    NumberReader,
    TextReader,
    Texts,
)
from nnkit.data.reading.dates import DateForm, date_form, find_date_form, seconds
from nnkit.data.reading.table_file import TableFile
from nnkit.data.reading.values import MOSTLY, PLAIN, NumberForm, find_number_form, is_missing
from nnkit.errors import UserError

# Cells that decide what a column holds.
_SAMPLE = 2_000


class Frame(NamedTuple):
    """A table in memory.

    Attributes:
        columns: A column for each name, in the order of the file.
        num_rows: Its rows.
    """

    columns: dict[str, Column]
    num_rows: int


def reader_for(
    name: str,
    cells: pa.Array,
    make_sink: MakeSink = InMemory,
    *,
    kind: Kind | None = None,
    form: NumberForm | DateForm | None = None,
    decimal_comma: bool = False,
    date_format: str | None = None,
    missing: Collection[str] | None = None,
) -> ColumnReader:
    """Return what reads a column, which is decided by its first cells as far as it is not known.

    Args:
        name: Name of the column.
        cells: The first cells.
        make_sink: Where the values go.
        kind: What the column holds; None: what its cells look like.
        form: How its numbers or dates were written where it was learnt; taken where these cells do not tell.
        decimal_comma: Whether numbers of the file are written as 3,14.
        date_format: How its dates are written, where the user says it.
        missing: Words for a missing value; None: the usual ones.
    """
    found = kind or _kind_of_type(cells.type)
    if found == "text":
        return TextReader(make_sink(name, "i4"), missing)
    typed = not pa.types.is_string(cells.type)
    if not typed and not decimal_comma and found in ("number", None) and _are_plain(cells):
        # The usual case, in one go: a table may have many thousand columns.
        return NumberReader(make_sink(name, "f8"), PLAIN, missing)
    sample = [] if typed else _sample(cells, missing)
    if found in ("number", None):
        # An empty column counts as one of numbers, as later cells may still be some.
        numbers = PLAIN if typed else find_number_form(sample, decimal_comma)
        if not sample and isinstance(form, NumberForm):
            numbers = form
        if numbers is not None or found == "number":
            known = form if isinstance(form, NumberForm) else PLAIN
            return NumberReader(make_sink(name, "f8"), numbers or known, missing)
    dates = None if typed else _date_form(sample, date_format)
    if isinstance(form, DateForm) and found == "date":
        # What was learnt also decides where cells can be read in two ways.
        dates = form if dates is None or form.pattern in (dates.ambiguous or ()) else dates
    if dates is not None or typed:
        return DateReader(make_sink(name, "f8"), dates, missing)
    return TextReader(make_sink(name, "i4"), missing)


def _kind_of_type(kind: pa.DataType) -> Kind | None:
    """Return what a column of a typed file holds; None for text, which may be anything."""
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "number"
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return "date"
    return None if pa.types.is_string(kind) else "text"


def _are_plain(cells: pa.Array) -> bool:
    """Return whether all cells are numbers as programs write them, and there are any."""
    try:
        return len(cells) > cells.null_count and pc.cast(cells, pa.float64()) is not None
    except pa.ArrowInvalid:
        return False


def _date_form(sample: list[str], date_format: str | None) -> DateForm | None:
    """Return the form of dates, the user's where most cells have it; None if they are no dates."""
    if date_format is not None:
        form = date_form(date_format, sample)
        if sample and np.mean(~np.isnan(seconds(sample, form))) >= MOSTLY:
            return form
    return find_date_form(sample)


def _sample(cells: pa.Array, missing: Collection[str] | None) -> list[str]:
    """Return some of the cells that are not missing, spread over all of them."""
    if len(cells) > _SAMPLE:
        cells = cells.take(pa.array(np.arange(0, len(cells), len(cells) // _SAMPLE)))
    stripped = pc.utf8_trim_whitespace(cells).to_pylist()
    return [cell for cell in stripped if not is_missing(cell, missing, number=True)]


def read_frame(
    table: TableFile,
    *,
    as_text: Collection[str] = (),
    columns: Sequence[str] | None = None,
    make_sink: MakeSink = InMemory,
) -> Frame:
    """Read a whole table.

    A column is one of numbers, or of dates, if nine tenths of its cells that are not missing are. The first rows
    decide; should the others decide otherwise, the table is read a second time.

    Args:
        table: The table, opened.
        as_text: Names of columns that hold texts even if all of them look like numbers.
        columns: Names of the columns to read; None: all.
        make_sink: Where the values of each column go; `InMemory` keeps them in memory.

    Raises:
        UserError: If there are no rows, or some cannot be read.
    """
    texts, dates = set(as_text), dict[str, DateForm]()
    while True:
        readers = _read(table, texts, dates, columns, make_sink)
        # The day or the month came first in the first rows, and later ones decide it.
        decided = {
            name: replace(reader.form, pattern=reader.form.other, other=None)
            for name, reader in readers.items()
            if isinstance(reader, DateReader) and reader.num_texts and reader.form and reader.form.other
        }
        wrong = {
            name
            for name, reader in readers.items()
            if not isinstance(reader, TextReader) and reader.holds_texts and name not in decided
        }
        if not wrong and not decided:
            finished: dict[str, Column] = {name: reader.finish() for name, reader in readers.items()}
            first = next(iter(finished.values()))
            return Frame(finished, len(first.codes if isinstance(first, Texts) else first.values))
        texts |= wrong
        dates |= decided


def _read(
    table: TableFile,
    texts: Collection[str],
    dates: Mapping[str, DateForm],
    columns: Sequence[str] | None,
    make_sink: MakeSink,
) -> dict[str, ColumnReader]:
    readers: dict[str, ColumnReader] = {}
    for batch in table.batches(columns):
        for name, cells in zip(batch.schema.names, batch.columns, strict=True):
            if name not in readers:
                kind: Kind | None = "text" if name in texts else "date" if name in dates else None
                readers[name] = reader_for(
                    name,
                    cells,
                    make_sink,
                    kind=kind,
                    form=dates.get(name),
                    decimal_comma=table.decimal_comma,
                    date_format=table.reading.date_format,
                    missing=table.reading.missing,
                )
            readers[name].add(cells)
    if not readers:
        raise UserError(f"{table.title} holds column names but no rows")
    return readers
