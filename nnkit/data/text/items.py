"""Texts that a user names on the command line: typed ones, files of them, standard input."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from nnkit.data.reading.delimited import num_fields, read_dialect, read_header, read_rows, unique_names
from nnkit.data.reading.user_files import (
    decoded,
    find_file,
    is_file,
    numbered_lines,
    open_bytes,
    read_objects,
    text_of,
)
from nnkit.errors import NnkitError, UserError

_CSV = (".csv", ".tsv")
_JSON_LINES = (".jsonl", ".ndjson")


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
    """Yield typed texts, those of files, and the lines of standard input for "-"; an empty one is a problem.

    Args:
        items: What the user typed.
        read_file: Reads the texts of a file by its path.
    """
    for item in items:
        try:
            if item == "-":
                found: Iterable[Item] = _lines("stdin", sys.stdin.buffer)
            else:
                found = read_file(item) if is_file(item) else [Item(item, item)]
            for name, text, problem in found:
                yield Item(name, text, problem or ("" if text.strip() else "an empty text"))
        except NnkitError as error:
            yield Item(item, "", str(error))


def read_texts(items: Sequence[str], column: str) -> Iterator[Item]:
    """Yield texts as `read_items` does, blanks at both ends removed.

    Args:
        items: What the user typed.
        column: The column of .csv files and the key of .jsonl files that holds the texts; other files have one text
            on each line.
    """
    for name, text, problem in read_items(items, lambda item: _read_file(item, column)):
        yield Item(name, text.strip(), problem)


def _read_file(item: str, column: str) -> Iterator[Item]:
    path = find_file(item)
    name = item.lower().removesuffix(".gz")
    if name.endswith(_CSV):
        yield from _rows(item, path, column)
    elif name.endswith(_JSON_LINES):
        for number, record in read_objects(path):
            found = ("", record) if isinstance(record, str) else text_of(record, column)
            yield Item(f"{item}:{number}", *found)
    else:
        with open_bytes(path) as file:
            yield from _lines(item, file)


def _rows(item: str, path: Path, column: str) -> Iterator[Item]:
    dialect = read_dialect(path)
    names = unique_names(read_header(path, dialect))
    if column not in names:
        raise UserError(
            f"there is no column {column!r}, the one with the texts; it has: {', '.join(names[:20])}"
        )
    place = names.index(column)
    rows = read_rows(path, dialect)
    next(rows)
    for number, (line, row) in enumerate(rows, 1):
        if len(row) == len(names):
            yield Item(f"{item}:{number}", row[place])
        else:
            wrong = f"line {line}: {num_fields(len(row))}, the header has {len(names)}"
            yield Item(f"{item}:{number}", "", wrong)


def _lines(name: str, file: IO[bytes]) -> Iterator[Item]:
    for number, line in numbered_lines(name, file):
        if line.strip():
            try:
                yield Item(f"{name}:{number}", decoded(line).rstrip("\r\n"))
            except UserError as error:
                yield Item(f"{name}:{number}", "", str(error))
