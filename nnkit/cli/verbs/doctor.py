"""`nnkit doctor RUN`: what is in a run directory, what of it is sound, and what to type next."""

import argparse
from pathlib import Path

from nnkit.ui.terminal import show, table

_HELP = """\
Every checkpoint is read and its hash compared with its manifest. Nothing is changed, unless --repair is given: that
writes a config.yaml that is lost or garbled again, from the newest valid checkpoint. Exit codes: 0 sound; 1 something
is damaged or missing.
"""


def main(arguments: list[str]) -> int:
    """Examine the run named by the argument; return 1 if something is damaged."""
    parser = argparse.ArgumentParser(
        prog="nnkit doctor", description="Say what is in a run directory and what to type next.", epilog=_HELP
    )
    parser.add_argument("run", metavar="RUN", help="run directory, its unique prefix, or: last")
    parser.add_argument("--repair", action="store_true", help="write a lost config.yaml again")
    parser.add_argument(
        "--output-dir", type=Path, default=Path("outputs"), metavar="DIR", help="default: outputs"
    )
    given = parser.parse_args(arguments)
    from rich.text import Text

    from nnkit.runs.doctor import advice, examine, find_damaged, repair

    run = find_damaged(given.run, given.output_dir)
    report = examine(run)
    if given.repair:
        repair(run, report)
        report = examine(run)
    # As text: what stands in brackets is no markup.
    show(table(("  what", "result", ""), report.rows, str(run.path)), Text(f"next: {advice(run, report)}"))
    return 1 if report.problems else 0
