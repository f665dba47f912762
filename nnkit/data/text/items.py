"""Texts that a user names on the command line: typed ones, files of them, standard input."""

import io
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from nnkit.data.reading.encodings import find_encoding, to_text
from nnkit.data.reading.user_files import find_file, is_file, numbered_lines, open_bytes
from nnkit.errors import NnkitError, UserError

_TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".feather", ".arrow")
_STDIN = "stdin"
# A few packed bytes may unpack to a line of gigabytes.
_MAX_LINE = 1 << 26

_logger = logging.getLogger("nnkit")


class Item(NamedTuple):
    """A text that was named.

    Attributes:
        name: The text itself, the path of its file, or ``file:row``.
        text: The text.
        problem: The sentence that tells why there is none; "" if there is one.
    """

    name: str
    text: str
    problem: str = ""


def read_items(items: Sequence[str], read_file: Callable[[str], Iterable[Item]]) -> Iterator[Item]:
    """Yield typed texts, those of files, and those of standard input for "-"; an empty one is a problem.

    Args:
        items: What the user typed.
        read_file: Reads the texts of a file by its path, and of standard input by "-".
    """
    for item in items:
        try:
            found = read_file(item) if item == "-" or is_file(item) else [Item(item, item)]
            for name, text, problem in found:
                yield Item(name, text, problem or ("" if text.strip() else "an empty text"))
        except NnkitError as error:
            yield Item(item, "", str(error))


def read_texts(
    items: Sequence[str],
    columns: Sequence[str],
    *,
    encoding: str | None = None,
    header: bool | None = None,
    quotes: bool | None = None,
) -> Iterator[Item]:
    """Yield texts as `read_items` does, blanks at both ends removed; each file is read in its own encoding.

    Args:
        items: What the user typed.
        columns: What the column of texts may be called in tables (.csv, .parquet, .jsonl and their like, folders and
            patterns of them); other files have one text on each line. Standard input is a table if its first line is
            an object of JSON or names such a column.
        encoding: The codec of the run's own files, for files that are not UTF-8.
        header: Whether the first row of delimited files holds the names of columns; None: found out.
        quotes: Whether double quotes enclose their cells; None: found out.
    """

    def read_file(item: str) -> Iterator[Item]:
        if item == "-":
            beginning = sys.stdin.buffer.peek() if isinstance(sys.stdin.buffer, io.BufferedReader) else b""
            if not _begins_table(beginning, columns):
                return stdin_lines(encoding)
        elif not is_table(item):
            return _text_lines(item, encoding)
        return _rows(item, columns, encoding, header, quotes)

    for name, text, problem in read_items(items, read_file):
        yield Item(name, text.strip(), problem)


def is_table(item: str) -> bool:
    """Return whether what a user typed names a table, or several, rather than a file with a text on each line."""
    named = item.lower().removesuffix(".gz").endswith(_TABLES)
    return named or Path(item).is_dir() or (any(sign in item for sign in "*?[") and not Path(item).exists())


def _begins_table(beginning: bytes, columns: Sequence[str]) -> bool:
    first = beginning.removeprefix(b"\xef\xbb\xbf").split(b"\n")[0].decode(errors="replace").strip()
    if first.startswith("{"):
        return True
    return any(
        column in (cell.strip(' "') for cell in first.split(sign)) for sign in ",;\t|" for column in columns
    )


def _rows(
    item: str, columns: Sequence[str], encoding: str | None, header: bool | None, quotes: bool | None
) -> Iterator[Item]:
    # pyarrow takes long to import, and the data that come with nnkit do without.
    from nnkit.data.reading.dialect import Reading
    from nnkit.data.reading.table_file import open_table

    own = None if item == "-" or not Path(item).is_file() else _own_encoding(Path(item), encoding)
    table = open_table(item, Reading(encoding=own, header=header, quotes=quotes))
    column = next((name for name in columns if name in table.names), None)
    if column is None:
        raise UserError(
            f"there is no column {columns[0]!r}, the one with the texts; it has: {', '.join(table.names[:20])}"
        )
    table.say()
    rows = chain.from_iterable(cells for (cells,) in table.texts([column]))
    for number, cell in enumerate(rows, 1):
        yield Item(f"{_STDIN if item == '-' else item}:{number}", cell or "")


def _own_encoding(path: Path, given: str | None) -> str | None:
    """Return the codec of the run's own files where a file is not plainly in another one; None: it is found out."""
    if given is None or path.suffix in _TABLES[5:]:
        return None
    try:
        return given if find_encoding(path).is_guess else None
    except UserError:
        return given


def _text_lines(item: str, encoding: str | None) -> Iterator[Item]:
    path = find_file(item)
    lines = decoded_lines(path, _own_encoding(path, encoding), report=True, newline=None)
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield Item(f"{item}:{number}", line)


def decoded_lines(
    path: Path, encoding: str | None, report: bool, newline: str | None = "\n"
) -> Iterator[str]:
    """Yield the lines of a text file, plain or .gz, without what ends them.

    Args:
        path: An existing file.
        encoding: Its codec; None: found out.
        report: Whether to log a codec that was found out and may be another one.
        newline: What ends a line: a line feed, as other programs count lines, the carriage return before it left out;
            None: a carriage return alone as well.

    Raises:
        UserError: If it is not in the encoding.
    """
    if encoding is None:
        found = find_encoding(path)
        encoding = found.name
        if found.is_guess and report:
            sentence = "%s is not in UTF-8; it is read as %s, such as %r (data.encoding)"
            _logger.warning(sentence, path, encoding, found.example)
    number = 0
    with open_bytes(path) as file, io.TextIOWrapper(file, encoding, newline=newline) as lines:
        try:
            while line := lines.readline(_MAX_LINE):
                number += 1
                if len(line) == _MAX_LINE:
                    raise UserError(f"{path}, line {number:,}: a line of {_MAX_LINE:,} characters or more")
                yield line.removeprefix("\ufeff").rstrip("\r\n") if number == 1 else line.rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise UserError(
                f"{path}: a byte after line {number:,} is not in the encoding {encoding}"
            ) from error


def stdin_lines(encoding: str | None = None) -> Iterator[Item]:
    """Yield a text for each line of standard input that is not blank, as soon as it has been read.

    Args:
        encoding: The codec of lines that are not UTF-8.
    """
    name = _STDIN
    for number, line in numbered_lines(name, sys.stdin.buffer):
        if line.strip():
            try:
                yield Item(f"{name}:{number}", _decoded(line, encoding).rstrip("\r\n"))
            except UserError as error:
                yield Item(f"{name}:{number}", "", str(error))


def _decoded(line: bytes, encoding: str | None) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return to_text(line, encoding or "utf-8")
