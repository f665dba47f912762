"""A series in a table of the user's: its channels, its rows in the order of time, and several series in one table."""

import logging
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnkit.data.reading.cells import Column, Datetimes, Numbers, Texts
from nnkit.data.reading.columns import Frame, read_frame
from nnkit.data.reading.dates import epoch_unit
from nnkit.data.reading.table_file import TableFile
from nnkit.data.series.loaded import LoadedSeries, SeriesOptions
from nnkit.data.series.steps import find_step
from nnkit.data.series.times import Codes, Time, cell, find_time, say_odd_steps, settle_doubt
from nnkit.data.tables.identifiers import counts_rows, numbers_rows
from nnkit.errors import ConfigError, UserError
from nnkit.suggest import absent, some_of, typed

_logger = logging.getLogger("nnkit")

_LISTED = 10
# A few times that repeat are those of a clock that is set back; with more of them there are several series.
_MAX_REPEATED = 0.1
_KEPT = "; data.columns=[...] names the columns to read"


def read_series(table: TableFile, options: SeriesOptions) -> LoadedSeries:
    """Read a table whole.

    Args:
        table: The table, opened.
        options: What is known of it.

    Raises:
        UserError: If it cannot be read, holds words, gaps or several series, or its rows are not in the order of time.
    """
    if options.say:
        table.say()
    _check_names(table, options)
    frame = read_frame(table, as_text=options.group, columns=options.needed(table.names))
    codes, labels = _groups(table, frame, options.group)
    time = find_time(table, frame, options)
    if time is not None:
        time = settle_doubt(table, time, codes, options.say)
        if codes is None:
            _refuse_several(table, frame, time)
    runs = [np.arange(frame.num_rows)]
    if codes is not None:
        runs = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])
    runs = _arranged(table, time, runs, labels, options.say)
    inputs, targets = _choose(table, frame, time, runs, options)
    names = [*inputs, *(name for name in targets if name not in inputs)]
    chosen = {name: column for name in names if isinstance(column := frame.columns[name], Numbers)}
    _check_gaps(table, chosen, runs, options)
    for name, column in chosen.items() if options.say else ():
        for form in column.forms:
            _logger.info("%s: numbers in %r are written with %s", table.title, name, form.said())
    values, rows = np.stack([column.values for column in chosen.values()], axis=1), np.concatenate(runs)
    return LoadedSeries(
        *(table.title, names, targets),
        # As they are where no row moves: NumPy adds strided and contiguous numbers up in another order.
        values if (np.diff(rows) == 1).all() else values[rows],
        inputs=inputs,
        labels=labels,
        sizes=[*map(len, runs)],
        rows=rows,
        time=_learnt_time(table, time, runs, options.say),
        ends=[float(time.values[run[-1]]) for run in runs] if time else [],
    )


def _learnt_time(
    table: TableFile, time: Time | None, runs: Sequence[Codes], say: bool
) -> dict[str, Any] | None:
    """Return what is known of the time as plain data, its usual step included; what is odd is logged."""
    if time is None:
        return None
    step = find_step([time.values[rows] for rows in runs], time.is_date)
    if say and step is not None:
        inside = np.diff(np.repeat(np.arange(len(runs)), [*map(len, runs)])) == 0
        say_odd_steps(table, time, step, np.concatenate(runs), inside)
    return {**time.learnt(), "step": list(step) if step else None}


def _check_names(table: TableFile, options: SeriesOptions) -> None:
    names_time = options.time not in (None, "none") and not options.learnt
    given: dict[str, Sequence[str]] = {
        "columns": options.columns or (),
        "target_columns": options.targets or (),
        "group": options.group,
        "time": [str(options.time)] if names_time else [],
    }
    lacking = {key: [name for name in names if name not in table.names] for key, names in given.items()}
    if options.say and any(lacking.values()):
        wanted = {key: [*given[key]] if key.endswith("columns") else None for key in given}
        raise ConfigError(
            [
                absent(f"data.{key}", table.title, name, table.names, given=wanted[key])
                for key, names in lacking.items()
                for name in names
            ]
        )
    for names in filter(None, lacking.values()):
        listed = f"the column{'s' if len(names) > 1 else ''} {some_of([*map(repr, names)], _LISTED)}"
        raise UserError(f"{table.title} lacks {listed}; its columns: {some_of(table.names, 2 * _LISTED)}")


def _groups(
    table: TableFile, frame: Frame, names: Sequence[str]
) -> tuple[Codes | None, list[dict[str, str]]]:
    """Return the series of each row, numbered by their first rows, and what each is called."""
    if not names:
        return None, [{}]
    columns = [column for name in names if isinstance(column := frame.columns[name], Texts)]
    for name, column in zip(names, columns, strict=True):
        empty = np.flatnonzero(column.codes < 0)
        if len(empty):
            raise UserError(
                f"{table.title}: row {int(empty[0]) + 1:,} belongs to no series: column {name!r} of data.group is "
                f"empty there ({len(empty):,} such rows)"
            )
    together = np.stack([column.codes for column in columns], axis=1)
    keys, first, codes = np.unique(together, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    labels = [
        {name: column.values[code] for name, column, code in zip(names, columns, key, strict=True)}
        for key in keys[order]
    ]
    return np.argsort(order)[codes.reshape(-1)], labels


def _refuse_several(table: TableFile, frame: Frame, time: Time) -> None:
    """Refuse rows of several series: times repeat, and another column tells the rows of one time apart."""
    moments, places, counts = np.unique(time.values, return_inverse=True, return_counts=True)
    num_repeated = len(time.values) - len(moments)
    steps = np.diff(time.values)
    in_order = bool((steps >= 0).all() or (steps <= 0).all())
    if not num_repeated or (in_order and num_repeated <= _MAX_REPEATED * len(time.values)):
        return
    keys = {
        name: column.codes if isinstance(column, Texts) else np.unique(column.values, return_inverse=True)[1]
        for name, column in frame.columns.items()
        if name not in time.columns and _may_tell_apart(column)
    }
    for number in (1, 2):
        for names in combinations(keys, number):
            together = np.stack([places, *(keys[name] for name in names)], axis=1)
            if len(np.unique(together, axis=0)) < len(together):
                continue
            num_series = len(np.unique(together[:, 1:], axis=0))
            rows = np.flatnonzero(places == np.argmax(counts > 1))[:2] + 1
            raise UserError(
                f"{table.title} holds several series: rows {rows[0]:,} and {rows[1]:,} have one time, "
                f"{cell(table, time.columns, int(rows[0]))!r}, as {num_repeated:,} of {len(places):,} rows repeat one; "
                f"{' and '.join(map(repr, names))} {'tell' if number > 1 else 'tells'} them apart\n    "
                f"{typed('data.group', names[0] if number == 1 else names)} learns from each of the {num_series:,} "
                "series; to forecast one of them, cut the others out of the file"
            )


def _may_tell_apart(column: Column) -> bool:
    """Return whether a column has few values, texts or whole numbers, and many rows for each."""
    if isinstance(column, Texts):
        return 1 < len(column.values) <= len(column.codes) / 2 and not column.too_many
    if not isinstance(column, Numbers) or not (column.values == np.floor(column.values)).all():
        return False
    return 1 < len(np.unique(column.values)) <= len(column.values) / 2


def _arranged(
    table: TableFile, time: Time | None, runs: Sequence[Codes], labels: Sequence[dict[str, str]], say: bool
) -> list[Codes]:
    """Return the rows of each series, the oldest first; refuse one in neither the order of time nor the opposite."""
    if time is None:
        return [*runs]
    arranged, num_turned = [], 0
    for label, rows in zip(labels, runs, strict=True):
        steps = np.diff(time.values[rows])
        is_turned = bool((steps < 0).any() and (steps <= 0).all())
        if not is_turned and (steps < 0).any():
            raise UserError(_disorder(table, time, rows, ", ".join(label.values())))
        num_turned += is_turned
        arranged.append(rows[::-1] if is_turned else rows)
    if num_turned and say:
        of = "" if len(labels) == 1 else f" of {num_turned:,} of {len(labels):,} series"
        _logger.warning(
            "%s: the newest row stands first (row 1 is %s in %s); the rows%s are turned round",
            *(table.title, cell(table, time.columns, 1), time.title, of),
        )
    return arranged


def _disorder(table: TableFile, time: Time, rows: Codes, label: str) -> str:
    wrong = np.flatnonzero(np.diff(time.values[rows]) < 0)
    before, row = (int(rows[place]) + 1 for place in (wrong[0], wrong[0] + 1))
    texts = [repr(cell(table, time.columns, one)) for one in (before, row)]
    more = f", and so on in {len(wrong):,} places" if len(wrong) > 1 else ""
    of = f" of the series {label}" if label else ""
    advice = "sort the rows" if label else "sort the rows; data.group=COLUMN if they are of several series"
    return (
        f"{table.title} is not in the order of time: row {row:,} ({texts[1]} in {time.title}) is earlier than row "
        f"{before:,} ({texts[0]}){of}{more}\n    {advice}; if {time.columns[0]!r} is no time, data.time=COLUMN names "
        "another one, and data.time=none takes the rows as they stand"
    )


def _choose(
    table: TableFile, frame: Frame, time: Time | None, runs: Sequence[Codes], options: SeriesOptions
) -> tuple[list[str], list[str]]:
    """Return the names of the channels that are read and of those that are forecast."""
    for name in [*(options.columns or ()), *(options.targets or ())]:
        column = frame.columns[name]
        if not isinstance(column, Numbers):
            what = "dates" if isinstance(column, Datetimes) else "words"
            there = column.codes >= 0 if isinstance(column, Texts) else ~np.isnan(column.values)
            row = int(np.argmax(there)) + 1
            raise UserError(
                f"{table.title}: column {name!r} holds {what}, not numbers ({cell(table, (name,), row)!r} in row "
                f"{row:,} is the first)"
            )
    if options.columns is not None:
        return [*options.columns], [*(options.columns if options.targets is None else options.targets)]
    found = _all_numbers(table, frame, time, runs, options)
    inputs = [name for name in frame.columns if name in found or name in (options.targets or ())]
    return inputs, [*(inputs if options.targets is None else options.targets)]


def _all_numbers(
    table: TableFile, frame: Frame, time: Time | None, runs: Sequence[Codes], options: SeriesOptions
) -> list[str]:
    found: list[str] = []
    left_out = dict.fromkeys(time.columns if time else (), "it holds the time")
    left_out |= dict.fromkeys(options.group, "it tells the series apart")
    expected, counting = set(left_out), dict[str, str]()
    for name, column in frame.columns.items():
        if name in expected:
            continue
        if name in (options.targets or ()):
            found.append(name)
        elif reason := _no_channel(name, column):
            left_out[name] = reason
        elif isinstance(column, Numbers) and all(_counts(column.values[rows]) for rows in runs):
            counting[name] = f"it counts the rows{_KEPT}"
        else:
            found.append(name)
    # Where nothing else is left, a straight line may be meant.
    if not found:
        found, counting = [*counting], {}
    for name, reason in (left_out | counting).items() if options.say else ():
        level = logging.INFO if name in expected else logging.WARNING
        _logger.log(level, "%s: column %r is left out: %s", table.title, name, reason)
    if not found:
        reasons = "; ".join(f"{name!r}: {reason}" for name, reason in left_out.items())
        raise UserError(f"{table.title} has no column of numbers to forecast ({reasons})")
    return found


def _no_channel(name: str, column: Column) -> str | None:
    """Return why a column is nothing to learn from or to forecast, None if it is."""
    if isinstance(column, Datetimes):
        return "it holds dates"
    if isinstance(column, Texts):
        return f"it holds words, such as {column.values[0]!r}" if column.values else "it is empty"
    if np.isnan(column.values).all():
        return "it is empty"
    unit = epoch_unit(column.values, name)
    if unit is not None:
        return f"it counts {unit} since 1970{_KEPT}"
    return f"it numbers the rows{_KEPT}" if numbers_rows(name, column.values) else None


def _counts(values: NDArray[np.float64]) -> bool:
    places = np.arange(len(values))
    return counts_rows(values, places) or counts_rows(values[::-1], places)


def _check_gaps(
    table: TableFile, columns: Mapping[str, Numbers], runs: Sequence[Codes], options: SeriesOptions
) -> None:
    """Refuse gaps as the options tell; those at the ends are never filled, as nothing is known on the other side."""
    counts = {name: int(np.isnan(column.values).sum()) for name, column in columns.items()}
    counts = {name: count for name, count in counts.items() if count}
    if not counts:
        return
    total = sum(counts.values())
    listed = some_of([f"{name!r} {count:,}" for name, count in counts.items()], _LISTED)
    first = min(counts, key=lambda name: int(np.argmax(np.isnan(columns[name].values))))
    cells = f"{total:,} cells hold no number" if total > 1 else "1 cell holds no number"
    where = f"the first is {_content(columns[first])} of column {first!r} (by column: {listed})"
    if not options.fills_gaps:
        raise UserError(
            f"{table.title}: {cells}; {where}\n    a run trained with data.gaps=interpolate fills gaps between two "
            "numbers by straight lines"
        )
    for name in counts:
        for rows in runs:
            _check_ends(table, name, columns[name].values[rows], rows)
    if options.say:
        _logger.warning("%s: %s, which is filled by straight lines; %s", table.title, cells, where)


def _check_ends(table: TableFile, name: str, values: NDArray[np.float64], rows: Codes) -> None:
    known = np.flatnonzero(~np.isnan(values))
    if len(known) and known[0] == 0 and known[-1] == len(values) - 1:
        return
    begins = len(known) > 0 and known[0] > 0
    gap = rows[: known[0]] if begins else rows[known[-1] + 1 :] if len(known) else rows
    raise UserError(
        f"{table.title}: column {name!r} {'begins' if begins else 'ends'} without a number, rows {gap.min() + 1:,} to "
        f"{gap.max() + 1:,}; such a gap cannot be filled in: cut these rows off or leave the column out"
    )


def _content(column: Numbers) -> str:
    row = int(np.argmax(np.isnan(column.values))) + 1
    text_row, text = column.first_text
    if text_row == row:
        return f"{text!r} in row {row:,}"
    words = [repr(word) for word in column.missing if word]
    taken = f", where {some_of(words, _LISTED)} counts as missing," if words else ""
    return f"an empty, missing or infinite one{taken} in row {row:,}"
