"""`nnkit test RUN`: the best checkpoint on the test part, from the run directory alone."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnkit import logs, report
from nnkit.fit import evaluate
from nnkit.reopen import open_run
from nnkit.run import LOG, find_run


def test(spec: str, output_dir: str = "outputs") -> dict[str, float]:
    """Test a run and print its table.

    Args:
        spec: Run directory, unique prefix, or "last".
        output_dir: Where runs are looked for.
    """
    run = find_run(spec, Path(output_dir))
    with logs.to_file(run.path / LOG):
        opened = open_run(run)
        metrics = evaluate(opened.session, run.path)
    facts = {"checkpoint": opened.manifest.file, "run": report.shorten(run.path)}
    report.console().print(report.results_table(metrics, facts, "test"))
    return metrics


def main(arguments: list[str]) -> int:
    """Test the run named by the argument."""
    parser = argparse.ArgumentParser(prog="nnkit test", description=__doc__)
    parser.add_argument("run", metavar="RUN", help="run directory, its unique prefix, or: last")
    parser.add_argument(
        "--output-dir", default="outputs", help="where runs are looked for (default: outputs)"
    )
    given = parser.parse_args(arguments)
    test(given.run, given.output_dir)
    return 0
