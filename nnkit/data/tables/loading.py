"""A user's table, opened and read to train on: which column is what, and what is odd about their cells."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import torch

from nnkit.data.reading.cells import Column, Datetimes, InMemory, MakeSink, Numbers, Texts
from nnkit.data.reading.columns import Frame, read_frame
from nnkit.data.reading.dialect import ReadOptions
from nnkit.data.reading.split_files import SplitFiles, open_split_files
from nnkit.data.reading.table_file import TableFile
from nnkit.data.reading.values import NumberForm
from nnkit.data.splits import Split, split_of_word
from nnkit.data.splitting import SplitKeys, keys_of
from nnkit.data.tables.columns import ColumnOptions, release
from nnkit.data.tables.targets import Target, read_targets
from nnkit.errors import ConfigError, Problem, UserError
from nnkit.suggest import absent, some_of, typed

_logger = logging.getLogger("nnkit")

# What the column of the target is called in tables that people publish, upper case made lower; the first one counts.
_TARGET_NAMES = ("target", "label", "y", "class", "labels", "outcome", "response", "目标", "标签", "类别")
# What a column is called that says which rows are for the test.
_SPLIT_NAMES = frozenset({"split", "fold", "set", "subset", "partition"})
_LISTED = 10
_EXAMINED = 1_000
# Options that hold one name rather than a list of names, or may.
_NAMES = ("data.target", "data.split_column", "data.group", "data.time")


@dataclass(frozen=True, kw_only=True)
class TableSource(ColumnOptions):
    """Where a table is and what the user says of it.

    Attributes:
        files: The file, folder or pattern of the training rows, and of the other splits that have their own.
        target: Names of the columns to predict; empty: found out.
        target_separator: What stands between two labels of a cell; None: found out.
        categorical: Columns of numbers that are names of categories.
        split_column: Column that says which split a row is in.
        group: Column whose values keep their rows together.
        time: Column in whose order rows are split.
        reading: How the files are written.
    """

    files: Mapping[Split, str]
    target: tuple[str, ...] = ()
    target_separator: str | None = None
    categorical: tuple[str, ...] = ()
    split_column: str | None = None
    group: str | None = None
    time: str | None = None
    reading: ReadOptions = field(default_factory=ReadOptions)

    @property
    def title(self) -> str:
        """What messages call the table."""
        return self.files["train"]


def open_tables(source: TableSource) -> SplitFiles:
    """Open the files of a table; only samples of them are read.

    Raises:
        UserError: If one cannot be read, or lacks columns that the training rows have.
    """
    table = open_split_files(source.files, source.reading)
    if len(table.names) == 1:
        raise UserError(
            f"{source.title} has one column only, {table.names[0]!r}: a target and something to learn from are needed\n"
            "    data.delimiter=X sets the character between two cells"
        )
    return table


@dataclass(frozen=True)
class LoadedTable:
    """A table that is read.

    Attributes:
        target_names: Names of the columns to predict.
        target: The target of each row.
        columns: The columns to learn from, not yet encoded.
        left_out: Reason for each column that was not read, or whose values say something else of the rows.
        num_rows: Rows in all.
        keys: What rows are split by, as `DataModule.split_rows` takes it, for the rows that have a target.
    """

    target_names: list[str]
    target: Target
    columns: dict[str, Column]
    left_out: dict[str, str]
    num_rows: int
    keys: SplitKeys


def load_table(
    table: SplitFiles,
    source: TableSource,
    wanted: Sequence[str],
    *,
    say: bool,
    make_sink: MakeSink = InMemory,
) -> LoadedTable:
    """Read a table.

    Args:
        table: The table, opened.
        source: What the user says of it.
        wanted: Types of target that the task learns from.
        say: Whether to log what was found out, left out or counted as missing.
        make_sink: Where the values of columns go.

    Raises:
        UserError: If rows cannot be read.
        ConfigError: If the table lacks a column that the source names, or the target cannot be what it is to be.
    """
    targets = _target_names(table, source)
    left_out = {name: "named in data.id" for name in source.id}
    left_out |= {name: "named in data.drop" for name in source.drop or ()}
    if source.split_column is not None:
        left_out[source.split_column] = "says which split a row is in"
    if source.group is not None:
        left_out[source.group] = "says which rows stay together"
    declared = table.categories.difference(targets)
    declared = declared if "real" in wanted else declared.union(targets)
    frame = read_frame(
        table,
        as_text={*source.categorical, *declared},
        columns=[name for name in table.names if name not in left_out],
        make_sink=make_sink,
    )
    target = read_targets({name: frame.columns[name] for name in targets}, wanted, source.target_separator)
    others = {name: column for name, column in frame.columns.items() if name not in targets}
    left_out |= _split_words(others)
    columns = {name: column for name, column in others.items() if name not in left_out}
    if say:
        table.say()
        _say_target(frame, source, targets, target)
        for name in targets:
            _say_words(name, frame.columns[name])
        _say_cells(columns, frame.num_rows)
        _say_date_format(frame, source)
    keys = table.split_keys({key: getattr(source, key) for key in ("split_column", "group", "time")})
    return LoadedTable(targets, target, columns, left_out, frame.num_rows, keys_of(keys, target.kept))


def _target_names(table: TableFile, source: TableSource) -> list[str]:
    """Return the columns to predict, all columns that the source names held against the table."""
    given: dict[str, tuple[str, ...]] = {
        "data.target": source.target,
        "data.drop": source.drop or (),
        "data.id": source.id,
        "data.categorical": source.categorical,
        "data.split_column": (source.split_column,) if source.split_column else (),
        "data.group": (source.group,) if source.group else (),
        "data.time": (source.time,) if source.time else (),
    }
    problems = [
        absent(
            key, source.title, name, table.names, given=name if key in _NAMES and len(wanted) == 1 else wanted
        )
        for key, wanted in given.items()
        for name in wanted
        if name not in table.names
    ]
    taken = {
        name
        for key, names in given.items()
        if key not in ("data.target", "data.categorical")
        for name in names
    }
    targets = list(source.target) or [
        _found_target([name for name in table.names if name not in taken] or table.names)
    ]
    for key, wanted in given.items():
        if key not in ("data.target", "data.categorical", "data.group"):
            problems += [Problem(key, f"{name!r} is the target") for name in wanted if name in targets]
    problems += [
        Problem(
            "data.target",
            f"{source.title} has several columns named {name!r}",
            "give each a name of its own in the file",
        )
        for name in source.target
        if f"{name} (2)" in table.names
    ]
    if problems:
        raise ConfigError(problems)
    return targets


def _found_target(names: Sequence[str]) -> str:
    """Return the column that is called like a target, or else the last one."""
    by_lower: dict[str, str] = {}
    for name in names:
        by_lower.setdefault(name.casefold().strip(), name)
    return next((by_lower[name] for name in _TARGET_NAMES if name in by_lower), names[-1])


def _split_words(columns: Mapping[str, Column]) -> dict[str, str]:
    """Return why columns that hold the names of splits are not learnt from."""
    found = {}
    for name, column in columns.items():
        if name.casefold() not in _SPLIT_NAMES or not isinstance(column, Texts):
            continue
        if len(column.values) > 1 and all(split_of_word(value) for value in column.values):
            words = ", ".join(column.values)
            found[name] = (
                f"holds {words}, the names of splits ({typed('data.split_column', name)} splits by it)"
            )
    return found


def _say_target(frame: Frame, source: TableSource, names: Sequence[str], target: Target) -> None:
    if not source.target:
        last = "the last column, " if names[0].casefold().strip() not in _TARGET_NAMES else ""
        _logger.warning(
            "%s: the target is %s%r (data.target=COLUMN names another)", source.title, last, names[0]
        )
    for level, sentence in target.findings:
        _logger.log(level, "%s", sentence)
    listed = some_of([*map(repr, names)], _LISTED)
    if len(target.kept) < frame.num_rows:
        _logger.warning(
            "%s of %s rows have no target (%s); they are left out",
            *(f"{frame.num_rows - len(target.kept):,}", f"{frame.num_rows:,}", listed),
        )
    if target.classes is None or target.class_names is None:
        return
    counts = torch.bincount(target.classes, minlength=len(target.class_names)).tolist()
    single = [repr(label) for label, count in zip(target.class_names, counts, strict=True) if count == 1]
    if single:
        _logger.warning(
            "column %s: trained on but never tested, as only one row has it: %s",
            listed,
            some_of(single, _LISTED),
        )


def _say_words(name: str, column: Column) -> None:
    """Log which words count as missing, and where the form of numbers or dates is not the plainest."""
    words = {word: count for word, count in column.missing.items() if word}
    if words:
        listed = some_of([f"{word!r} ({count:,} cells)" for word, count in words.items()], _LISTED)
        kept = "data.missing=[] keeps it as a value" if isinstance(column, Texts) else "as data.missing says"
        _logger.warning("column %r: %s counts as missing; %s", name, listed, kept)
    for form in column.forms if isinstance(column, Numbers) else ():
        # A decimal comma is a finding about the whole file.
        level = logging.INFO if form == NumberForm(decimal=",") else logging.WARNING
        _logger.log(level, "column %r: numbers are written with %s", name, form.said())
    if isinstance(column, Datetimes) and column.form is not None and column.form.ambiguous:
        _logger.warning("column %r: %s", name, column.form.doubt(_doubtful(column)))


def _say_date_format(frame: Frame, source: TableSource) -> None:
    """Log a form of dates that the user typed and no column has."""
    asked = source.reading.date_format
    dates = [column for column in frame.columns.values() if isinstance(column, Datetimes)]
    if asked and not any(column.form and column.form.pattern == asked for column in dates):
        _logger.warning("%s: no column holds dates of the form data.date_format=%s", source.title, asked)


def _doubtful(column: Datetimes) -> str:
    """Return a date of a column as it is written there, one whose day may be a month if there is one."""
    assert column.form is not None
    known = column.values[~np.isnan(column.values)][:_EXAMINED]
    dates = [datetime.fromtimestamp(seconds, UTC) for seconds in known.tolist()]
    date = next((date for date in dates if date.day <= 12 and date.day != date.month), dates[0])
    return date.strftime(column.form.pattern)


def _say_cells(columns: Mapping[str, Column], num_rows: int) -> None:
    missing = []
    for name, column in columns.items():
        _say_words(name, column)
        count = int((column.codes < 0).sum() if isinstance(column, Texts) else np.isnan(column.values).sum())
        if not isinstance(column, Texts) and column.num_texts:
            row, text = column.first_text
            what = "numbers" if isinstance(column, Numbers) else "dates"
            _logger.warning(
                "column %r: %s cells are no %s (%r in row %d is the first); they count as missing",
                *(name, f"{column.num_texts:,}", what, text, row),
            )
        if isinstance(column, Numbers) and column.padded:
            _logger.warning(
                "column %r: %r and the like are read as numbers; %s takes them for names",
                *(name, column.padded, typed("data.categorical", [name])),
            )
        if isinstance(column, Numbers) and column.num_infinite:
            _logger.warning("column %r: %d infinite numbers count as missing", name, column.num_infinite)
        if count:
            missing.append(f"{name!r} {count:,}")
        release(column)
    if missing:
        _logger.warning(
            "missing in %s rows: %s; a number takes the median and is marked, a text is a category of its own",
            *(f"{num_rows:,}", some_of(missing, _LISTED)),
        )
