"""`nnkit compare RUN|SWEEP ...`: what differs in the configs beside what differs in the metrics."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nnkit.analysis.comparison import Row, differing, gather, merge_seeds, metric_names
from nnkit.analysis.selection import fits, labels, resolve_key, sorted_rows, split_filter
from nnkit.cli.parser import Given
from nnkit.cli.verbs import OUTPUT_DIR, Argument, Option, Verb
from nnkit.errors import UserError
from nnkit.files import atomic
from nnkit.suggest import some_of
from nnkit.sweep.directory import Sweep
from nnkit.sweep.statistics import Verdict, verdict
from nnkit.sweep.tabular import Column, interval, short_names, show_columns, to_csv, to_markdown, to_rows
from nnkit.sweep.trials import DONE, PRUNED
from nnkit.ui.terminal import show

_ENDINGS = {".csv": "csv", ".json": "json", ".md": "markdown"}
_PICTURES = (".png", ".svg")
# Keys that are named below a table because they differ as well.
_MOST_NAMED = 12
_FORMS = ("table", "csv", "json", "markdown")
VERB = Verb(
    "compare",
    (
        Argument(
            "runs",
            "RUN|SWEEP",
            "run directories, prefixes, sweeps; default: all runs",
            required=False,
            many=True,
            complete="runs and sweeps",
        ),
    ),
    (
        OUTPUT_DIR,
        Option("--sort", "by a metric, the best first; or by a key of the config", "KEY"),
        Option("--reverse", "sort the other way round"),
        Option("--filter", "such as model=mlp, 'optimizer.lr>1e-3'; may be repeated", "TEST", many=True),
        Option("--columns", "show these keys and metrics only; all: every key that differs", "A,B,..."),
        Option("--seeds", "merge runs that differ in their seed alone", const=True, sets="seeds"),
        Option("--no-seeds", "show each run of its own", const=False, sets="seeds"),
        Option(
            "--format", "the form of the output, table if there is no file", "|".join(_FORMS), choices=_FORMS
        ),
        Option("--output", "write there; .csv, .json or .md says the format", "FILE", Path),
        Option("--curves", "draw learning curves, as .png or .svg", "FILE", Path),
        Option("--history", "draw each trial of a sweep and the best so far", "FILE", Path),
    ),
    (
        "Runs that differ in their seed alone become one line, with mean, standard deviation and 95 % interval: for a "
        "sweep unless --no-seeds is given, for runs if --seeds is.",
    ),
    (
        ("nnkit compare last lenet5-mnist/2026-11-23_02", ""),
        ("nnkit compare lr --sort test/accuracy --filter model=lenet5 --filter 'optimizer.lr>1e-3'", ""),
        ("nnkit compare lr --no-seeds --columns run,optimizer.lr,seed,val/loss,steps", ""),
        ("nnkit compare lr --output lr.csv --curves curves.svg --history history.png", ""),
    ),
)


@dataclass
class View:
    """What is to be shown.

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


def run(given: Given) -> int:
    """Compare runs and sweeps."""
    _check_files(given)
    rows, sweeps = gather(given.runs, given.output_dir)
    if given.history is not None and len(sweeps) != 1:
        raise UserError("--history shows the trials of one sweep: name that sweep, and no other")
    view = _view(given, rows, bool(sweeps) if given.seeds is None else given.seeds)
    if not view.rows:
        where = " ".join(given.runs) or f"{given.output_dir}/"
        sys.stderr.write(f"nothing to compare: no run of {where} {'fits' if given.filter else 'is there'}\n")
        if given.format != "json" or given.output is not None:
            return 0
    written = _draw(given, view, sweeps)
    if given.output is not None:
        written[given.output] = _text(view, given.format or _ENDINGS[given.output.suffix.lower()]).encode()
    elif given.format in (None, "table"):
        _print(view)
    else:
        sys.stdout.write(_text(view, given.format))
    for path, data in written.items():
        atomic.write_atomic(path, data)
        sys.stderr.write(f"written: {path}\n")
    return 0


def _check_files(given: Given) -> None:
    """Refuse a file that cannot be written before anything is read."""
    for option in ("output", "curves", "history"):
        path = getattr(given, option)
        if path is None:
            continue
        endings = _PICTURES if option != "output" else tuple(_ENDINGS)
        if option == "output" and given.format == "table":
            raise UserError("--output: a file is csv, json or markdown, a table is for the terminal")
        if path.suffix.lower() not in endings and not (option == "output" and given.format):
            raise UserError(f"--{option} {path}: the name must end in {', '.join(endings)}")
        if not path.parent.is_dir():
            raise UserError(f"--{option} {path}: there is no directory {path.parent}")
        if path.is_dir():
            raise UserError(f"--{option} {path} is a directory, a file is needed")


def _view(given: Given, rows: list[Row], merged: bool) -> View:
    """Filter, merge and sort."""
    tests = [split_filter(text, rows) for text in given.filter]
    sort = None if given.sort is None else resolve_key(given.sort, rows, "--sort")
    chosen = [] if given.columns in (None, "all") else [name.strip() for name in given.columns.split(",")]
    columns = [
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
    if given.columns == "all":
        keys, others = [*keys, *others], []
    told = _verdict(rows, keys) if merged and len(rows) > 1 else None
    return View(_ordered(rows, sort, given.reverse), keys, others, merged, told, columns)


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


def _columns(view: View, short: bool = False) -> list[Column]:
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


def _print(view: View) -> None:
    if not view.rows:
        return
    left_out = show_columns(_columns(view, short=True))
    notes = []
    if left_out:
        notes.append(f"no room for {', '.join(left_out)}: --columns chooses, --format csv has all")
    if view.others and not view.columns:
        notes.append(f"different as well: {some_of(view.others, _MOST_NAMED)}; --columns all shows them")
    if view.verdict is not None:
        notes.append(view.verdict.sentence)
    if notes:
        show(*notes)


def _text(view: View, form: str) -> str:
    columns = _columns(view)
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


def _draw(given: Given, view: View, sweeps: Sequence[Sweep]) -> dict[Path, bytes]:
    if given.curves is None and given.history is None:
        return {}
    from nnkit.analysis import charts

    drawn = {}
    if given.curves is not None:
        named = labels(view.rows, view.keys)
        drawn[given.curves] = charts.learning_curves(view.rows, named, given.curves.suffix[1:].lower())
    if given.history is not None:
        drawn[given.history] = charts.search_history(sweeps[0], given.history.suffix[1:].lower())
    return drawn
