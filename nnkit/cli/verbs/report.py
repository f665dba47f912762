"""`nnkit report RUN|SWEEP`: a run or a sweep on one page that can be sent to somebody."""

from __future__ import annotations

import sys
from pathlib import Path

from nnkit.cli.parser import Given
from nnkit.cli.verbs import OUTPUT_DIR, RUN, Option, Verb
from nnkit.errors import UserError
from nnkit.files.layout import REPORT
from nnkit.ui.report import shorten
from nnkit.ui.terminal import as_text

VERB = Verb(
    "report",
    (RUN._replace(metavar="RUN|SWEEP", help=f"{RUN.help}; or a sweep", complete="runs and sweeps"),),
    (
        Option("--out --output", f"write the page there (default: {REPORT} in the run)", "FILE.html", Path),
        OUTPUT_DIR,
    ),
    (
        "The page needs no network and runs no script; it is readable on a phone, in light and dark, and on paper. It "
        "shows what was trained with which command, learning curves, metrics with intervals, each class, confusion, "
        "calibration, the most certain mistakes, texts or forecasts, what the answers to three inputs rest on, and how "
        "to do it again.",
        "A training writes it at its end; report=false turns that off. Of a sweep, the page has the table with "
        "intervals over seeds, how much each axis matters, learning curves, and the command of the best trial.",
    ),
    (
        ("nnkit report last", ""),
        ("nnkit report last --out lenet.html", ""),
        ("nnkit report outputs/sweeps/NAME", "a sweep"),
    ),
)


def run(given: Given) -> int:
    """Write the page and print where it is."""
    check_place(given.output)
    from nnkit.sweep.directory import find_run_near, find_sweep

    sweep = find_sweep(given.run, given.output_dir)
    if sweep is not None:
        from nnkit.analysis.pages.page import page
        from nnkit.analysis.report.trials import sweep_report
        from nnkit.files import atomic

        path = given.output or sweep.path / REPORT
        atomic.write_atomic(path, page(sweep_report(sweep)).encode())
        sys.stdout.write(f"report: {as_text(shorten(path))}\n")
        return 0
    from nnkit.analysis.report.ending import write_report
    from nnkit.runs.reopen import open_run

    found = find_run_near(given.run, given.output_dir)
    path = given.output or found.path / REPORT
    session = open_run(found).session
    write_report(found, session.task, session.data, path)
    sys.stdout.write(f"report: {as_text(shorten(path))}\n")
    return 0


def check_place(path: Path | None) -> None:
    """Refuse a place that cannot be written to before anything is read."""
    if path is None:
        return
    if not path.parent.is_dir():
        raise UserError(f"--out {path}: there is no directory {path.parent}")
    if path.is_dir():
        raise UserError(f"--out {path} is a directory, a file is needed: --out {path / REPORT}")
