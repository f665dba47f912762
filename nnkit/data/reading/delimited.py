"""Delimited text files as rows of fields: encoding, delimiter, and what is broken."""

import codecs
import contextlib
import csv
import gzip
import io
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Protocol, cast

from nnkit.data.reading.user_files import open_bytes
from nnkit.errors import UserError

_logger = logging.getLogger("nnkit")

_DELIMITERS = ",;\t|"
_BLOCK = 1 << 20
_SAMPLE = 1 << 18
_MAX_LINE = 10_000_000
_FOREIGN = {
    b"PK\x03\x04": "a zip file or an Excel workbook (save it as CSV)",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook (save it as CSV)",
    b"PAR1": "a Parquet file (save it as CSV)",
    b"SQLi": "an SQLite database (save the table as CSV)",
}
_COMMA_NUMBER = re.compile(r"[+-]?\d+,\d+")
_POINT_NUMBER = re.compile(r"[+-]?\d+\.\d+")
_GROUPED_NUMBER = re.compile(r"[+-]?\d{1,3}(,\d{3})+")


@dataclass(frozen=True)
class Dialect:
    """How a delimited file is written.

    Attributes:
        encoding: Name of the codec, such as "utf-8-sig".
        delimiter: The character between two fields.
        decimal_comma: Whether numbers are written as 3,14.
    """

    encoding: str
    delimiter: str
    decimal_comma: bool


def read_dialect(path: Path, delimiter: str | None = None, encoding: str | None = None) -> Dialect:
    """Find out how a file is written; what is given is taken as it is.

    The whole file is decoded once, as the first letter that is not UTF-8 may stand anywhere.

    Args:
        path: An existing file.
        delimiter: The character between two fields, or None to find out.
        encoding: A codec's name, or None to tell UTF-8, UTF-16 (by its mark) and Latin-1 apart.

    Raises:
        UserError: If the file is binary, or not in the encoding that is given.
    """
    with open_bytes(path) as file:
        sample = file.read(_SAMPLE)
        whole = len(sample) < _SAMPLE
        foreign = next((name for magic, name in _FOREIGN.items() if sample.startswith(magic)), None)
        if foreign:
            raise UserError(f"{path} is {foreign}")
        file.seek(0)
        encoding = _read_encoding(path, file) if encoding is None else encoding
    text = codecs.getincrementaldecoder(encoding)(errors="replace").decode(sample, final=whole)
    lines = text.splitlines(keepends=True)
    # The last line of a sample is cut somewhere, unless it is also the file's.
    lines = lines if whole or len(lines) == 1 else lines[:-1]
    delimiter = delimiter or _sniff_delimiter(lines)
    return Dialect(encoding, delimiter, _has_decimal_comma(lines, delimiter))


def _read_encoding(path: Path, file: IO[bytes]) -> str:
    block = file.read(_BLOCK)
    if block.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    decoder = codecs.getincrementaldecoder("utf-8")()
    utf8 = True
    while block:
        if b"\0" in block:
            raise UserError(f"{path} is a binary file, not a CSV file (it holds zero bytes)")
        if utf8:
            try:
                decoder.decode(block)
            except UnicodeDecodeError:
                utf8 = False
        block = file.read(_BLOCK)
    return "utf-8-sig" if utf8 else "latin-1"


def _sample_rows(lines: list[str], delimiter: str) -> list[list[str]]:
    rows: list[list[str]] = []
    # What cannot be read is reported, with its line, when the rows are read.
    with contextlib.suppress(csv.Error):
        rows.extend(csv.reader(lines, delimiter=delimiter, skipinitialspace=True))
    return [row for row in rows if row]


def _sniff_delimiter(lines: list[str]) -> str:
    """Choose the delimiter that cuts most lines into as many fields as the header, and into most fields."""
    best, best_score = ",", (0.0, 1)
    for delimiter in _DELIMITERS:
        rows = _sample_rows(lines, delimiter)
        if not rows or len(rows[0]) < 2:
            continue
        equal = sum(len(row) == len(rows[0]) for row in rows) / len(rows)
        score = (round(equal, 1), len(rows[0]))
        if score > best_score:
            best, best_score = delimiter, score
    return best


def _has_decimal_comma(lines: list[str], delimiter: str) -> bool:
    fields = [field.strip() for row in _sample_rows(lines, delimiter)[1:] for field in row]
    commas = [field for field in fields if _COMMA_NUMBER.fullmatch(field)]
    points = [field for field in fields if _POINT_NUMBER.fullmatch(field)]
    # In a file separated by commas a quoted "1,250" is a thousand or more, not one and a quarter.
    if delimiter == "," and all(_GROUPED_NUMBER.fullmatch(field) for field in commas):
        return False
    return len(commas) > len(points)


class _Reader(Protocol):
    """What `csv.reader` returns."""

    @property
    def line_num(self) -> int:
        """Lines read so far."""

    def __iter__(self) -> Iterator[list[str]]: ...
    def __next__(self) -> list[str]: ...


def _bounded(text: io.TextIOWrapper) -> Iterator[str]:
    """Yield lines as long as there is room for one: a few packed bytes may unpack to one of gigabytes."""
    while line := text.readline(_MAX_LINE):
        if len(line) == _MAX_LINE:
            raise csv.Error(f"a line of more than {_MAX_LINE:,} characters")
        yield line


def _reader(file: IO[bytes], dialect: Dialect) -> _Reader:
    text = io.TextIOWrapper(file, encoding=dialect.encoding, newline="")
    lines = _bounded(text) if isinstance(cast(object, file), gzip.GzipFile) else text
    return csv.reader(lines, delimiter=dialect.delimiter, skipinitialspace=True)


@contextmanager
def _open_reader(path: Path, dialect: Dialect) -> Iterator[_Reader]:
    with open_bytes(path) as file:
        reader = _reader(file, dialect)
        try:
            yield reader
        except csv.Error as error:
            line = _last_start(path, dialect)
            raise UserError(
                f"{path}, line {line}: {error} (a quote that is never closed, or a text that is too long for one cell?)"
            ) from error
        except UnicodeDecodeError as error:
            raise UserError(
                f"{path} is not in the encoding {dialect.encoding}, somewhere after line {reader.line_num}"
            ) from error


def _last_start(path: Path, dialect: Dialect) -> int:
    """Return the line on which the row starts that cannot be read."""
    start = 1
    with open_bytes(path) as file, contextlib.suppress(csv.Error):
        reader = _reader(file, dialect)
        for _ in reader:
            start = reader.line_num + 1
    return start


def read_rows(path: Path, dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that is not blank, the header first, with the number of the line it starts on.

    Raises:
        UserError: If the file cannot be decoded or a quote is never closed.
    """
    with _open_reader(path, dialect) as reader:
        line = 1
        for row in reader:
            if row:
                yield line, row
            line = reader.line_num + 1


def read_chunks(path: Path, dialect: Dialect, size: int) -> Iterator[list[list[str]]]:
    """Yield the rows that are not blank, the header first, some at a time: three times as fast as one by one.

    Args:
        path: An existing file.
        dialect: How it is written.
        size: Rows in a chunk, blank ones included.

    Raises:
        UserError: As `read_rows`.
    """
    with _open_reader(path, dialect) as reader:
        while chunk := list(islice(reader, size)):
            yield [row for row in chunk if row]


def read_header(path: Path, dialect: Dialect) -> list[str]:
    """Return the names in the first row, stripped, as they stand there.

    Raises:
        UserError: If the file has no rows, or its first row holds data instead of names.
    """
    _, row = next(read_rows(path, dialect), (0, [""]))
    # A byte order mark stays where the user names the encoding.
    names = [name.strip().removeprefix("\ufeff") for name in row]
    if not any(names):
        raise UserError(f"{path} has no column names: its first line is blank")
    numbers = [
        name for name in names if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", name, re.IGNORECASE)
    ]
    # A year may be a name; a number with decimals is data.
    if len(numbers) == len(names) or any("." in name for name in numbers):
        raise UserError(
            f"the first line of {path} holds data, not column names ({', '.join(names[:4])}...): put a line "
            "with a name for each column above it"
        )
    return names


def unique_names(names: list[str]) -> list[str]:
    """Return names of columns that are all different and none empty: "x", "x (2)", "unnamed"."""
    taken = set(names)
    seen: dict[str, int] = {}
    unique = []
    for given in names:
        name = given or "unnamed"
        seen[name] = seen.get(name, 0) + 1
        number = seen[name]
        candidate = name if number == 1 else f"{name} ({number})"
        while number > 1 and candidate in taken:
            number += 1
            candidate = f"{name} ({number})"
        taken.add(candidate)
        unique.append(candidate)
    return unique


def num_fields(number: int) -> str:
    """Return "1 field" or "7 fields"."""
    return "1 field" if number == 1 else f"{number} fields"


def report_dialect(path: str, dialect: Dialect, delimiter: str | None, encoding: str | None) -> None:
    """Log how a file is read, as far as that was found out.

    Args:
        path: The file, as the user gave it.
        dialect: What was found out.
        delimiter: The delimiter that the user gave, if any.
        encoding: The codec that the user gave, if any.
    """
    if encoding is None and dialect.encoding == "latin-1":
        _logger.warning("%s is not in UTF-8; it is read as Latin-1 (data.encoding)", path)
    if delimiter is None and dialect.delimiter != ",":
        _logger.info("%s: fields are separated by %r (data.delimiter)", path, dialect.delimiter)
    if dialect.decimal_comma:
        _logger.info("%s: numbers are written with a decimal comma", path)
