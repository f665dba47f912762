"""What a comparison shows: filters such as ``optimizer.lr>1e-3``, which are never executed, order and columns."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from nnkit.analysis.comparison import OWN_KEYS, Row, differing, merge_seeds, metric_names
from nnkit.errors import UserError
from nnkit.suggest import closest
from nnkit.sweep.statistics import Verdict, verdict
from nnkit.sweep.tabular import Column, interval, short_names, to_csv, to_markdown, to_rows
from nnkit.sweep.trials import DONE, PRUNED

# Keys that a message lists.
_FEW = 5


def resolve_key(key: str, rows: Sequence[Row], what: str) -> str:
    """Return the full name of a key of configs, a metric, or one of `OWN_KEYS`.

    Args:
        key: As typed: the whole of it, or its last part where that is unique.
        rows: What is compared.
        what: The option it was given to, for the message.

    Raises:
        UserError: If no row has it, or its last part is that of several.
    """
    known = [*OWN_KEYS, *dict.fromkeys(name for row in rows for name in (*row.metrics, *row.settings))]
    if key in known:
        return key
    ending = [name for name in known if _last(name) == key]
    if len(ending) == 1:
        return ending[0]
    if ending:
        raise UserError(f"{what}: {key!r} may be {' or '.join(ending[:_FEW])}: type the whole of it")
    near = closest(key, known) or [
        name for last in closest(key, map(_last, known)) for name in known if _last(name) == last
    ]
    hint = f", did you mean {near[0]}?" if near else f"; there is: {', '.join(metric_names(rows))}"
    raise UserError(f"{what}: no run has {key!r}{hint}")


def _last(name: str) -> str:
    return re.split(r"[./]", name)[-1]


def sorted_rows(rows: Sequence[Row], key: str, mode: str | None, reverse: bool) -> list[Row]:
    """Return rows in order: by a metric the best first, by anything else ascending; what lacks it comes last.

    Args:
        rows: The rows.
        key: A full name.
        mode: "max" or "min" for a metric; None for anything else.
        reverse: Whether the other way round.
    """
    having = [row for row in rows if _is_value(row.value(key))]
    lacking = [row for row in rows if not _is_value(row.value(key))]
    ordered = sorted(having, key=lambda row: _rank(row.value(key)), reverse=(mode == "max") != reverse)
    return [*ordered, *lacking]


def _is_value(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def _rank(value: Any) -> tuple[bool, float, str]:
    number = isinstance(value, int | float)
    return (not number, float(value) if number else 0.0, str(value))


_FILTER = re.compile(r"\s*(?P<key>[^<>=!\s]+)\s*(?P<sign><=|>=|!=|==|=|<|>)\s*(?P<value>.*?)\s*")
_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda one, other: one < other,
    "<=": lambda one, other: one <= other,
    ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
}


def split_filter(text: str, rows: Sequence[Row]) -> tuple[str, str, str]:
    """Return key, sign and value of a filter such as ``optimizer.lr>1e-3``.

    Raises:
        UserError: If it cannot be read, or no row has the key.
    """
    found = _FILTER.fullmatch(text)
    if found is None:
        raise UserError(
            f"--filter {text!r} is no comparison\n    such as: --filter model=lenet5  or  'optimizer.lr>1e-3'"
        )
    sign, value = found["sign"], found["value"]
    if sign in _SIGNS and _number(value) is None:
        raise UserError(f"--filter {text!r}: {value!r} is no number, which {sign} needs")
    return resolve_key(found["key"], rows, "--filter"), sign, value


def fits(row: Row, key: str, sign: str, wanted: str) -> bool:
    """Return whether a row passes a filter; what lacks the key passes only an inequality."""
    value = row.value(key)
    if sign in _SIGNS:
        number = None if isinstance(value, bool) else _number(value)
        return number is not None and _SIGNS[sign](number, _number(wanted))
    # A reference may be named by its own text as well.
    raw = row.settings.get(key, value)
    return (_equal(value, wanted) or _equal(raw, wanted)) == (sign != "!=")


def _equal(value: Any, wanted: str) -> bool:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _number(wanted) == value
    if isinstance(value, str):
        return value == wanted
    written = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return written.replace('"', "") == re.sub(r"[\s'\"]", "", wanted)


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def labels(rows: Iterable[Row], keys: Sequence[str]) -> list[str]:
    """Return what rows are called in a sentence or a legend: what they differ in, or their names."""
    found = []
    for row in rows:
        parts = [f"{key}={_shown(row.setting(key))}" for key in keys if key in row.settings]
        found.append(" ".join(parts) or row.name)
    return [
        label if found.count(label) == 1 else f"{label} ({row.name})"
        for label, row in zip(found, rows, strict=True)
    ]


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@dataclass
class View:
    """What a comparison shows.

    Attributes:
        rows: Runs, or settings where seeds are merged, in order.
        keys: Keys of configs that differ and are shown.
        others: Those that differ as well.
        merged: Whether a row stands for all seeds.
        verdict: Who won; None where there is nothing to tell.
        columns: What to show instead of all; empty for all.
    """

    rows: list[Row]
    keys: list[str]
    others: list[str]
    merged: bool
    verdict: Verdict | None = None
    columns: list[str] = field(default_factory=list)


def make_view(
    rows: list[Row],
    filters: Sequence[str] = (),
    *,
    merged: bool = False,
    sort: str | None = None,
    reverse: bool = False,
    columns: str | None = None,
) -> View:
    """Filter, merge and sort.

    Args:
        rows: One for each run.
        filters: Such as "optimizer.lr>1e-3"; a row fits all of them.
        merged: Whether runs that differ in their seed alone become one row.
        sort: A key of configs or a metric; None: the metric that chose the best checkpoint.
        reverse: Whether the order is turned round.
        columns: The keys and metrics to show, with commas between them; "all": every key that differs.

    Raises:
        UserError: If a name is that of no key and no metric, or a filter is none.
    """
    tests = [split_filter(text, rows) for text in filters]
    sort = None if sort is None else resolve_key(sort, rows, "--sort")
    chosen = [] if columns in (None, "all") else [name.strip() for name in (columns or "").split(",")]
    shown = [
        name if name in ("seeds", "interval") else resolve_key(name, rows, "--columns")
        for name in chosen
        if name
    ]
    metrics = set(metric_names(rows))
    early = [test for test in tests if test[0] not in metrics]
    rows = [row for row in rows if all(fits(row, *test) for test in early)]
    if merged:
        rows = merge_seeds(rows)
    # Of a merged row the mean is tested: to leave out single seeds would make it better than it is.
    rows = [row for row in rows if all(fits(row, *test) for test in tests if test[0] in metrics)]
    keys, others = differing(rows)
    if columns == "all":
        keys, others = [*keys, *others], []
    told = _verdict(rows, keys) if merged and len(rows) > 1 else None
    return View(_ordered(rows, sort, reverse), keys, others, merged, told, shown)


def _ordered(rows: list[Row], sort: str | None, reverse: bool) -> list[Row]:
    monitors = {row.monitor for row in rows}
    if sort is None:
        # Runs that are judged by different metrics stay in the order in which they were named.
        if len(monitors) != 1 or None in monitors:
            return rows[::-1] if reverse else rows
        (sort,) = monitors
    assert sort is not None
    if not any(sort in row.metrics for row in rows):
        return sorted_rows(rows, sort, None, reverse)
    return sorted_rows(rows, sort, _mode(rows, sort), reverse)


def _mode(rows: Sequence[Row], metric: str) -> str:
    """Return which way a metric is better, as the runs that have it say."""
    return next(row.direction(metric) for row in rows if metric in row.metrics)


def _verdict(rows: Sequence[Row], keys: Sequence[str]) -> Verdict | None:
    monitors = {row.monitor for row in rows}
    if len(monitors) != 1 or None in monitors:
        return None
    (monitor,) = monitors
    pairs = zip(labels(rows, keys), rows, strict=True)
    samples = {
        label: () if set(row.states) == {PRUNED} else row.metrics.get(monitor or "", ())
        for label, row in pairs
    }
    return verdict(samples, rows[0].mode)


def columns_of(view: View, short: bool = False) -> list[Column]:
    """Return the columns of a view.

    Args:
        view: From `make_view`.
        short: Whether keys are shortened as far as they stay distinct.
    """
    names = short_names(view.keys) if short else {}
    if view.columns:
        found = [_column(view, name) for name in view.columns]
        return [replace(column, header=names.get(column.header, column.header)) for column in found]
    rows = view.rows
    found = [Column(names.get(key, key), [row.setting(key) for row in rows]) for key in view.keys]
    if not view.merged or not found:
        found.insert(0, Column("run", [row.name for row in rows]))
    elif len({row.source for row in rows}) > 1:
        found.insert(0, Column("from", [row.source or row.name for row in rows]))
    several = any(len(row.runs) > 1 for row in rows)
    if several:
        found.append(_column(view, "seeds"))
    if any(row.status != DONE for row in rows):
        found.append(_column(view, "status"))
    for place, metric in enumerate(metric_names(rows)):
        found.append(replace(_column(view, metric), optional=place > 0))
        if several and not place:
            found.append(_column(view, "interval"))
    return found


def _column(view: View, name: str) -> Column:
    if name == "seeds":
        return Column("seeds", [row.seeds for row in view.rows])
    if name == "interval":
        monitor = next(iter(metric_names(view.rows)), "")
        cells = [interval(row.summary(monitor)) for row in view.rows]
        return Column("95 % interval", cells, only_shown=True)
    if any(name in row.metrics for row in view.rows):
        return Column(name, [row.summary(name) for row in view.rows], single=not view.merged)
    return Column(name, [row.value(name) for row in view.rows])


def as_text(view: View, form: str) -> str:
    """Return a view as csv, json or markdown."""
    columns = columns_of(view)
    if form == "csv":
        return to_csv(columns)
    if form == "json":
        return json.dumps(_as_json(view, columns), indent=1, ensure_ascii=False) + "\n"
    told = f"\n{view.verdict.sentence}\n" if view.verdict else ""
    return to_markdown(columns) + told


def _as_json(view: View, columns: Sequence[Column]) -> dict[str, Any]:
    paths = [[str(run.path) for run in row.runs] for row in view.rows]
    rows = [{**row, "paths": found} for row, found in zip(to_rows(columns), paths, strict=True)]
    return {
        "rows": rows,
        "also_different": view.others,
        "verdict": view.verdict.sentence if view.verdict else None,
        "winner": view.verdict.winner if view.verdict else None,
    }
