"""`nnkit compare RUN|SWEEP ...`: what differs in the configs beside what differs in the metrics."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nnkit.cli.parser import Given
from nnkit.cli.verbs import OUTPUT_DIR, Argument, Option, Verb
from nnkit.errors import UserError
from nnkit.suggest import some_of
from nnkit.ui.report import show

if TYPE_CHECKING:
    from nnkit.analysis.selection import View
    from nnkit.sweep.directory import Sweep

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
        Option("--seeds", "merge runs that differ in seed or data.fold alone", const=True, sets="seeds"),
        Option("--no-seeds", "show each run of its own", const=False, sets="seeds"),
        Option(
            "--format", "the form of the output, table if there is no file", "|".join(_FORMS), choices=_FORMS
        ),
        Option("--output", "write there; .csv, .json or .md says the format", "FILE", Path),
        Option("--curves", "draw learning curves, as .png or .svg", "FILE", Path),
        Option("--history", "draw each trial of a sweep and the best so far", "FILE", Path),
    ),
    (
        "Runs that differ in seed or data.fold alone become one line, with mean, standard deviation and 95 % interval: "
        "for a sweep unless --no-seeds is given, for runs if --seeds is.",
    ),
    (
        ("nnkit compare last lenet5-mnist/2026-11-23_02", ""),
        ("nnkit compare lr --sort test/accuracy --filter model=lenet5 --filter 'optimizer.lr>1e-3'", ""),
        ("nnkit compare lr --no-seeds --columns run,optimizer.lr,seed,val/loss,steps", ""),
        ("nnkit compare lr --output lr.csv --curves curves.svg --history history.png", ""),
    ),
)


def run(given: Given) -> int:
    """Compare runs and sweeps."""
    _check_files(given)
    from nnkit.analysis.comparison import gather
    from nnkit.analysis.selection import as_text, make_view
    from nnkit.files import atomic

    rows, sweeps = gather(given.runs, given.output_dir)
    if given.history is not None and len(sweeps) != 1:
        raise UserError("--history shows the trials of one sweep: name that sweep, and no other")
    view = make_view(
        rows,
        given.filter,
        merged=bool(sweeps) if given.seeds is None else given.seeds,
        sort=given.sort,
        reverse=given.reverse,
        columns=given.columns,
    )
    if not view.rows:
        where = " ".join(given.runs) or f"{given.output_dir}/"
        sys.stderr.write(f"nothing to compare: no run of {where} {'fits' if given.filter else 'is there'}\n")
        if given.format != "json" or given.output is not None:
            return 0
    written = _draw(given, view, sweeps)
    if given.output is not None:
        written[given.output] = as_text(view, given.format or _ENDINGS[given.output.suffix.lower()]).encode()
    elif given.format in (None, "table"):
        _print(view)
    else:
        sys.stdout.write(as_text(view, given.format))
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


def _print(view: View) -> None:
    if not view.rows:
        return
    from nnkit.analysis.selection import columns_of
    from nnkit.sweep.tabular import show_columns

    left_out = show_columns(columns_of(view, short=True))
    notes = []
    if left_out:
        notes.append(f"no room for {', '.join(left_out)}: --columns chooses, --format csv has all")
    if view.others and not view.columns:
        notes.append(f"different as well: {some_of(view.others, _MOST_NAMED)}; --columns all shows them")
    if view.verdict is not None:
        notes.append(view.verdict.sentence)
    if notes:
        show(*notes)


def _draw(given: Given, view: View, sweeps: Sequence[Sweep]) -> dict[Path, bytes]:
    if given.curves is None and given.history is None:
        return {}
    from nnkit.analysis import charts
    from nnkit.analysis.selection import labels

    drawn = {}
    if given.curves is not None:
        named = labels(view.rows, view.keys)
        drawn[given.curves] = charts.learning_curves(view.rows, named, given.curves.suffix[1:].lower())
    if given.history is not None:
        drawn[given.history] = charts.search_history(sweeps[0], given.history.suffix[1:].lower())
    return drawn
