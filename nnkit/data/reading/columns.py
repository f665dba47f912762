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
    as_numbers,
)
from nnkit.data.reading.dates import DateForm, date_form, find_date_form, names_time, seconds
from nnkit.data.reading.table_file import TableFile, as_strings
from nnkit.data.reading.values import MOSTLY, PLAIN, find_number_form, is_missing
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
    table: TableFile,
    make_sink: MakeSink = InMemory,
    *,
    kind: Kind | None = None,
    form: DateForm | None = None,
) -> ColumnReader:
    """Return what reads a column, which is decided by its first cells as far as it is not known.

    Args:
        name: Name of the column.
        cells: The first cells.
        table: The table, which knows how it is written.
        make_sink: Where the values go.
        kind: What the column holds; None: what its cells look like.
        form: How its dates were written where that was learnt; taken where these cells do not tell.
    """
    missing = table.reading.missing
    found = kind or _kind_of_type(cells.type)
    if found == "text":
        return TextReader(make_sink(name, "i4"), missing)
    is_typed = not pa.types.is_string(cells.type)
    if kind is None and table.reading.date_format is not None and not pa.types.is_temporal(cells.type):
        own = _own_dates(name, _sample(cells, missing), table.reading.date_format)
        if own is not None:
            return DateReader(make_sink(name, "f8"), own, missing)
    if found in ("number", None):
        # The usual case, in one go: a table may have many thousand columns.
        if is_typed or (
            not table.decimal_comma and cells.null_count < len(cells) and as_numbers(cells) is not None
        ):
            return NumberReader(make_sink(name, "f8"), PLAIN, missing)
        # An empty column counts as one of numbers, as later cells may still be some.
        numbers = find_number_form(_sample(cells, missing), table.decimal_comma)
        if numbers is not None or found == "number":
            return NumberReader(make_sink(name, "f8"), numbers or PLAIN, missing)
    dates = None if is_typed else find_date_form(_sample(cells, missing))
    if form is not None and (dates is None or form.pattern in (dates.ambiguous or ())):
        # What was learnt also decides where cells can be read in two ways.
        dates = form
    if dates is None and not is_typed:
        if kind is None:
            return TextReader(make_sink(name, "i4"), missing)
        # Cells that are no dates are to be named one by one.
        dates = DateForm("%Y-%m-%d")
    return DateReader(make_sink(name, "f8"), dates, missing)


def _kind_of_type(kind: pa.DataType) -> Kind | None:
    """Return what a column of a typed file holds; None for text, which may be anything."""
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "number"
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return "date"
    return None if pa.types.is_string(kind) else "text"


def _own_dates(name: str, sample: list[str], date_format: str) -> DateForm | None:
    """Return the form of the dates that the user typed, None where fewer than nine tenths of the cells have it.

    Whole numbers are such dates only where the form holds a day or the column's name speaks of time.
    """
    form = date_form(date_format, sample)
    if not sample or np.mean(~np.isnan(seconds(sample, form))) < MOSTLY:
        return None
    is_clear = "%d" in date_format or "%j" in date_format or names_time(name)
    return form if is_clear or as_numbers(pa.array(sample)) is None else None


def _sample(cells: pa.Array, missing: Collection[str] | None) -> list[str]:
    """Return some of the cells that are not missing, as texts, spread over all of them."""
    if len(cells) > _SAMPLE:
        cells = cells.take(pa.array(np.arange(0, len(cells), len(cells) // _SAMPLE)))
    stripped = pc.utf8_trim_whitespace(as_strings(cells)).to_pylist()
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
        decided, wrong = dict[str, DateForm](), set[str]()
        for name, reader in readers.items():
            if isinstance(reader, DateReader) and reader.num_texts and reader.form and reader.form.other:
                # The day or the month came first in the first rows, and later ones decide it.
                decided[name] = replace(reader.form, pattern=reader.form.other, other=None)
            elif not isinstance(reader, TextReader) and reader.holds_texts:
                wrong.add(name)
        if not wrong and not decided:
            finished: dict[str, Column] = {name: reader.finish() for name, reader in readers.items()}
            first = next(iter(finished.values()))
            return Frame(finished, len(first.codes if isinstance(first, Texts) else first.values))
        texts |= wrong
        dates |= decided


def _adapt(reader: ColumnReader, name: str, cells: pa.Array, file: TableFile) -> None:
    """Let a reader go on with another file of the table, in which values may be written in another way."""
    if isinstance(reader, NumberReader):
        found = reader_for(name, cells, file, kind="number")
        reader.form = found.form if isinstance(found, NumberReader) else reader.form
    elif isinstance(reader, DateReader):
        found = reader_for(name, cells, file, kind="date", form=reader.form)
        form = found.form if isinstance(found, DateReader) else None
        # Where it was in doubt which part is the day and these cells tell, all files are read again.
        if form is not None and (reader.form is None or reader.form.other != form.pattern):
            reader.form = form


def _read(
    table: TableFile,
    texts: Collection[str],
    dates: Mapping[str, DateForm],
    columns: Sequence[str] | None,
    make_sink: MakeSink,
) -> dict[str, ColumnReader]:
    readers: dict[str, ColumnReader] = {}
    opened: TableFile | None = None
    for file, batch in table.batches_by_file(columns):
        for name, cells in zip(batch.schema.names, batch.columns, strict=True):
            if name not in readers:
                kind: Kind | None = "text" if name in texts else "date" if name in dates else None
                readers[name] = reader_for(name, cells, file, make_sink, kind=kind, form=dates.get(name))
            elif file is not opened:
                _adapt(readers[name], name, cells, file)
            readers[name].add(cells)
        opened = file
    if not readers:
        raise UserError(f"{table.title} holds column names but no rows")
    return readers
