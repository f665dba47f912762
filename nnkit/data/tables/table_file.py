"""A table's file in memory: its target told from the other columns, and all that is odd about it said."""

import logging
from dataclasses import dataclass, field

import numpy as np
import torch

from nnkit.data.reading.delimited import Dialect, read_dialect, read_header, unique_names
from nnkit.data.reading.frame import Column, Frame, Numbers, read_frame
from nnkit.data.reading.user_files import find_file, unchanged
from nnkit.data.tables.columns import ColumnOptions
from nnkit.data.tables.targets import Target, read_target
from nnkit.errors import ConfigError, Problem, UserError
from nnkit.suggest import absent

_logger = logging.getLogger("nnkit")


@dataclass(frozen=True)
class TableSource:
    """Where a table stands and how to read it.

    Attributes:
        path: The file, as the user gave it.
        target: Name of the column to predict; None for the last one.
        categorical: Columns of numbers that are names of categories.
        columns: What to do with columns.
        delimiter: The character between two fields; None to find out.
        encoding: The file's codec; None to find out.
    """

    path: str
    target: str | None = None
    categorical: tuple[str, ...] = ()
    columns: ColumnOptions = field(default_factory=ColumnOptions)
    delimiter: str | None = None
    encoding: str | None = None


@dataclass(frozen=True)
class LoadedTable:
    """A table in memory.

    Attributes:
        target_name: Name of the target.
        target: The target of each row.
        columns: The other columns, not yet encoded.
        num_rows: Rows in all.
        fingerprint: SHA-256 of the file.
    """

    target_name: str
    target: Target
    columns: dict[str, Column]
    num_rows: int
    fingerprint: str


def load_table(
    source: TableSource, classes: bool, say: bool = False, expected: str | None = None
) -> LoadedTable:
    """Read a table.

    Args:
        source: Where it stands and how to read it.
        classes: Whether the target is a class or a real value.
        say: Whether to log what was found out, renamed, left out or counted as missing.
        expected: SHA-256 the file must have; None admits any.

    Raises:
        UserError: If the file cannot be read or has changed.
        ConfigError: If it lacks a column that the source names, or the target cannot be what it is to be.
    """
    path = find_file(source.path)
    found = unchanged(path, expected)
    dialect = read_dialect(path, source.delimiter, source.encoding)
    header = read_header(path, dialect)
    if len(header) == 1:
        raise UserError(
            f"{source.path} has one column only, {header[0]!r}, if {dialect.delimiter!r} stands between fields: a "
            "target and something to learn from are needed\n    the first line must hold the column names; "
            "data.delimiter=X sets another character"
        )
    name = _target_name(source, header)
    as_text = [*source.categorical, name] if classes else [*source.categorical]
    frame = read_frame(path, dialect, as_text)
    target = read_target(name, frame.columns[name], classes)
    if say:
        _say_how_read(source, dialect, header, name)
        _say_target(frame, name, target)
        _say_cells(
            {other: column for other, column in frame.columns.items() if other != name}, frame.num_rows
        )
    columns = {other: column for other, column in frame.columns.items() if other != name}
    return LoadedTable(name, target, columns, frame.num_rows, found)


def _target_name(source: TableSource, header: list[str]) -> str:
    names = unique_names(header)
    problems = []
    given: dict[str, str | tuple[str, ...]] = {
        "data.drop": source.columns.drop or (),
        "data.categorical": source.categorical,
    }
    if source.target is not None:
        given = {"data.target": source.target, **given}
    for key, wanted in given.items():
        for name in [wanted] if isinstance(wanted, str) else wanted:
            if name not in names:
                problems.append(absent(key, source.path, name, names, given=wanted))
    target = names[-1] if source.target is None else source.target
    if source.target is not None and header.count(source.target) > 1:
        text = f"{source.path} has {header.count(source.target)} columns named {source.target!r}"
        problems.append(Problem("data.target", text, "give each a name of its own in the file"))
    if target in (source.columns.drop or ()):
        problems.append(Problem("data.drop", f"{target!r} is the target, it cannot be left out"))
    if problems:
        raise ConfigError(problems)
    return target


def _say_how_read(source: TableSource, dialect: Dialect, header: list[str], target: str) -> None:
    if source.target is None:
        _logger.warning("%s: the target is the last column, %r (data.target)", source.path, target)
    if source.encoding is None and dialect.encoding == "latin-1":
        _logger.warning("%s is not in UTF-8; it is read as Latin-1 (data.encoding)", source.path)
    if source.delimiter is None and dialect.delimiter != ",":
        _logger.info("%s: fields are separated by %r (data.delimiter)", source.path, dialect.delimiter)
    if dialect.decimal_comma:
        _logger.info("%s: numbers are written with a decimal comma", source.path)
    for given, name in zip(header, unique_names(header), strict=True):
        if given != name:
            what = f"a second column {given!r}" if given else "a column without a name"
            _logger.warning("%s has %s; it is called %r", source.path, what, name)


def _say_target(frame: Frame, name: str, target: Target) -> None:
    if len(target.kept) < frame.num_rows:
        _logger.warning(
            "%s of %s rows have no target (%r); they are left out",
            *(f"{frame.num_rows - len(target.kept):,}", f"{frame.num_rows:,}", name),
        )
    if target.class_names is not None:
        counts = torch.bincount(target.values[target.kept], minlength=len(target.class_names)).tolist()
        single = [repr(label) for label, count in zip(target.class_names, counts, strict=True) if count == 1]
        if single:
            _logger.warning(
                "column %r: trained on but never tested, as only one row has it: %s",
                name,
                ", ".join(single[:10]),
            )


def _say_cells(columns: dict[str, Column], num_rows: int) -> None:
    missing = []
    for name, column in columns.items():
        if isinstance(column, Numbers):
            _say_no_numbers(name, column)
            absent = int(np.isnan(column.values).sum())
        else:
            absent = int((column.codes < 0).sum())
        if absent:
            missing.append(f"{name!r} {absent:,}")
    if missing:
        _logger.warning(
            "missing in %s rows: %s%s; a number takes the median and is marked, a text is a category of its own",
            *(f"{num_rows:,}", ", ".join(missing[:10]), " ..." if len(missing) > 10 else ""),
        )


def _say_no_numbers(name: str, column: Numbers) -> None:
    if column.num_texts:
        row, text = column.first_text
        _logger.warning(
            "column %r: %s cells are no numbers (%r in row %d is the first); they count as missing",
            *(name, f"{column.num_texts:,}", text, row),
        )
    if column.num_infinite:
        _logger.warning("column %r: %d infinite numbers count as missing", name, column.num_infinite)
