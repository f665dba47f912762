"""`nnkit resume RUN [KEY=VALUE ...]`: continue a run in its own directory, exactly."""

import argparse

_HELP = """\
Values may be changed as long as they leave the arithmetic alone: logging, checkpoints, another device, where the data
lie. More epochs are fine with a schedule that has no length (scheduler=constant or plateau). Anything else needs
--allow KEY, as the run would no longer be the one that was started.

examples:
  nnkit resume last
  nnkit resume last trainer.max_epochs=20
  nnkit resume lenet5-mnist/2026-11 callbacks.nan_guard.policy=skip
  nnkit resume last optimizer.lr=1e-4 --allow optimizer.lr
  nnkit resume last --verify
"""


def main(arguments: list[str]) -> int:
    """Resume the run named by the argument, or prove that resuming it is exact."""
    parser = argparse.ArgumentParser(
        prog="nnkit resume",
        description="Continue a run in its own directory, exactly.",
        epilog=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", metavar="RUN", help="run directory, its unique prefix, or: last")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="values to change")
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="KEY",
        help="let KEY change although the weights will differ",
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="prove that this run resumes exactly; the run itself is not touched",
    )
    parser.add_argument(
        "--steps", type=int, default=16, metavar="K", help="with --verify: steps to train (default: 16)"
    )
    parser.add_argument(
        "--output-dir", default="outputs", help="where runs are looked for (default: outputs)"
    )
    given = parser.parse_intermixed_args(arguments)
    if given.verify:
        if given.overrides or given.allow:
            parser.error("--verify takes no changes: it proves the run as it is")
        if given.steps < 4:
            parser.error(f"--steps must be at least 4, not {given.steps}")
        from nnkit.verification import verify

        return verify(given.run, given.output_dir, given.steps)
    from nnkit.resuming import resume

    resume(given.run, given.output_dir, given.overrides, given.allow)
    return 0
