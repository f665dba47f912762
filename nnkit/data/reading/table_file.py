"""Tables as files hold them: delimited text, Parquet, Feather, JSON; one file, a folder or a glob of them."""

import atexit
import csv
import io
import json
import logging
import re
import shutil
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.ipc as pa_ipc
import pyarrow.parquet as pq

from nnkit.data.cache import remembered_sha256
from nnkit.data.download.sources import fingerprint
from nnkit.data.reading.dialect import Dialect, Finding, Reading, find_dialect
from nnkit.data.reading.encodings import Utf8Stream
from nnkit.data.reading.json_rows import JsonRows
from nnkit.data.reading.user_files import find_file, open_bytes
from nnkit.errors import UserError
from nnkit.files.paths import expand
from nnkit.suggest import some_of

# Bytes of delimited text that are parsed at once; a row that is longer needs more.
_BLOCK = 1 << 20
_MAX_BLOCK = 1 << 30
# A few packed bytes may unpack to a cell of gigabytes.
_MAX_PACKED_BLOCK = 1 << 26
_ROWS = 1 << 16
_LISTED = 3
_DELIMITED = (".csv", ".tsv", ".txt", ".tab", ".dat")
_JSON = (".jsonl", ".ndjson", ".json")
_TYPED = (".parquet", ".feather", ".arrow")
# Files that tell of a dataset rather than hold it.
_ABOUT = ("dataset_info.json", "dataset_dict.json", "state.json", "dataset_infos.json")

_logger = logging.getLogger("nnkit")


class Part(ABC):
    """One file of a table.

    Attributes:
        names: Names of its columns, all different.
        findings: What was found out about it and is to be said.
        decimal_comma: Whether numbers are written as 3,14.
    """

    names: list[str]
    findings: Sequence[Finding] = ()
    decimal_comma: bool = False

    @abstractmethod
    def batches(self, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        """Yield the rows, some at a time."""


@dataclass
class TableFile:
    """A table that is opened and understood, but not yet read.

    Attributes:
        title: What the user typed for it.
        paths: Its files.
        parts: The same, opened.
        reading: What the user says about how it is written.
    """

    title: str
    paths: list[Path]
    parts: list[Part]
    reading: Reading = field(default_factory=Reading)

    @property
    def names(self) -> list[str]:
        """Names of the columns, all different."""
        return self.parts[0].names

    @property
    def decimal_comma(self) -> bool:
        """Whether numbers are written as 3,14."""
        return any(part.decimal_comma for part in self.parts)

    @property
    def findings(self) -> list[Finding]:
        """What was found out about the files and is to be said: logging levels and sentences."""
        return list(dict.fromkeys(found for part in self.parts for found in part.findings))

    def say(self) -> None:
        """Log the findings."""
        for level, sentence in self.findings:
            _logger.log(level, "%s", sentence)

    def fingerprint(self) -> str:
        """Return the SHA-256 of the file, or one over those of several files."""
        hashes = [remembered_sha256(path) for path in self.paths]
        return hashes[0] if len(hashes) == 1 else fingerprint(hashes)

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the rows in the order of the files, some at a time.

        Args:
            columns: Names of the columns to read, in this order; None: all.

        Yields:
            Rows; columns of delimited text are strings as they are written, quotes undone.

        Raises:
            UserError: If rows cannot be read; counts all of them and names the first.
        """
        for part in self.parts:
            for batch in part.batches(columns):
                if batch.num_rows:
                    yield batch

    def texts(self, columns: Sequence[str]) -> Iterator[list[list[str | None]]]:
        """Yield some rows at a time as texts: for each column a list of cells, None where a typed file has none.

        Args:
            columns: Names of the columns.
        """
        for batch in self.batches(columns):
            yield [as_strings(batch.column(name)).to_pylist() for name in columns]


def open_table(path: str, reading: Reading | None = None) -> TableFile:
    """Open a table: find its files, and find out how they are written; only samples of them are read.

    Args:
        path: A file (.csv, .tsv, .txt, .jsonl, .ndjson, .json, each also as .gz; .parquet, .feather, .arrow), a
            folder or a pattern (``data/*.csv``) of such files as one table, or "-" for standard input.
        reading: What the user says about how it is written.

    Raises:
        UserError: If there is no such file, it is of another kind, or files of a folder have other columns.
    """
    reading = reading or Reading()
    paths = find_files(path)
    title = "standard input" if path == "-" else path
    parts = []
    for found in paths:
        name = title if len(paths) == 1 else str(found)
        parts.append(_open_part(found, name, reading))
    first = parts[0]
    for found, part in zip(paths, parts, strict=True):
        lacking = [name for name in first.names if name not in part.names]
        further = [name for name in part.names if name not in first.names]
        if lacking or further:
            what = f"lacks {lacking[0]!r}" if lacking else f"has a column {further[0]!r} more"
            raise UserError(
                f"{found} {what} in comparison with {paths[0]}: files of one table have the same columns"
            )
    return TableFile(title, paths, parts, reading)


def find_files(path: str) -> list[Path]:
    """Return the files that a path, a folder, a pattern or "-" stands for, sorted.

    Raises:
        UserError: If there are none.
    """
    if path == "-":
        return [_standard_input()]
    place = expand(path).absolute()
    if place.is_dir():
        found = [entry for entry in sorted(place.iterdir()) if _is_table(entry)]
        found = found or [entry for entry in sorted(place.rglob("*")) if _is_table(entry)]
        if not found:
            kinds = ", ".join((*_DELIMITED, *_JSON, *_TYPED))
            raise UserError(f"the folder {path} holds no table: a file of one of these kinds: {kinds}")
        suffixes = sorted({_suffix(entry) for entry in found})
        if len(suffixes) > 1:
            raise UserError(
                f"the folder {path} holds files of several kinds ({', '.join(suffixes)}): type a pattern for "
                f"those of the table, such as {Path(path) / ('*' + suffixes[0])}"
            )
        return found
    if any(letter in path for letter in "*?[") and not place.exists():
        fitting = Path(place.anchor).glob(str(place.relative_to(place.anchor)))
        found = sorted(entry for entry in fitting if entry.is_file())
        if not found:
            raise UserError(f"no file fits {path}")
        return found
    return [find_file(path)]


def _is_table(path: Path) -> bool:
    return (
        path.is_file()
        and not path.name.startswith((".", "_"))
        and path.name not in _ABOUT
        and _suffix(path) in (*_DELIMITED, *_JSON, *_TYPED)
    )


def _suffix(path: Path) -> str:
    """Return a file's ending in lower case, that before .gz."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def _standard_input() -> Path:
    """Return a temporary file with what stands on standard input: formats are told by going back in it."""
    folder = Path(tempfile.mkdtemp(prefix="nnkit-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / "stdin"
    with path.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    if path.stat().st_size == 0:
        raise UserError("standard input is empty")
    return path


def _open_part(path: Path, title: str, reading: Reading) -> Part:
    with path.open("rb") as file:
        beginning = file.read(8)
    if beginning.startswith(b"PAR1"):
        return ParquetPart(path, title)
    if beginning.startswith((b"ARROW1", b"\xff\xff\xff\xff")):
        return ArrowPart(path, title)
    suffix = _suffix(path)
    if suffix in _TYPED:
        raise UserError(f"{title} is no {suffix} file, whatever its name says")
    if suffix in _JSON or (not suffix and beginning.lstrip()[:1] in (b"{", b"[")):
        return JsonPart(path, title)
    return DelimitedPart(path, title, reading)


class ParquetPart(Part):
    """A Parquet file, read row group by row group."""

    def __init__(self, path: Path, title: str) -> None:
        self._path, self._title = path, title
        with _explained(title), pq.ParquetFile(path) as file:
            self.names = list(file.schema_arrow.names)
        _check_names(title, self.names)

    def batches(self, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        """Yield the rows; see `Part.batches`."""
        with _explained(self._title), pq.ParquetFile(self._path, memory_map=True) as file:
            for batch in file.iter_batches(_ROWS, columns=list(columns or self.names), use_threads=False):
                yield _simple(batch.select(list(columns or self.names)))


class ArrowPart(Part):
    """An Arrow file, which Feather is, or an Arrow stream, as Hugging Face's `save_to_disk` writes them."""

    def __init__(self, path: Path, title: str) -> None:
        self._path, self._title = path, title
        with _explained(title), self._open() as reader:
            self.names = list(reader.schema.names)
        _check_names(title, self.names)

    def _open(self) -> Any:
        source = pa.memory_map(str(self._path))
        with self._path.open("rb") as file:
            is_file = file.read(6) == b"ARROW1"
        return pa_ipc.open_file(source) if is_file else pa_ipc.open_stream(source)

    def batches(self, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        """Yield the rows; see `Part.batches`."""
        with _explained(self._title), self._open() as reader:
            number = getattr(reader, "num_record_batches", None)
            whole = reader if number is None else map(reader.get_batch, range(number))
            for batch in whole:
                chosen = batch.select(list(columns or self.names))
                for start in range(0, chosen.num_rows, _ROWS):
                    yield _simple(chosen.slice(start, _ROWS))


class JsonPart(Part):
    """A file of JSON lines, or one JSON array of objects."""

    def __init__(self, path: Path, title: str) -> None:
        self._rows = JsonRows(path, title)
        self.names = self._rows.names
        self.findings = self._rows.findings

    def batches(self, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        """Yield the rows; see `Part.batches`."""
        yield from self._rows.batches(list(columns or self.names))


class DelimitedPart(Part):
    """A delimited text file, plain or .gz, read as texts."""

    def __init__(self, path: Path, title: str, reading: Reading) -> None:
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
            source = _Spaced(stream, dialect.delimiter) if dialect.spaced else stream
            num_rows = 0
            try:
                with self._reader(source, columns, block, bad, dialect) as reader:
                    for batch in reader:
                        num_rows += batch.num_rows
                        if num_rows > done:
                            new = batch.slice(max(batch.num_rows - (num_rows - done), 0))
                            yield new if dialect.quotes else _unquoted(new)
            except pa.ArrowInvalid as error:
                if "straddling" in str(error) or "block size" in str(error):
                    raise _LongRowError from error
                if "Empty CSV" not in str(error):
                    raise UserError(f"{self._title} cannot be read: {error}") from error
        if bad.rows:
            raise UserError(self._ragged(bad))
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

    def _ragged(self, bad: "_BadRows") -> str:
        number, given, text = bad.first
        width, line = len(self.names), self._line_of(text)
        where = f"line {line:,}" if line else f"row {number:,}"
        more = f" ({bad.rows:,} such rows in all)" if bad.rows > 1 else ""
        advice = "put a cell that holds the delimiter into double quotes"
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


class _Spaced(io.RawIOBase):
    """A stream whose blanks between a delimiter and a quote are left out, as pyarrow sees no quote behind them."""

    def __init__(self, stream: Utf8Stream, delimiter: str) -> None:
        self._stream = stream
        self._pattern = re.compile(re.escape(delimiter.encode()) + rb' +(?=")')
        self._delimiter = delimiter.encode()
        self._rest = b""

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int | None = -1) -> bytes:
        """Return about as many bytes as asked for, none at the end."""
        data = self._stream.read(size)
        found = self._pattern.sub(self._delimiter, self._rest + data)
        # What may go on in the next bytes waits for them.
        kept = len(found.rstrip(b" ")) if data else len(found)
        kept -= found[:kept].endswith(self._delimiter) and bool(data)
        self._rest = found[kept:]
        return found[:kept] if kept or not data else self.read(size)


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


@contextmanager
def _explained(title: str) -> Iterator[None]:
    """Turn what pyarrow raises about a damaged file into a sentence."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{title} cannot be read: {str(error).splitlines()[0]}") from error


def _check_names(title: str, names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(
            f"{title} has several columns called {some_of([*map(repr, twice)], _LISTED)}: give each a name of its own"
        )


def _simple(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Bring the many kinds of text to one, and undo dictionaries."""
    columns = []
    for cells in batch.columns:
        if pa.types.is_dictionary(cells.type):
            cells = cells.dictionary_decode()
        if pa.types.is_large_string(cells.type) or pa.types.is_string_view(cells.type):
            cells = pc.cast(cells, pa.string())
        columns.append(cells)
    return pa.record_batch(columns, names=batch.schema.names)


def as_strings(cells: pa.Array) -> pa.Array:
    """Return cells of any type as texts: 1, 0.5, true, and lists and objects as JSON; null stays null."""
    kind = cells.type
    if pa.types.is_string(kind):
        return cells
    if pa.types.is_nested(kind) or pa.types.is_binary(kind):
        return pa.array([None if cell is None else _json(cell) for cell in cells.to_pylist()], pa.string())
    if pa.types.is_floating(kind):
        # 3.0 is written as 3, so that it is the same class in a file of whole numbers.
        return pa.array(
            [None if cell is None else _shortest(cell) for cell in cells.to_pylist()], pa.string()
        )
    return pc.cast(cells, pa.string())


def _shortest(number: float) -> str:
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)


def _json(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return json.dumps(value, ensure_ascii=False, default=str)
