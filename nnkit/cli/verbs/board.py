"""`nnkit board [RUN|SWEEP|DIR]`: TensorBoard in the browser of this machine, until Ctrl-C."""

import sys
import threading
from pathlib import Path

from nnkit.cli.parser import Given
from nnkit.cli.verbs import OUTPUT_DIR, Argument, Option, Verb
from nnkit.files.paths import expand
from nnkit.ui.board import check_events, start
from nnkit.ui.terminal import printable

VERB = Verb(
    "board",
    (
        Argument(
            "where",
            "RUN|SWEEP|DIR",
            "a run, a sweep or any directory; default: all runs",
            required=False,
            complete="runs and sweeps",
        ),
    ),
    (Option("--port", "where it listens; default: a free port", "N", int, at_least=1, without=0), OUTPUT_DIR),
    (
        "The address is printed; other machines cannot reach it. Ctrl-C ends it. To see it from another one, forward "
        "the port: ssh -L 6006:127.0.0.1:6006 MACHINE nnkit board --port 6006",
    ),
    (
        ("nnkit board", "all runs and sweeps"),
        ("nnkit board last", "the latest run"),
    ),
)


def run(given: Given) -> int:
    """Start TensorBoard, print its address, and wait for Ctrl-C."""
    directory = given.output_dir if given.where is None else _found(given.where, given.output_dir)
    check_events(directory)
    address = start(directory, given.port)
    sys.stdout.write(f"{address}\n    {printable(str(directory))} in TensorBoard; Ctrl-C ends it\n")
    sys.stdout.flush()
    # A signal breaks this off.
    threading.Event().wait()
    return 0


def _found(where: str, output_dir: Path) -> Path:
    """Return the directory of a sweep, of any name that is one, or of a run."""
    from nnkit.sweep.directory import find_run_near, find_sweep

    sweep = find_sweep(where, output_dir)
    if sweep is not None:
        return sweep.path
    path = expand(where)
    return path if path.is_dir() else find_run_near(where, output_dir).path
