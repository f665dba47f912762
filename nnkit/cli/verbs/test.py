"""`nnkit test RUN`: the best checkpoint on the test part, from the run directory alone."""

import argparse


def main(arguments: list[str]) -> int:
    """Test the run named by the argument."""
    parser = argparse.ArgumentParser(prog="nnkit test", description=__doc__)
    parser.add_argument("run", metavar="RUN", help="run directory, its unique prefix, or: last")
    parser.add_argument(
        "--output-dir", default="outputs", help="where runs are looked for (default: outputs)"
    )
    given = parser.parse_args(arguments)
    from nnkit.runs.evaluation import test

    test(given.run, given.output_dir)
    return 0
