"""Tables as files hold them: delimited text, Parquet, Feather, JSON; one file, a folder or a glob of them."""

import atexit
import json
import logging
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc as pa_ipc
import pyarrow.parquet as pq

from nnkit.data.cache import remembered_sha256
from nnkit.data.download.sources import fingerprint
from nnkit.data.reading.delimited import DelimitedPart
from nnkit.data.reading.dialect import ReadOptions
from nnkit.data.reading.json_objects import JsonPart
from nnkit.data.reading.part import Finding, Part
from nnkit.data.reading.user_files import find_file
from nnkit.errors import UserError
from nnkit.files.paths import expand
from nnkit.suggest import some_of

_ROWS = 1 << 16
_LISTED = 3
_DELIMITED = (".csv", ".tsv", ".txt", ".tab", ".dat")
_JSON = (".jsonl", ".ndjson", ".json")
_TYPED = (".parquet", ".feather", ".arrow")
# Files that tell of a dataset rather than hold it.
_ABOUT = ("dataset_info.json", "dataset_dict.json", "state.json", "dataset_infos.json")

_logger = logging.getLogger("nnkit")


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
    reading: ReadOptions = field(default_factory=ReadOptions)

    @property
    def names(self) -> list[str]:
        """Names of the columns, all different."""
        return self.parts[0].names

    @property
    def categories(self) -> set[str]:
        """Names of the columns that a file declares as categories, whatever these look like."""
        return {name for part in self.parts for name in part.categories}

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
        return (batch for _, batch in self.batches_by_file(columns))

    def batches_by_file(
        self, columns: Sequence[str] | None = None
    ) -> Iterator[tuple["TableFile", pa.RecordBatch]]:
        """Yield the rows as `batches` does, with the file they are from: each is written in its own way."""
        for path, part in zip(self.paths, self.parts, strict=True):
            file = TableFile(self.title, [path], [part], self.reading)
            yield from ((file, batch) for batch in part.batches(columns) if batch.num_rows)

    def texts(self, columns: Sequence[str]) -> Iterator[list[list[str | None]]]:
        """Yield some rows at a time as texts: for each column a list of cells, None where a typed file has none.

        Args:
            columns: Names of the columns.
        """
        for batch in self.batches(columns):
            yield [as_strings(batch.column(name)).to_pylist() for name in columns]


def open_table(path: str, reading: ReadOptions | None = None) -> TableFile:
    """Open a table: find its files, and find out how they are written; only samples of them are read.

    Args:
        path: A file (.csv, .tsv, .txt, .jsonl, .ndjson, .json, each also as .gz; .parquet, .feather, .arrow), a
            folder or a pattern (``data/*.csv``) of such files as one table, or "-" for standard input.
        reading: What the user says about how it is written.

    Raises:
        UserError: If there is no such file, it is of another kind, or files of a folder have other columns.
    """
    reading = reading or ReadOptions()
    paths = find_files(path)
    title = "standard input" if path == "-" else path
    parts = [_open_part(found, title if len(paths) == 1 else str(found), reading) for found in paths]
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
    """Return a temporary file with what standard input holds: a format is recognised by going back in it."""
    folder = Path(tempfile.mkdtemp(prefix="nnkit-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / "stdin"
    with path.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    if path.stat().st_size == 0:
        raise UserError("standard input is empty")
    return path


def _open_part(path: Path, title: str, reading: ReadOptions) -> Part:
    with path.open("rb") as file:
        beginning = file.read(8)
    if beginning.startswith((b"PAR1", b"ARROW1", b"\xff\xff\xff\xff")):
        return TypedPart(path, title, beginning)
    suffix = _suffix(path)
    if suffix in _TYPED:
        raise UserError(f"{title} is no {suffix} file, whatever its name says")
    if suffix in _JSON or (not suffix and beginning.lstrip()[:1] in (b"{", b"[")):
        return JsonPart(path, title)
    return DelimitedPart(path, title, reading)


class TypedPart(Part):
    """A file that knows the types of its columns, read some rows at a time.

    Parquet, Arrow files, which Feather is, and Arrow streams, as Hugging Face's `save_to_disk` writes them.

    Args:
        path: The file.
        title: What messages call it.
        beginning: Its first bytes.

    Raises:
        UserError: If it is damaged, or two columns have one name.
    """

    def __init__(self, path: Path, title: str, beginning: bytes) -> None:
        self._path, self._title, self._beginning = path, title, beginning
        with _explained(title), self._open() as reader:
            schema = reader.schema_arrow if isinstance(reader, pq.ParquetFile) else reader.schema
            self.names = list(schema.names)
            self.categories = [field.name for field in schema if pa.types.is_dictionary(field.type)]
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if twice:
            listed = some_of([*map(repr, twice)], _LISTED)
            raise UserError(f"{title} has several columns called {listed}: give each a name of its own")

    def _open(self) -> Any:
        if self._beginning.startswith(b"PAR1"):
            return pq.ParquetFile(self._path, memory_map=True)
        source = pa.memory_map(str(self._path))
        return (
            pa_ipc.open_file(source) if self._beginning.startswith(b"ARROW1") else pa_ipc.open_stream(source)
        )

    def batches(self, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        """Yield the rows; see `Part.batches`."""
        names = list(columns or self.names)
        with _explained(self._title), self._open() as reader:
            batches = reader
            if isinstance(reader, pq.ParquetFile):
                batches = reader.iter_batches(_ROWS, columns=names, use_threads=False)
            elif isinstance(reader, pa_ipc.RecordBatchFileReader):
                batches = map(reader.get_batch, range(reader.num_record_batches))
            for batch in batches:
                chosen = batch.select(names)
                for start in range(0, chosen.num_rows, _ROWS):
                    yield _simple(chosen.slice(start, _ROWS))


@contextmanager
def _explained(title: str) -> Iterator[None]:
    """Turn what pyarrow raises about a damaged file into a sentence."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{title} cannot be read: {str(error).splitlines()[0]}") from error


def _simple(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Bring the many kinds of text to one, undo dictionaries, and make durations numbers of seconds."""
    columns = []
    for cells in batch.columns:
        if pa.types.is_dictionary(cells.type):
            cells = cells.dictionary_decode()
        if pa.types.is_duration(cells.type):
            whole = pc.cast(pc.cast(cells, pa.duration("us"), safe=False), pa.int64())
            cells = pc.divide(pc.cast(whole, pa.float64()), 1e6)
        if pa.types.is_large_string(cells.type) or pa.types.is_string_view(cells.type):
            cells = pc.cast(cells, pa.string())
        columns.append(cells)
    return pa.record_batch(columns, names=batch.schema.names)


def as_strings(cells: pa.Array) -> pa.Array:
    """Return cells of any type as texts: 1, 0.5, true, and lists and objects as JSON; null stays null."""
    kind = cells.type
    if pa.types.is_string(kind):
        return cells
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_floating(kind):
        write = _shortest if pa.types.is_floating(kind) else _json
        return pa.array([None if cell is None else write(cell) for cell in cells.to_pylist()], pa.string())
    return pc.cast(cells, pa.string())


def _shortest(number: float) -> str:
    # 3.0 is written as 3, so that it is the same class in a file of whole numbers.
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)


def _json(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return json.dumps(value, ensure_ascii=False, default=str)
