"""`nnkit resume RUN`: continue a run in its own directory, exactly."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnkit import build, report
from nnkit import config as configs
from nnkit.checkpoint.store import CheckpointStore
from nnkit.errors import UserError
from nnkit.fit import Result, fit
from nnkit.run import CONFIG, find_run, now, start_record
from nnkit.session import check_devices, fix_arithmetic, make_session, prepare_data


def resume(spec: str, output_dir: str = "outputs", show: bool = True) -> Result:
    """Continue a run in its own directory from its newest valid checkpoint.

    Args:
        spec: Run directory, unique prefix, or "last".
        output_dir: Where runs are looked for.
        show: Whether to print the table of results.

    Raises:
        UserError: If there is no such run, it is finished, or another process trains it.
    """
    run = find_run(spec, Path(output_dir))
    with run.locked():
        if run.record().get("status") == "done":
            raise UserError(f"{run.path} is finished; test it with: nnkit test {run.path}")
        config, choices = configs.load(run.path / CONFIG)
        choices = choices or run.record()["choices"]
        build.refuse_untrusted(config)
        check_devices(config)
        fix_arithmetic(config)
        session = make_session(config, choices, prepare_data(config, run.preprocessing()))
        store = CheckpointStore(run.checkpoints)
        newest = store.load("last") if store.manifests() else None
        if newest is None:
            report.console().print(f"{report.shorten(run.path)} holds no checkpoint: starting at step 0")
        run.update(
            status="running",
            pid=start_record()["pid"],
            end=None,
            resumed=[*run.record().get("resumed", []), now()],
        )
        return fit(session, run, newest, show)


def main(arguments: list[str]) -> int:
    """Resume the run named by the argument."""
    parser = argparse.ArgumentParser(prog="nnkit resume", description=__doc__)
    parser.add_argument("run", metavar="RUN", help="run directory, its unique prefix, or: last")
    parser.add_argument(
        "--output-dir", default="outputs", help="where runs are looked for (default: outputs)"
    )
    given = parser.parse_args(arguments)
    resume(given.run, given.output_dir)
    return 0
