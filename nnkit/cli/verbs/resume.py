"""`nnkit resume RUN|SWEEP [KEY=VALUE ...]`: continue a run, or a whole sweep, in its own directory, exactly."""

import argparse
from pathlib import Path

from nnkit.sweep.directory import find_run_near, find_sweep

_HELP = """\
Values may be changed as long as they leave the arithmetic alone: logging, checkpoints, another device, where the data
lie. More epochs are fine with a schedule that has no length (scheduler=constant or plateau). Anything else needs
--allow KEY, as the run would no longer be the one that was started.

Of a sweep, finished trials are left alone and interrupted ones go on; failed ones are begun again with --retry-failed.

examples:
  nnkit resume last
  nnkit resume last trainer.max_epochs=20
  nnkit resume lenet5-mnist/2026-11 callbacks.nan_guard.policy=skip
  nnkit resume last optimizer.lr=1e-4 --allow optimizer.lr
  nnkit resume last --verify
  nnkit resume outputs/sweeps/NAME --retry-failed
"""


def main(arguments: list[str]) -> int:
    """Resume the run or the sweep named by the argument, or prove that resuming a run is exact."""
    parser = _parser()
    given = parser.parse_intermixed_args(arguments)
    found = find_sweep(given.run, Path(given.output_dir))
    if given.verify:
        if given.overrides or given.allow or given.retry_failed:
            parser.error("--verify takes no changes: it proves the run as it is")
        if given.steps < 4:
            parser.error(f"--steps must be at least 4, not {given.steps}")
        if found is not None:
            parser.error(f"--verify proves one run: {found.path}/TRIAL")
        from nnkit.runs.verification import verify

        return verify(given.run, given.output_dir, given.steps)
    if found is not None:
        if given.allow:
            parser.error("--allow belongs to a single run: the trials of a sweep stay as they are")
        from nnkit.sweep.pool import warm_up

        # The server imports what trials need while this process imports what it needs itself.
        warm_up()
        from nnkit.sweep.driver import resume_sweep

        return resume_sweep(found, given.overrides, given.retry_failed)
    if given.retry_failed:
        parser.error(f"--retry-failed belongs to a sweep, and {given.run} is none")
    from nnkit.runs.resuming import resume

    run = find_run_near(given.run, Path(given.output_dir))
    resume(str(run.path), given.output_dir, given.overrides, given.allow)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nnkit resume",
        description="Continue a run in its own directory, exactly.",
        epilog=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", metavar="RUN", help="run directory, its unique prefix, or: last; or a sweep")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="values to change")
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="KEY",
        help="let KEY change although the weights will differ",
    )
    parser.add_argument(
        "--retry-failed", action="store_true", help="of a sweep: begin failed trials again as well"
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
    return parser
