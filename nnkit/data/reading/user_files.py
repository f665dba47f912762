"""Files that a user names: found, opened, and read line by line, as text or as JSON objects."""

import codecs
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from nnkit.errors import UserError
from nnkit.files.paths import expand
from nnkit.suggest import closest, some_of

# Endings of files that hold texts.
_TEXT_FILES = (
    *(".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".txt", ".md", ".gz"),
    *(".parquet", ".feather", ".arrow"),
)

_GZIP = b"\x1f\x8b"
# A few packed bytes may unpack to a line of gigabytes.
_MAX_LINE = 10_000_000
# Mistakes that a message names.
_LISTED = 5


def find_file(given: str) -> Path:
    """Return the path of an existing file that can be read as text.

    Raises:
        UserError: If it is a URL, missing, a folder, empty or unreadable.
    """
    if "://" in given:
        raise UserError(f"{given} is a URL: download the file and give its path")
    path = expand(given)
    try:
        if path.is_dir():
            raise UserError(f"{given} is a folder: give the path of one file")
        if not path.is_file():
            raise UserError(f"no such file: {given}{_near_name(path)}")
        if path.stat().st_size == 0:
            raise UserError(f"{given} is empty")
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise UserError(f"{given} cannot be read: {error.strerror}") from error
    return path


def _near_name(path: Path) -> str:
    if not path.parent.is_dir():
        return f" (there is no folder {path.parent})"
    # Without the ending, which would make any two CSV files alike.
    by_stem = {entry.stem: entry for entry in path.parent.iterdir() if entry.is_file()}
    near = closest(path.stem, by_stem)
    return f", did you mean {by_stem[near[0]]}?" if near else ""


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, unpacked if it is a gzip file.

    Raises:
        UserError: If it is a damaged one.
    """
    with path.open("rb") as plain:
        compressed = plain.read(2) == _GZIP
    try:
        with gzip.open(path, "rb") if compressed else path.open("rb") as file:
            yield cast(IO[bytes], file)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path} is a damaged gzip file: {error}") from error


def numbered_lines(name: object, file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield the number and the bytes of each line, cut at line feeds alone; a byte order mark is left out.

    Args:
        name: What messages call the file.
        file: The file.

    Raises:
        UserError: If a line is far too long.
    """
    for number, line in enumerate(iter(lambda: file.readline(_MAX_LINE), b""), 1):
        if len(line) == _MAX_LINE:
            raise UserError(f"{name}, line {number}: a line of more than {_MAX_LINE:,} bytes")
        yield number, line.removeprefix(codecs.BOM_UTF8) if number == 1 else line


def is_file(item: str) -> bool:
    """Return whether what a user typed where a text or a file may stand is a file.

    What is called like a file of texts is one, or a slip of the pen would be taken for a text; so is a folder that is
    written as one, which the reader will refuse.
    """
    if item in (".", "..") or item.endswith("/"):
        return True
    if item.lower().endswith(_TEXT_FILES) and not any(char.isspace() for char in item):
        return True
    try:
        return Path(item).is_file()
    except (OSError, ValueError):
        # A text longer than a path may be.
        return False


def refuse_lines(path: str, problems: list[tuple[int, str]]) -> None:
    """Refuse a file with wrong lines.

    Raises:
        UserError: If there are any; names the first ones.
    """
    if problems:
        listed = some_of([f"line {line}: {problem}" for line, problem in problems], _LISTED, "\n    ")
        lines = "1 line" if len(problems) == 1 else f"{len(problems):,} lines"
        raise UserError(f"{path}: {lines} cannot be read\n    {listed}")
