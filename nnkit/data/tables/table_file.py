"""A table's file: read whole to train on, what is odd about it logged, or row by row to predict."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from nnkit.batches import TableBatch
from nnkit.data.cache import sha256_of
from nnkit.data.reading.delimited import (
    Dialect,
    num_fields,
    read_dialect,
    read_header,
    read_rows,
    report_dialect,
    unique_names,
)
from nnkit.data.reading.frame import Column, Frame, Numbers, Texts, parse_number, parse_text, read_frame
from nnkit.data.reading.user_files import find_file
from nnkit.data.tables.columns import (
    MAX_SCORE,
    ColumnOptions,
    LearntColumn,
    NumberColumn,
    encode,
    gather,
)
from nnkit.data.tables.targets import Target, read_target
from nnkit.errors import ConfigError, Problem, UserError
from nnkit.suggest import absent

_logger = logging.getLogger("nnkit")

# Rows encoded at once.
_CHUNK = 1024

# What is read from a row: a number or text (None if missing) for each column in turn.
_Values = list[float | str | None]


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
    source: TableSource, classes: bool, unchanged: Callable[[str, str], str], *, say: bool
) -> LoadedTable:
    """Read a table.

    Args:
        source: Where it stands and how to read it.
        classes: Whether the target is a class or a real value.
        unchanged: `DataModule.unchanged`, called before the file is read.
        say: Whether to log what was found out, renamed, left out or counted as missing.

    Raises:
        UserError: If the file cannot be read or has changed.
        ConfigError: If it lacks a column that the source names, or the target cannot be what it is to be.
    """
    path = find_file(source.path)
    found = unchanged(str(path), sha256_of(path))
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
    columns = {other: column for other, column in frame.columns.items() if other != name}
    if say:
        _say_how_read(source, dialect, header, name)
        _say_target(frame, name, target)
        _say_cells(columns, frame.num_rows)
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
    report_dialect(source.path, dialect, source.delimiter, source.encoding)
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
            count = int(np.isnan(column.values).sum())
        else:
            count = int((column.codes < 0).sum())
        if count:
            missing.append(f"{name!r} {count:,}")
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


def read_table_rows(
    item: str, delimiter: str | None, encoding: str | None, learnt: Sequence[LearntColumn]
) -> Iterator[tuple[str, TableBatch | str]]:
    """Read the rows of a CSV file with a header.

    Args:
        item: The file's path.
        delimiter: The character between two fields, or None to find out.
        encoding: The file's codec, or None to find out.
        learnt: The columns a model was trained on, from `learn_columns`; the file may hold others.

    Yields:
        For each row ``item:row``, counted from 1 below the header, and a batch of one (target and index are
        0) or the sentence that says what is wrong with it.

    Raises:
        UserError: If the file as a whole cannot be read, or lacks columns.
    """
    path = find_file(item)
    dialect = read_dialect(path, delimiter, encoding)
    names = unique_names(read_header(path, dialect))
    lacking = [spec["name"] for spec in learnt if spec["name"] not in names]
    if lacking:
        raise UserError(
            f"{item} lacks {len(lacking)} of the {len(learnt)} columns the model was trained on: "
            f"{', '.join(lacking[:20])}{' ...' if len(lacking) > 20 else ''}"
        )
    places = [names.index(spec["name"]) for spec in learnt]
    rows = read_rows(path, dialect)
    next(rows)
    number, said = 0, set[str]()
    while chunk := list(islice(rows, _CHUNK)):
        parsed = [
            _parse(row, places, learnt, dialect.decimal_comma)
            if len(row) == len(names)
            else f"line {line}: {num_fields(len(row))}, the header has {len(names)}"
            for line, row in chunk
        ]
        tables = iter(_encode([values for values in parsed if not isinstance(values, str)], learnt, said))
        for values in parsed:
            number += 1
            yield f"{item}:{number}", values if isinstance(values, str) else next(tables)
    if not number:
        raise UserError(f"{item} holds column names but no rows")


def _parse(
    row: list[str], places: Sequence[int], learnt: Sequence[LearntColumn], decimal_comma: bool
) -> _Values | str:
    values: _Values = []
    for spec, place in zip(learnt, places, strict=True):
        if spec["kind"] == "category":
            values.append(parse_text(row[place]))
            continue
        number = parse_number(row[place], decimal_comma)
        if number is None or np.isinf(number):
            return f"column {spec['name']!r} must hold a number, not {row[place].strip()!r}"
        values.append(number)
    return values


def _say_outlier(values: NDArray[np.float64], spec: NumberColumn, said: set[str]) -> None:
    far = values[np.abs(values - spec["mean"]) > MAX_SCORE * spec["std"]]
    if len(far) and spec["name"] not in said:
        said.add(spec["name"])
        _logger.warning(
            "column %r: %g lies more than %g standard deviations from the training rows (mean %g, standard "
            "deviation %g); is it in the same unit?",
            *(spec["name"], far[0], MAX_SCORE, spec["mean"], spec["std"]),
        )


def _encode(rows: list[_Values], learnt: Sequence[LearntColumn], said: set[str]) -> Iterator[TableBatch]:
    columns: dict[str, Column] = {}
    for place, spec in enumerate(learnt):
        cells = [row[place] for row in rows]
        if spec["kind"] == "number":
            values = np.array(cells, dtype=np.float64)
            columns[spec["name"]] = Numbers(values)
            _say_outlier(values, spec, said)
            continue
        codes: dict[str, int] = {}
        numbers = [codes.setdefault(cell, len(codes)) if isinstance(cell, str) else -1 for cell in cells]
        columns[spec["name"]] = Texts(np.array(numbers, dtype=np.int32), list(codes))
        unseen = next((text for text in codes if text not in spec["categories"]), None)
        # Where rare categories were taken together, an unseen one is no news.
        if unseen is not None and not spec["other"] and spec["name"] not in said:
            said.add(spec["name"])
            _logger.warning(
                "column %r: %r is not in the training rows; it counts as other, as all do that are not there",
                *(spec["name"], unseen),
            )
    inputs = gather(encode(columns, learnt, len(rows)), torch.arange(len(rows)))
    zero = torch.zeros(1, dtype=torch.int64)
    for row in inputs:
        yield TableBatch(row.unsqueeze(0), zero, zero)
