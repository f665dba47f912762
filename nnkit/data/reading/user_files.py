"""Files that a user names: found, opened, and read line by line, as text or as JSON objects."""

import codecs
import gzip
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from nnkit.errors import UserError
from nnkit.files.paths import expand
from nnkit.suggest import closest, some_of

# Endings of files that hold texts.
_TEXT_FILES = (".csv", ".tsv", ".jsonl", ".ndjson", ".txt", ".md", ".gz")

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
    number = 0
    while line := file.readline(_MAX_LINE):
        number += 1
        if len(line) == _MAX_LINE:
            raise UserError(f"{name}, line {number}: a line of more than {_MAX_LINE:,} bytes")
        yield number, line.removeprefix(codecs.BOM_UTF8) if number == 1 else line


def decoded(line: bytes) -> str:
    """Return a line as text; a UserError names the first byte that is not UTF-8."""
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"byte {error.start + 1} (0x{line[error.start]:02x}) is not UTF-8") from error


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


def read_objects(path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Yield the number of each line that is not blank, and its object or the sentence that says why it holds none.

    Args:
        path: An existing file, plain or .gz.

    Raises:
        UserError: If it is a damaged gzip file, or a line is far too long.
    """
    with open_bytes(path) as file:
        for number, line in numbered_lines(path, file):
            if line.strip():
                yield number, _object(line)


def _object(line: bytes) -> dict[str, Any] | str:
    try:
        value = json.loads(decoded(line))
    except UserError as error:
        return str(error)
    except json.JSONDecodeError as error:
        return f"no JSON: {error.msg} at character {error.pos + 1}"
    except (ValueError, RecursionError):
        return "no JSON that can be read: a number is too long or brackets are too deep"
    return value if isinstance(value, dict) else f"not a JSON object ({{...}}) but {_kind(value)}"


def text_of(record: dict[str, Any], key: str) -> tuple[str, str]:
    """Return the text under a key and "", or "" and the sentence that says why there is none."""
    if key not in record:
        return "", f"no key {key!r}"
    value = record[key]
    if not isinstance(value, str):
        return "", f"{key!r} must be a string, not {_kind(value)}"
    return value.strip(), ""


def label_of(record: dict[str, Any], key: str) -> tuple[str | None, str]:
    """Return the label under a key, None for null or an empty one, and ""; or None and what is wrong with it."""
    if key not in record:
        return None, f"no key {key!r}"
    value = record[key]
    if isinstance(value, (list, dict)):
        return None, f"{key!r} must be a string or a number, not {_kind(value)}"
    if value is None:
        return None, ""
    return (value.strip() or None) if isinstance(value, str) else json.dumps(value), ""


def refuse_lines(path: str, problems: list[tuple[int, str]]) -> None:
    """Refuse a file with wrong lines.

    Raises:
        UserError: If there are any; names the first ones.
    """
    if problems:
        listed = some_of([f"line {line}: {problem}" for line, problem in problems], _LISTED, "\n    ")
        lines = "1 line" if len(problems) == 1 else f"{len(problems):,} lines"
        raise UserError(f"{path}: {lines} cannot be read\n    {listed}")


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    kinds: dict[type, str] = {str: "a string", list: "a list", dict: "an object"}
    return kinds.get(type(value), "a number")
