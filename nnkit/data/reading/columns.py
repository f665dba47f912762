"""The columns of a table as NumPy arrays: numbers, dates, or codes of texts."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nnkit.data.reading.dates import DateForm, date_form, find_date_form, seconds
from nnkit.data.reading.table_file import TableFile, as_strings
from nnkit.data.reading.values import (
    MINUS,
    MOSTLY,
    PLAIN,
    NumberForm,
    find_number_form,
    is_missing,
    missing_words,
)
from nnkit.errors import UserError

# Different texts of a column that are told apart; a column with more is none of categories.
MAX_VALUES = 100_000
# Values in the first and in the largest block of a column in memory.
_SMALLEST_BLOCK, _LARGEST_BLOCK = 1 << 10, 1 << 20
# Cells that decide what a column holds.
_SAMPLE = 2_000

_logger = logging.getLogger("nnkit")


@dataclass
class Numbers:
    """A column of numbers.

    Attributes:
        values: One number a row, NaN where it is missing, (rows,) float64.
        num_texts: Cells that hold neither a number nor a word for a missing one; they count as missing.
        num_infinite: Cells that hold an infinite number; they count as missing.
        first_text: Row, counted from 1, and content of the first such text; row 0 if there is none.
        missing: Words that were taken for a missing value, and how many cells hold each; "" is an empty cell.
        form: How the numbers are written.
    """

    values: NDArray[np.float64]
    num_texts: int = 0
    num_infinite: int = 0
    first_text: tuple[int, str] = (0, "")
    missing: dict[str, int] = field(default_factory=dict)
    form: NumberForm = PLAIN


@dataclass
class Dates:
    """A column of dates.

    Attributes:
        values: Seconds since 1970, NaN where there is no date, (rows,) float64.
        form: How the dates are written; None in files that know dates.
        num_texts: Cells that hold neither a date nor a word for a missing one; they count as missing.
        first_text: As in `Numbers`.
        missing: As in `Numbers`.
    """

    values: NDArray[np.float64]
    form: DateForm | None = None
    num_texts: int = 0
    first_text: tuple[int, str] = (0, "")
    missing: dict[str, int] = field(default_factory=dict)


@dataclass
class Texts:
    """A column of texts.

    Attributes:
        codes: Place of each row's text in `values`, -1 where it is missing, (rows,) int32.
        values: The different texts, stripped, in the order of their first appearance.
        missing: As in `Numbers`.
        too_many: Whether there are more than `MAX_VALUES` different ones; codes of the further ones are -1.
    """

    codes: NDArray[np.int32]
    values: list[str]
    missing: dict[str, int] = field(default_factory=dict)
    too_many: bool = False


Column = Numbers | Dates | Texts
Kind = Literal["number", "date", "text"]


class Frame(NamedTuple):
    """A table in memory.

    Attributes:
        columns: A column for each name, in the order of the file.
        num_rows: Its rows.
    """

    columns: dict[str, Column]
    num_rows: int


class Sink(Protocol):
    """Where the values of a column go as they are read."""

    def append(self, values: NDArray[Any]) -> None:
        """Take the next values."""

    def finish(self) -> NDArray[Any]:
        """Return all of them as one array."""


class Memory:
    """A sink that keeps values in memory, in a few large blocks: of many small ones much would never be given back."""

    def __init__(self, name: str, dtype: str) -> None:
        self._blocks = [np.empty(_SMALLEST_BLOCK, dtype)]
        self._used = 0

    def append(self, values: NDArray[Any]) -> None:
        """Take the next values."""
        while len(values):
            block = self._blocks[-1]
            room = len(block) - self._used
            taken, values = values[:room], values[room:]
            block[self._used : self._used + len(taken)] = taken
            self._used += len(taken)
            if self._used == len(block):
                self._blocks.append(np.empty(min(2 * len(block), _LARGEST_BLOCK), block.dtype))
                self._used = 0

    def finish(self) -> NDArray[Any]:
        """Return all of them as one array."""
        whole = np.concatenate([*self._blocks[:-1], self._blocks[-1][: self._used]])
        self._blocks.clear()
        return whole


class MakeSink(Protocol):
    """Makes the sink of a column."""

    def __call__(self, name: str, dtype: str) -> Sink:
        """Return a sink for values of this NumPy type."""


@dataclass
class NumberReader:
    """Turns cells into numbers, chunk by chunk.

    Attributes:
        sink: Takes the numbers.
        form: How they are written.
        missing: Words for a missing value; None: the usual ones.
    """

    sink: Sink
    form: NumberForm = PLAIN
    missing: Collection[str] | None = None
    num_rows: int = 0
    num_texts: int = 0
    num_infinite: int = 0
    num_numbers: int = 0
    first_text: tuple[int, str] = (0, "")
    words: dict[str, int] = field(default_factory=dict)

    @property
    def holds_texts(self) -> bool:
        """Whether more than a tenth of the values are no numbers."""
        return self.num_texts > (1 - MOSTLY) * (self.num_numbers + self.num_texts)

    def add(self, cells: pa.Array) -> None:
        """Convert the next cells."""
        if pa.types.is_string(cells.type):
            cells = self._of_texts(cells)
        values = np.asarray(pc.cast(cells, pa.float64(), safe=False).to_numpy(zero_copy_only=False))
        infinite = np.isinf(values)
        if infinite.any():
            self.num_infinite += int(infinite.sum())
            values = np.where(infinite, np.nan, values)
        self.num_numbers += int(np.count_nonzero(~np.isnan(values)))
        self.num_rows += len(values)
        self.sink.append(values)

    def _of_texts(self, cells: pa.Array) -> pa.Array:
        """Return texts as numbers; whole chunks at once where all of them are numbers as programs write them."""
        if self.form.is_plain:
            try:
                return pc.cast(cells, pa.float64())
            except pa.ArrowInvalid:
                pass
        cells = pc.utf8_trim_whitespace(cells)
        words = pa.array(["", *missing_words(self.missing, number=True)], cells.type)
        is_missing_word = pc.is_in(pc.utf8_lower(cells), words)
        _count(self.words, cells.filter(is_missing_word))
        cells = pc.if_else(is_missing_word, None, cells)
        if self.form.is_plain:
            try:
                return pc.cast(cells, pa.float64())
            except pa.ArrowInvalid:
                pass
        is_number = pc.match_substring_regex(
            cells, f"^(?:{self.form.pattern}|[+-]?(?:inf|infinity|nan))$", ignore_case=True
        )
        self._count_texts(cells, is_number)
        cells = pc.if_else(is_number, cells, None)
        for sign in self.form.removed:
            cells = pc.replace_substring(cells, sign, "")
        if self.form.decimal != ".":
            cells = pc.replace_substring(cells, self.form.decimal, ".")
        return pc.cast(pc.utf8_trim_whitespace(pc.replace_substring(cells, MINUS, "-")), pa.float64())

    def _count_texts(self, cells: pa.Array, is_number: pa.Array) -> None:
        wrong = np.flatnonzero(pc.fill_null(pc.invert(is_number), False).to_numpy(zero_copy_only=False))
        if len(wrong) and not self.num_texts:
            self.first_text = (self.num_rows + int(wrong[0]) + 1, cells[int(wrong[0])].as_py())
        self.num_texts += len(wrong)

    def finish(self) -> Numbers:
        """Return the column."""
        values = self.sink.finish()
        return Numbers(values, self.num_texts, self.num_infinite, self.first_text, self.words, self.form)


@dataclass
class DateReader:
    """Turns cells into dates, chunk by chunk; attributes as in `NumberReader`."""

    sink: Sink
    form: DateForm | None = None
    missing: Collection[str] | None = None
    num_rows: int = 0
    num_texts: int = 0
    num_dates: int = 0
    first_text: tuple[int, str] = (0, "")
    words: dict[str, int] = field(default_factory=dict)

    @property
    def holds_texts(self) -> bool:
        """Whether more than a tenth of the values are no dates."""
        return self.num_texts > (1 - MOSTLY) * (self.num_dates + self.num_texts)

    def add(self, cells: pa.Array) -> None:
        """Convert the next cells."""
        if pa.types.is_string(cells.type):
            assert self.form is not None
            cells = pc.utf8_trim_whitespace(cells)
            words = pa.array(["", *missing_words(self.missing, number=True)], cells.type)
            is_missing_word = pc.is_in(pc.utf8_lower(cells), words)
            _count(self.words, cells.filter(is_missing_word))
            values = seconds(pc.if_else(is_missing_word, None, cells), self.form)
            wrong = np.flatnonzero(np.isnan(values) & ~is_missing_word.to_numpy(zero_copy_only=False))
            if len(wrong) and not self.num_texts:
                self.first_text = (self.num_rows + int(wrong[0]) + 1, str(cells[int(wrong[0])]))
            self.num_texts += len(wrong)
        else:
            whole = pc.cast(pc.cast(cells, pa.timestamp("us"), safe=False), pa.int64())
            values = np.asarray(pc.divide(pc.cast(whole, pa.float64()), 1e6).to_numpy(zero_copy_only=False))
        self.num_dates += int(np.count_nonzero(~np.isnan(values)))
        self.num_rows += len(values)
        self.sink.append(values)

    def finish(self) -> Dates:
        """Return the column."""
        return Dates(self.sink.finish(), self.form, self.num_texts, self.first_text, self.words)


@dataclass
class TextReader:
    """Turns cells into codes of texts, chunk by chunk; attributes as in `NumberReader`."""

    sink: Sink
    missing: Collection[str] | None = None
    codes: dict[str, int] = field(default_factory=dict)
    words: dict[str, int] = field(default_factory=dict)
    too_many: bool = False

    def add(self, cells: pa.Array) -> None:
        """Number the next cells."""
        if self.too_many:
            self.sink.append(np.full(len(cells), -1, np.int32))
            return
        encoded = pc.dictionary_encode(pc.utf8_trim_whitespace(as_strings(cells)))
        table, missing = [], np.zeros(len(encoded.dictionary) + 1, np.int64)
        # A missing cell has no index; it takes the last entry.
        indices = pc.fill_null(encoded.indices, len(encoded.dictionary)).to_numpy(zero_copy_only=False)
        values = encoded.dictionary.to_pylist()
        for text in values:
            table.append(
                -1 if is_missing(text, self.missing) else self.codes.setdefault(text, len(self.codes))
            )
        codes = np.array([*table, -1], np.int32)[indices]
        if -1 in table:
            missing = np.bincount(indices, minlength=len(table) + 1)
            for text, code, count in zip(values, table, missing.tolist(), strict=False):
                if code < 0:
                    self.words[text] = self.words.get(text, 0) + count
        if encoded.null_count:
            self.words[""] = self.words.get("", 0) + encoded.null_count
        if len(self.codes) > MAX_VALUES:
            self.too_many = True
            codes = np.where(codes < MAX_VALUES, codes, -1).astype(np.int32)
            self.codes = dict(list(self.codes.items())[:MAX_VALUES])
        self.sink.append(codes)

    def finish(self) -> Texts:
        """Return the column."""
        return Texts(self.sink.finish(), list(self.codes), self.words, self.too_many)


ColumnReader = NumberReader | DateReader | TextReader


def _count(words: dict[str, int], cells: pa.Array) -> None:
    for entry in pc.value_counts(cells):
        word = entry["values"].as_py() or ""
        words[word] = words.get(word, 0) + entry["counts"].as_py()


def reader_for(
    name: str,
    cells: pa.Array,
    make_sink: MakeSink = Memory,
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
    make_sink: MakeSink = Memory,
) -> Frame:
    """Read a whole table.

    A column is one of numbers, or of dates, if nine tenths of its cells that are not missing are. The first rows
    decide; should the others decide otherwise, the table is read a second time.

    Args:
        table: The table, opened.
        as_text: Names of columns that hold texts even if all of them look like numbers.
        columns: Names of the columns to read; None: all.
        make_sink: Where the values of each column go; `Memory` keeps them in memory.

    Raises:
        UserError: If there are no rows, or some cannot be read.
    """
    texts = set(as_text)
    while True:
        readers = _read(table, texts, columns, make_sink)
        wrong = {
            name
            for name, reader in readers.items()
            if not isinstance(reader, TextReader) and reader.holds_texts
        }
        if not wrong:
            finished: dict[str, Column] = {name: reader.finish() for name, reader in readers.items()}
            first = next(iter(finished.values()))
            return Frame(finished, len(first.codes if isinstance(first, Texts) else first.values))
        texts |= wrong


def _read(
    table: TableFile, texts: Collection[str], columns: Sequence[str] | None, make_sink: MakeSink
) -> dict[str, ColumnReader]:
    readers: dict[str, ColumnReader] = {}
    for batch in table.batches(columns):
        for name, cells in zip(batch.schema.names, batch.columns, strict=True):
            if name not in readers:
                kind: Kind | None = "text" if name in texts else None
                readers[name] = reader_for(
                    name,
                    cells,
                    make_sink,
                    kind=kind,
                    decimal_comma=table.decimal_comma,
                    date_format=table.reading.date_format,
                    missing=table.reading.missing,
                )
            readers[name].add(cells)
    if not readers:
        raise UserError(f"{table.title} holds column names but no rows")
    return readers
