"""`nnkit resume RUN`: continue a run in its own directory, exactly."""

import argparse


def main(arguments: list[str]) -> int:
    """Resume the run named by the argument."""
    parser = argparse.ArgumentParser(prog="nnkit resume", description=__doc__)
    parser.add_argument("run", metavar="RUN", help="run directory, its unique prefix, or: last")
    parser.add_argument(
        "--output-dir", default="outputs", help="where runs are looked for (default: outputs)"
    )
    given = parser.parse_args(arguments)
    from nnkit.training import resume

    resume(given.run, given.output_dir)
    return 0
