"""A delimited file read whole into one NumPy array a column: numbers, or codes of texts."""

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnkit.data.reading.delimited import (
    Dialect,
    num_fields,
    read_chunks,
    read_header,
    read_rows,
    unique_names,
)
from nnkit.errors import UserError

# What people write into an empty cell. What the second set adds may also name a category: for numbers only.
_MISSING = frozenset({"", "?", "na", "n/a", "#n/a", "nan", "null"})
_MISSING_NUMBER = _MISSING | {"none", "-", ".", "..."}
# A column with a larger share of texts among its values is one of texts.
_MAX_TEXT_SHARE = 0.1
# Cells in a chunk of rows: few enough to stay in the processor's cache.
_CHUNK = 10_000


@dataclass
class Numbers:
    """A column of numbers.

    Attributes:
        values: One number a row, NaN where it is missing, (rows,) float64.
        num_texts: Cells that hold neither a number nor a mark of a missing one; they count as missing.
        num_infinite: Cells that hold an infinite number; they count as missing.
        first_text: Row, counted from 1, and content of the first such cell; row 0 if there is none.
    """

    values: NDArray[np.float64]
    num_texts: int = 0
    num_infinite: int = 0
    first_text: tuple[int, str] = (0, "")


@dataclass
class Texts:
    """A column of texts.

    Attributes:
        codes: Place of each row's text in `values`, -1 where it is missing, (rows,) int32.
        values: The different texts, stripped, in the order of their first appearance.
    """

    codes: NDArray[np.int32]
    values: list[str]


Column = Numbers | Texts


class Frame(NamedTuple):
    """A table in memory.

    Attributes:
        columns: A column for each name, in the order of the file.
        num_rows: Rows without the header.
    """

    columns: dict[str, Column]
    num_rows: int


def check_dialect(delimiter: str | None, encoding: str | None) -> None:
    """Refuse a delimiter or an encoding that no file can have.

    Args:
        delimiter: The character between two fields, or None to find out.
        encoding: A codec's name, or None to find out.

    Raises:
        ValueError: If one of them makes no sense.
    """
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
        raise ValueError(f"delimiter must be one character and no quote, not {delimiter!r}")
    if encoding is not None:
        try:
            codecs.lookup(encoding)
        except LookupError as error:
            raise ValueError(
                f"encoding must be a codec of Python such as latin-1, not {encoding!r}"
            ) from error


def parse_number(text: str, decimal_comma: bool = False) -> float | None:
    """Return the number in a cell, NaN if it is marked as missing, None if it is a text."""
    text = text.strip()
    if text.casefold() in _MISSING_NUMBER:
        return float("nan")
    # float() also reads "10_20", which is a name of a range rather than a number.
    if "_" in text:
        return None
    try:
        return float(text.replace(",", ".") if decimal_comma else text)
    except ValueError:
        return None


def parse_text(text: str) -> str | None:
    """Return the text in a cell, None if it is marked as missing."""
    text = text.strip()
    return None if text.casefold() in _MISSING else text


@dataclass
class _NumberReader:
    decimal_comma: bool
    chunks: list[NDArray[np.float64]] = field(default_factory=list)
    num_numbers: int = 0
    num_texts: int = 0
    num_infinite: int = 0
    first_text: tuple[int, str] = (0, "")

    @property
    def holds_texts(self) -> bool:
        return self.num_texts > _MAX_TEXT_SHARE * (self.num_numbers + self.num_texts)

    def add(self, cells: Sequence[str], first_row: int) -> None:
        numbers = self._convert_all(cells)
        if numbers is None:
            numbers = self._convert_each(cells, first_row)
        infinite = np.isinf(numbers)
        if infinite.any():
            self.num_infinite += int(infinite.sum())
            numbers[infinite] = np.nan
        self.num_numbers += int(np.count_nonzero(~np.isnan(numbers)))
        self.chunks.append(numbers)

    def _convert_all(self, cells: Sequence[str]) -> NDArray[np.float64] | None:
        """Convert a chunk without examining each cell; None where one of them is not plainly a number."""
        joined = "\n".join(cells)
        if "_" in joined or (self.decimal_comma and "," in joined):
            return None
        if "" in cells:
            cells = [cell or "nan" for cell in cells]
        try:
            return np.fromiter(map(float, cells), np.float64, len(cells))
        except ValueError:
            return None

    def _convert_each(self, cells: Sequence[str], first_row: int) -> NDArray[np.float64]:
        numbers = np.full(len(cells), np.nan)
        for place, cell in enumerate(cells):
            number = parse_number(cell, self.decimal_comma)
            if number is not None:
                numbers[place] = number
                continue
            if not self.num_texts:
                self.first_text = (first_row + place, cell.strip())
            self.num_texts += 1
        return numbers

    def finish(self) -> Numbers:
        values = np.concatenate(self.chunks)
        self.chunks.clear()
        return Numbers(values, self.num_texts, self.num_infinite, self.first_text)


@dataclass
class _TextReader:
    codes_of: dict[str, int] = field(default_factory=dict)
    values: dict[str, int] = field(default_factory=dict)
    chunks: list[NDArray[np.int32]] = field(default_factory=list)

    def add(self, cells: Sequence[str], first_row: int) -> None:
        # Each different cell is looked at once; sorted, as a set's order changes from process to process.
        for cell in sorted(set(cells).difference(self.codes_of)):
            text = parse_text(cell)
            self.codes_of[cell] = -1 if text is None else self.values.setdefault(text, len(self.values))
        self.chunks.append(np.fromiter(map(self.codes_of.__getitem__, cells), np.int32, len(cells)))

    def finish(self) -> Texts:
        codes = np.concatenate(self.chunks)
        self.chunks.clear()
        return Texts(codes, list(self.values))


def read_frame(path: Path, dialect: Dialect, as_text: Sequence[str] = ()) -> Frame:
    """Read a whole file.

    A column is one of numbers if nine tenths of its cells that are not empty are numbers. The first chunk of
    rows decides; should later rows decide otherwise, the file is read a second time.

    Args:
        path: An existing file with a header.
        dialect: How it is written.
        as_text: Names of columns that hold texts even if all of them look like numbers.

    Raises:
        UserError: If there are no rows below the header, or some have more or fewer fields than it has.
    """
    names = unique_names(read_header(path, dialect))
    texts = set(as_text)
    while True:
        readers = _read_columns(path, dialect, names, texts)
        wrong = {
            name
            for name, reader in readers.items()
            if isinstance(reader, _NumberReader) and reader.holds_texts
        }
        if not wrong:
            columns: dict[str, Column] = {name: readers.pop(name).finish() for name in names}
            first = columns[names[0]]
            num_rows = len(first.values if isinstance(first, Numbers) else first.codes)
            return Frame(columns, num_rows)
        texts |= wrong


def _read_columns(
    path: Path, dialect: Dialect, names: list[str], texts: set[str]
) -> dict[str, _NumberReader | _TextReader]:
    readers: dict[str, _NumberReader | _TextReader] = {}
    row = 1
    for chunk in rows_below_header(path, dialect, len(names), max(1, _CHUNK // len(names))):
        for name, cells in zip(names, zip(*chunk, strict=True), strict=True):
            if name not in readers:
                readers[name] = _first_reader(cells, dialect, name in texts)
            readers[name].add(cells, row)
        row += len(chunk)
    if not readers:
        raise UserError(f"{path} holds column names but no rows")
    return readers


def _first_reader(cells: Sequence[str], dialect: Dialect, as_text: bool) -> _NumberReader | _TextReader:
    trial = _NumberReader(dialect.decimal_comma)
    if not as_text:
        trial.add(cells, 1)
    return _TextReader() if as_text or trial.holds_texts else _NumberReader(dialect.decimal_comma)


def rows_below_header(path: Path, dialect: Dialect, width: int, size: int) -> Iterator[list[list[str]]]:
    """Yield chunks of rows.

    Args:
        path: An existing file with a header.
        dialect: How it is written.
        width: Fields of the header.
        size: Rows in a chunk, at most.

    Raises:
        UserError: If any row has another width; all of them are counted.
    """
    for number, chunk in enumerate(read_chunks(path, dialect, size)):
        if not set(map(len, chunk)) <= {width}:
            raise UserError(_ragged(path, dialect, width))
        rows = chunk if number else chunk[1:]
        if rows:
            yield rows


def _ragged(path: Path, dialect: Dialect, width: int) -> str:
    ragged, num_rows = [], -1
    for line, row in read_rows(path, dialect):
        num_rows += 1
        if len(row) != width:
            ragged.append((line, len(row)))
    line, given = ragged[0]
    more = f" ({len(ragged):,} such rows in all)" if len(ragged) > 1 else ""
    advice = "put a field that holds the delimiter into double quotes"
    if len(ragged) == num_rows:
        advice = "is the first line the one with the column names?"
    return f"{path}, line {line}: {num_fields(given)}, the header has {width}{more}; {advice}"
