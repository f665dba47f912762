"""What a user names on the command line as texts: typed ones, files of them, standard input."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from nnkit.data.reading.delimited import num_fields, read_dialect, read_header, read_rows, unique_names
from nnkit.data.reading.json_lines import read_objects, text_of
from nnkit.data.reading.user_files import find_file, is_file, open_bytes
from nnkit.errors import UserError

_CSV = (".csv", ".tsv")
_JSON_LINES = (".jsonl", ".ndjson")

# Name, text, and why there is none ("" if there is one).
Item = tuple[str, str, str]


def read_texts(items: Sequence[str], column: str) -> Iterator[Item]:
    """Read texts.

    Args:
        items: Texts, paths of files, or "-" for standard input.
        column: The column of .csv files and the key of .jsonl files that holds the texts.

    Yields:
        The name of each text (itself, or ``file:row``), the text, and "" or why there is none.
    """
    for item in items:
        if item == "-":
            yield from _lines("stdin", sys.stdin.buffer)
        elif is_file(item):
            try:
                yield from _read_file(item, column)
            except UserError as error:
                yield item, "", str(error)
        else:
            yield item, item.strip(), "" if item.strip() else "an empty text"


def _read_file(item: str, column: str) -> Iterator[Item]:
    path = find_file(item)
    name = item.lower().removesuffix(".gz")
    if name.endswith(_CSV):
        yield from _rows(item, path, column)
    elif name.endswith(_JSON_LINES):
        for number, record in read_objects(path):
            text, reason = ("", record) if isinstance(record, str) else text_of(record, column)
            yield f"{item}:{number}", text, reason or ("" if text else "an empty text")
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
        if len(row) != len(names):
            reason = f"line {line}: {num_fields(len(row))}, the header has {len(names)}"
            yield f"{item}:{number}", "", reason
            continue
        text = row[place].strip()
        yield f"{item}:{number}", text, "" if text else "an empty text"


def _lines(name: str, lines: Iterator[bytes]) -> Iterator[Item]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield f"{name}:{number}", line.decode("utf-8-sig").strip(), ""
            except UnicodeDecodeError as error:
                yield (
                    f"{name}:{number}",
                    "",
                    f"byte {error.start + 1} (0x{line[error.start]:02x}) is not UTF-8",
                )
