"""A delimited text file of a table: its rows as pyarrow parses them, odd ones by number, stray quotes by name."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from nnkit.data.reading.dialect import ReadOptions, find_dialect
from nnkit.data.reading.encodings import ByteStream, respaced, utf8_blocks
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

    def _blocks(self, size: int) -> Iterator[bytes]:
        return utf8_blocks(self._path, self._dialect.encoding, size)

    def _text(self) -> str:
        return b"".join(self._blocks(_BLOCK)).decode(errors="replace")

    def _parse(self, columns: Sequence[str] | None, block: int, done: int) -> Iterator[pa.RecordBatch]:
        """Parse in blocks of so many bytes and yield what comes after the rows that are done."""
        dialect, bad, num_rows = self._dialect, _BadRows(), 0
        blocks = self._blocks(block)
        stream = ByteStream(_respaced(blocks, dialect.delimiter) if dialect.spaced else blocks)
        try:
            with self._reader(stream, columns, block, bad, dialect.quotes) as reader:
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
        self, stream: ByteStream, columns: Sequence[str] | None, block: int, bad: "_BadRows", quotes: bool
    ) -> pa_csv.CSVStreamingReader:
        skip, names = self._dialect.skip, self.names
        return pa_csv.open_csv(
            pa.PythonFile(stream, mode="r"),
            pa_csv.ReadOptions(use_threads=False, block_size=block, skip_rows=skip, column_names=names),
            pa_csv.ParseOptions(
                delimiter=self._dialect.delimiter,
                quote_char='"' if quotes else False,
                newlines_in_values=quotes,
                invalid_row_handler=bad,
            ),
            pa_csv.ConvertOptions(
                check_utf8=False,
                column_types=dict.fromkeys(names, pa.string()),
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
        lines = enumerate(self._text().splitlines(), 1)
        return next((number for number, line in lines if line == begins), 0)

    def _check_quotes(self, stream: ByteStream, num_rows: int, block: int) -> None:
        """Refuse quotes that are never closed, or that make one row of many without being meant to.

        pyarrow takes the rest of the file for the cell; a cell of several lines that was in the sample is meant.
        """
        dialect = self._dialect
        if stream.num_quotes % 2:
            line = _never_closed(self._text(), dialect.delimiter)
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
        with self._reader(ByteStream(self._blocks(block)), None, block, bad, False) as reader:
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


def _respaced(blocks: Iterator[bytes], delimiter: str) -> Iterator[bytes]:
    """Yield whole lines whose blanks are brought to what pyarrow reads; see `respaced`."""
    rest = b""
    for block in blocks:
        lines, end, rest = (rest + block).rpartition(b"\n")
        if end:
            yield respaced(lines + end, delimiter)
    if rest:
        yield respaced(rest, delimiter)


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
