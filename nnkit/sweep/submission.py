"""Workers as jobs of a cluster, started by submitit (https://github.com/facebookincubator/submitit)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nnkit.errors import EnvironmentFault, NnkitError, UserError
from nnkit.machine import signals
from nnkit.sweep.directory import Sweep, without_password
from nnkit.sweep.worker import asked, work
from nnkit.ui import logs
from nnkit.ui.report import shorten, show
from nnkit.ui.terminal import printable

# Where submitit keeps its files, in the sweep's directory.
_FOLDER = ".submitit"
# One of these says how long a job may take: submitit's own five minutes are hardly meant.
_TIMES = ("timeout_min", "slurm_time")
# How many times a worker may be queued again because its time was up: as many as it takes.
_AGAIN = 1_000_000


@dataclass(frozen=True)
class WorkerJob:
    """A worker as submitit calls it on another machine; it travels by pickle, so it holds plain data.

    Attributes:
        sweep: The sweep's directory.
        words: How the worker runs its trials.
    """

    sweep: Path
    words: tuple[str, ...]

    def __call__(self) -> int:
        """Run trials until all are over; return the exit code of `nnkit worker`."""
        logs.set_up()
        try:
            with signals.taken():
                return work(Sweep(self.sweep), self.words)
        except signals.Stopped as stopped:
            return 128 + stopped.number
        except NnkitError as error:
            sys.stderr.write(f"nnkit: {printable(str(error))}\n")
            return error.exit_code

    def checkpoint(self) -> Any:
        """Return what is queued again when the job is preempted or its time is up; its trials are given back."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def submit(found: Sweep, words: Sequence[str], count: int, cluster: str, parameters: Sequence[str]) -> int:
    """Submit workers as jobs, print their numbers, and leave them to the cluster.

    Args:
        found: The sweep.
        words: How each worker runs its trials.
        count: How many workers.
        cluster: "slurm"; "local" for processes of this machine.
        parameters: Of each job, as submitit calls them: ``("timeout_min=240", "slurm_partition=gpu")``.

    Returns:
        0.

    Raises:
        UserError: If submitit is not installed, a parameter is wrong, or a password was typed.
        EnvironmentFault: If the cluster does not take the jobs.
    """
    if find_spec("submitit") is None:
        raise UserError("--submit needs the package submitit\n    pip install submitit")
    new = asked(found, words)
    if new.sweeper.storage != without_password(new.sweeper.storage):
        raise UserError(
            "the jobs' files would hold the password of the storage: leave it out of the URL\n"
            "    its driver finds it where the user keeps it, such as ~/.pgpass for PostgreSQL"
        )
    values = _values(parameters)
    import submitit

    folder = found.path / _FOLDER
    try:
        executor = submitit.AutoExecutor(folder=folder / "%j", cluster=cluster, slurm_max_num_timeout=_AGAIN)
        executor.update_parameters(**{"name": f"nnkit-{found.path.name}", **values})
    except (NameError, AssertionError, TypeError, ValueError) as error:
        raise UserError(f"--job: {str(error).splitlines()[0]}") from error
    except (RuntimeError, OSError) as error:
        raise EnvironmentFault(f"{cluster} takes no jobs here: {error}") from error
    job = WorkerJob(found.path.absolute(), tuple(words))
    try:
        with executor.batch():
            jobs = [executor.submit(job) for _ in range(count)]
    except (submitit.core.utils.FailedJobError, OSError) as error:
        raise EnvironmentFault(f"{cluster} refuses the jobs: {error}") from error
    numbers = ", ".join(one.job_id for one in jobs)
    show(f"submitted to {cluster}: {numbers}; what they print: {shorten(folder)}/JOB/JOB_0_log.out")
    return 0


def _values(parameters: Sequence[str]) -> dict[str, Any]:
    """Return the parameters of a job by name, numbers as numbers."""
    values: dict[str, Any] = {}
    for word in parameters:
        name, equals, text = word.partition("=")
        if not equals or not name.isidentifier():
            raise UserError(f"--job {word}: must be KEY=VALUE, such as timeout_min=240")
        values[name] = int(text) if text.isdigit() else text
    if not any(name in values for name in _TIMES):
        raise UserError("--submit: how long may each job take?\n    in minutes: --job timeout_min=240")
    return values
