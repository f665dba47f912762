"""A delimited text file of a table: its rows as pyarrow parses them, odd ones by number, stray quotes by name."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from nnkit.data.reading.dialect import Dialect, ReadOptions, find_dialect, respaced
from nnkit.data.reading.encodings import Utf8Stream
from nnkit.data.reading.part import Part
from nnkit.data.reading.user_files import open_bytes
from nnkit.errors import UserError

# Bytes that are parsed at once; a row that is longer needs more.
_BLOCK = 1 << 20
_MAX_BLOCK = 1 << 30
# A few packed bytes may unpack to a cell of gigabytes.
_MAX_PACKED_BLOCK = 1 << 26


class DelimitedPart(Part):
    """A delimited text file, plain or .gz, read as texts."""

    def __init__(self, path: Path, title: str, reading: ReadOptions) -> None:
        self._path, self._title = path, title
        self._dialect = find_dialect(path, title, reading)
        self._trusts_quotes = reading.quotes is True
        self.names = list(self._dialect.names)
        self.findings = self._dialect.findings
        self.decimal_comma = self._dialect.decimal_comma

    def batches(self, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        """Yield the rows; see `Part.batches`."""
        block, done = _BLOCK, 0
        while True:
            try:
                for batch in self._parse(columns, block, done):
                    done += batch.num_rows
                    yield batch
                return
            except _LongRowError:
                block *= 16
                with open_bytes(self._path) as file:
                    most = _MAX_BLOCK if not hasattr(file, "mtime") else _MAX_PACKED_BLOCK
                if block > most:
                    raise UserError(
                        f"{self._title}: a row of more than {most:,} bytes after row {done:,} (a quote that is never "
                        "closed?)"
                    ) from None

    def _parse(self, columns: Sequence[str] | None, block: int, done: int) -> Iterator[pa.RecordBatch]:
        """Parse in blocks of so many bytes and yield what comes after the rows that are done."""
        dialect, bad = self._dialect, _BadRows()
        with open_bytes(self._path) as file:
            stream = Utf8Stream(self._path, file, dialect.encoding)
            source = _Respaced(stream, dialect.delimiter) if dialect.spaced else stream
            num_rows = 0
            try:
                with self._reader(source, columns, block, bad, dialect) as reader:
                    for batch in reader:
                        num_rows += batch.num_rows
                        # Behind a row that is left out all others would have wrong numbers.
                        if num_rows > done and not bad.rows:
                            new = batch.slice(max(batch.num_rows - (num_rows - done), 0))
                            yield new if dialect.quotes else _unquoted(new)
            except pa.ArrowInvalid as error:
                if "straddling" in str(error) or "block size" in str(error):
                    raise _LongRowError from error
                if "Empty CSV" not in str(error):
                    raise UserError(f"{self._title} cannot be read: {error}") from error
        if bad.rows:
            raise UserError(self._ragged(bad, num_rows + bad.rows))
        if dialect.quotes:
            self._check_quotes(stream, num_rows, block)

    def _reader(
        self, source: Any, columns: Sequence[str] | None, block: int, bad: "_BadRows", dialect: Dialect
    ) -> pa_csv.CSVStreamingReader:
        return pa_csv.open_csv(
            pa.PythonFile(source, mode="r"),
            pa_csv.ReadOptions(
                use_threads=False, block_size=block, skip_rows=dialect.skip, column_names=self.names
            ),
            pa_csv.ParseOptions(
                delimiter=dialect.delimiter,
                quote_char='"' if dialect.quotes else False,
                newlines_in_values=dialect.quotes,
                invalid_row_handler=bad,
            ),
            pa_csv.ConvertOptions(
                check_utf8=False,
                column_types=dict.fromkeys(self.names, pa.string()),
                include_columns=list(columns) if columns is not None else None,
            ),
        )

    def _ragged(self, bad: "_BadRows", num_rows: int) -> str:
        number, given, text = bad.first
        width, line = len(self.names), self._line_of(text)
        where = f"line {line:,}" if line else f"row {number:,}"
        more = f" ({bad.rows:,} such rows in all)" if bad.rows > 1 else ""
        advice = "put a cell that holds the delimiter into double quotes"
        if bad.rows == num_rows:
            advice = "is the first line the one with the column names?"
        what = f"{num_fields(given)}, the header has {width}{more}: {text.strip()[:60]!r}"
        return f"{self._title}, {where}: {what}; {advice}"

    def _line_of(self, text: str) -> int:
        """Return the number of the first line that a row begins with; pyarrow numbers rows."""
        begins = text.split("\n")[0].rstrip("\r")
        with open_bytes(self._path) as file:
            lines = Utf8Stream(self._path, file, self._dialect.encoding).read_all().splitlines()
        return next((number for number, line in enumerate(lines, 1) if line == begins), 0)

    def _check_quotes(self, stream: Utf8Stream, num_rows: int, block: int) -> None:
        """Refuse quotes that are never closed, or that make one row of many without being meant to.

        pyarrow takes the rest of the file for the cell; a cell of several lines that was in the sample is meant.
        """
        dialect = self._dialect
        if stream.num_quotes % 2:
            with open_bytes(self._path) as file:
                decoded = Utf8Stream(self._path, file, dialect.encoding).read_all()
            line = _never_closed(decoded, dialect.delimiter)
            if line:
                raise UserError(
                    f"{self._title}, line {line:,}: a quote that is never closed; close it, or, where quotes are "
                    "letters, type data.quotes=false"
                )
        if self._trusts_quotes or dialect.multiline or stream.num_lines <= num_rows + dialect.skip:
            return
        stray = self._stray_quote(block)
        if stray:
            raise UserError(
                f"{self._title}: the quote in {stray[:40]!r} begins a cell of several lines, although each line holds "
                "as many cells as the header; where quotes are letters, type data.quotes=false; data.quotes=true reads "
                "such cells as they are"
            )

    def _stray_quote(self, block: int) -> str:
        """Return a cell whose quote makes one row of several; "" if cells of several lines are meant.

        They are not if every line, cut without regard to quotes, has as many cells as the header.
        """
        bad, stray = _BadRows(), ""
        with open_bytes(self._path) as file:
            stream = Utf8Stream(self._path, file, self._dialect.encoding)
            plain = replace(self._dialect, quotes=False)
            with self._reader(stream, None, block, bad, plain) as reader:
                for batch in reader:
                    stray = stray or _first_stray(batch)
        return "" if bad.rows else stray


class _LongRowError(Exception):
    """A row is longer than a block."""


class _BadRows:
    """Counts rows with another number of cells than the header; comments between rows are none."""

    def __init__(self) -> None:
        self.rows = 0
        self.first = (0, 0, "")

    def __call__(self, row: pa_csv.InvalidRow) -> str:
        """Note a row, and let pyarrow go on."""
        if not row.text.lstrip().startswith("#"):
            if not self.rows:
                self.first = (row.number or 0, row.actual_columns, row.text)
            self.rows += 1
        return "skip"


class _Respaced(io.RawIOBase):
    """A stream of whole lines whose blanks are brought to what pyarrow reads.

    Blanks between a delimiter and a quote are left out, as pyarrow sees no quote behind them; where blanks separate
    cells, several of them count as one.
    """

    def __init__(self, stream: Utf8Stream, delimiter: str) -> None:
        self._stream = stream
        self._delimiter = delimiter
        self._rest = b""

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int | None = -1) -> bytes:
        """Return about as many bytes as asked for, none at the end."""
        data = self._stream.read(size)
        while data and b"\n" not in data:
            more = self._stream.read(size)
            data, self._rest = self._rest + data + more, b""
            if not more:
                break
        lines, ending, rest = (self._rest + data).rpartition(b"\n")
        if not data:
            self._rest = b""
            return respaced(lines + ending + rest, self._delimiter)
        self._rest = rest
        return respaced(lines + ending, self._delimiter)


def _unquoted(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Undo quotes that enclose a whole cell."""
    columns = []
    for cells in batch.columns:
        enclosed = pc.match_substring_regex(cells, r'^\s*"(?s:.*)"\s*$')
        if pc.any(enclosed).as_py():
            inner = pc.replace_substring_regex(cells, r'^\s*"((?s:.*))"\s*$', r"\1")
            cells = pc.if_else(enclosed, pc.replace_substring(inner, '""', '"'), cells)
        columns.append(cells)
    return pa.record_batch(columns, names=batch.schema.names)


def _first_stray(batch: pa.RecordBatch) -> str:
    """Return the first cell that begins with a quote that does not enclose it, "" if there is none."""
    for cells in batch.columns:
        stray = pc.and_(
            pc.match_substring_regex(cells, r'^\s*"'),
            pc.invert(pc.match_substring_regex(cells, r'^\s*"([^"]|"")*"\s*$')),
        )
        found = cells.filter(stray)
        if len(found):
            return str(found[0])
    return ""


def _never_closed(text: str, delimiter: str) -> int:
    """Return the line on which a row begins whose last quote is never closed, 0 if there is none."""
    limit = csv.field_size_limit(_MAX_BLOCK)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    begins = 1
    try:
        while True:
            next(reader)
            begins = reader.line_num + 1
    except StopIteration:
        return 0
    except csv.Error as error:
        # Whatever else is not strict, pyarrow reads as a person would.
        return begins if "end of data" in str(error) else 0
    finally:
        csv.field_size_limit(limit)


def num_fields(number: int) -> str:
    """Return "1 field" or "7 fields"."""
    return "1 field" if number == 1 else f"{number} fields"
