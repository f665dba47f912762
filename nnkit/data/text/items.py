"""Texts that a user names on the command line: typed ones, files of them, standard input."""

import io
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch

from nnkit.batches import Batch
from nnkit.data.read_batch import ReadBatch, grouped, has_target
from nnkit.data.reading.encodings import encoding_unless_plain, find_encoding, to_text
from nnkit.data.reading.user_files import find_file, is_file, numbered_lines, open_bytes
from nnkit.errors import ConfigError, NnkitError, UserError
from nnkit.suggest import absent

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
        target: The cell of the target in its table; None: it has none.
        kept: The cells of its table to repeat beside its prediction.
    """

    name: str
    text: str
    problem: str = ""
    target: str | None = None
    kept: tuple[str | None, ...] = ()


# Makes a batch of texts.
BatchOf = Callable[[Sequence[Item]], Batch]


class TypedText(str):
    """A text that names no file, whatever is called like it: what comes from elsewhere must not choose files here."""

    __slots__ = ()


@dataclass(frozen=True, kw_only=True)
class TextFiles:
    """What is known of the files of texts that a user names.

    Attributes:
        columns: What the column of texts may be called.
        target: The column of the targets, where a table has it.
        keep: Columns to repeat beside the predictions, which tables must have.
        encoding: The codec of the run's own files, for files that are not UTF-8.
        header: Whether the first row of delimited files holds the names of columns; None: found out.
        quotes: Whether double quotes enclose their cells; None: found out.
        by_place: Whether the first column holds the texts and the second the targets where none is called so.
    """

    columns: tuple[str, ...] = ("text",)
    target: str | None = None
    keep: tuple[str, ...] = ()
    encoding: str | None = None
    header: bool | None = None
    quotes: bool | None = None
    by_place: bool = False


def read_items(items: Sequence[str], read_file: Callable[[str], Iterable[Item]]) -> Iterator[Item]:
    """Yield typed texts, those of files, and those of standard input for "-"; an empty one is a problem.

    Args:
        items: What the user typed; a `TypedText` is read as it is.
        read_file: Reads the texts of a file by its path, and of standard input by "-".
    """
    for item in items:
        try:
            is_named = not isinstance(item, TypedText) and (item == "-" or is_file(item))
            for found in read_file(item) if is_named else [Item(item, item)]:
                is_empty = not (found.problem or found.text.strip())
                yield found._replace(problem="an empty text") if is_empty else found
        except NnkitError as error:
            yield Item(item, "", str(error))


def read_texts(items: Sequence[str], files: TextFiles) -> Iterator[Item]:
    """Yield texts as `read_items` does, blanks at both ends removed; each file is read in its own encoding.

    Args:
        items: What the user typed. Tables (.csv, .parquet, .jsonl and their like, folders and patterns of them) have a
            column of texts, other files one text on each line. Standard input is a table if its first line is an object
            of JSON or names the column of texts.
        files: What is known of the files.

    Raises:
        UserError: If columns are to be kept, and what is named has none.
    """
    for item in items if files.keep else ():
        if item != "-" and not (is_file(item) and is_table(item)):
            raise UserError(f"--keep {','.join(files.keep)}: {item[:60]!r} is no table and has no columns")

    def read_file(item: str) -> Iterator[Item]:
        if item == "-":
            beginning = sys.stdin.buffer.peek() if isinstance(sys.stdin.buffer, io.BufferedReader) else b""
            if not (files.keep or _begins_table(beginning, files.columns)):
                return stdin_lines(files.encoding)
        elif not is_table(item):
            return _text_lines(item, files.encoding)
        return _rows(item, files)

    return (item._replace(text=item.text.strip()) for item in read_items(items, read_file))


def one_by_one(items: Iterable[Item], batch_of: BatchOf) -> Iterator[tuple[Item, Any]]:
    """Yield each text as a batch of one, or with the sentence that tells why it is none.

    Args:
        items: Texts.
        batch_of: Makes a batch of some; raises a UserError if one of them cannot be read.
    """
    for item in items:
        try:
            yield item, item.problem or batch_of([item])
        except UserError as error:
            yield item, str(error)


def batches_of(
    items: Iterable[Item], batch_of: BatchOf, size: int, keep: Sequence[str], *, together: bool = True
) -> Iterator[ReadBatch]:
    """Read texts in batches, in order; a target below 0 or NaN is none.

    Args:
        items: Texts.
        batch_of: As in `one_by_one`.
        size: Texts of a batch, at most.
        keep: Names of the columns that the items keep.
        together: Whether `batch_of` is asked for whole batches, which takes a fraction of the time; each text is read
            by itself where one cannot be read.
    """
    iterator = iter(items)
    while group := list(islice(iterator, size)):
        batch = _read_together(group, batch_of) if together else None
        if batch is not None:
            joined, targets = ReadBatch([item.name for item in group], batch), [batch.target]
        else:
            found = [(item.name, read) for item, read in one_by_one(group, batch_of)]
            (joined,) = grouped(found, len(group))
            targets = [read.target for _, read in found if not isinstance(read, str)]
        labelled = None
        if any(item.target is not None for item in group):
            labelled = torch.cat([torch.empty(0, dtype=torch.bool), *map(has_target, targets)])
        yield replace(joined, labelled=labelled, kept=_kept(group, keep))


def _read_together(items: Sequence[Item], batch_of: BatchOf) -> Batch | None:
    if any(item.problem for item in items):
        return None
    try:
        return batch_of(items)
    except UserError:
        return None


def _kept(items: Sequence[Item], keep: Sequence[str]) -> Any:
    if not keep:
        return None
    import pyarrow as pa

    columns = zip(*(item.kept or (None,) * len(keep) for item in items), strict=True)
    return pa.record_batch([pa.array(cells, pa.string()) for cells in columns], names=list(keep))


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


def _rows(item: str, files: TextFiles) -> Iterator[Item]:
    # pyarrow takes long to import, and the data that come with nnkit do without.
    from nnkit.data.reading.dialect import ReadOptions
    from nnkit.data.reading.table_file import open_table

    encoding = encoding_unless_plain(Path(item), files.encoding) if Path(item).is_file() else None
    reading = ReadOptions(encoding=encoding, header=files.header, quotes=files.quotes)
    table = open_table(item, reading)
    column = next((name for name in files.columns if name in table.names), None)
    target = files.target if files.target in table.names else None
    if column is None:
        # As the run's own file: its columns were numbered, or told by their places.
        nameless = open_table(item, replace(reading, header=False))
        places = (nameless.names[0], files.columns[0]) if files.by_place else files.columns
        column = next((name for name in reversed(places) if name in nameless.names), None)
        if column is not None:
            target = nameless.names[1] if files.by_place and len(nameless.names) > 1 else files.target
            table, target = nameless, target if target in nameless.names else None
    if column is None:
        raise UserError(
            f"there is no column {files.columns[0]!r}, the one with the texts; it has: {', '.join(table.names[:20])}"
        )
    lacking = [name for name in files.keep if name not in table.names]
    if lacking:
        raise ConfigError([absent("--keep", item, lacking[0], table.names)])
    table.say()
    wanted = [column, target or column, *files.keep]
    names = list(dict.fromkeys(wanted))
    number = 0
    for chunk in table.texts(names):
        by_name = dict(zip(names, chunk, strict=True))
        for text, found, *kept in zip(*(by_name[name] for name in wanted), strict=True):
            number += 1
            name = f"{_STDIN if item == '-' else item}:{number}"
            yield Item(name, text or "", "", found if target else None, tuple(kept))


def _text_lines(item: str, encoding: str | None) -> Iterator[Item]:
    path = find_file(item)
    lines = decoded_lines(path, encoding_unless_plain(path, encoding), report=True, newline=None)
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
