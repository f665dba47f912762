"""`nnkit worker SWEEP`: take trials of a sweep, beside other workers on this machine and on others."""

from nnkit.cli.parser import Given
from nnkit.cli.verbs import OUTPUT_DIR, Argument, Option, Verb
from nnkit.errors import UserError

VERB = Verb(
    "worker",
    (
        Argument("sweep", "SWEEP", "directory or name of a sweep", complete="sweeps"),
        Argument(
            "overrides",
            "KEY=VALUE",
            "hydra.launcher.n_jobs=2 trials at a time; hydra.sweeper.storage=URL",
            required=False,
            many=True,
        ),
    ),
    (
        Option(
            "--submit", "start N workers as jobs of a cluster, by submitit, and leave", "N", int, at_least=1
        ),
        Option(
            "--cluster",
            "which: slurm, or local processes",
            "NAME",
            choices=("slurm", "local"),
            without="slurm",
        ),
        Option(
            "--job",
            "how each job runs: timeout_min, cpus_per_task, slurm_partition, ...",
            "KEY=VALUE",
            many=True,
        ),
        OUTPUT_DIR,
    ),
    (
        "Any number of workers, on any machines that see the sweep's directory and its storage, share its trials: each "
        "is run by one of them at a time. A worker that is stopped gives its trials back; those of one that is lost "
        "are taken over after hydra.launcher.lease seconds and continued exactly. A worker ends when all trials are "
        "over.",
        "A sweep that workers alone run is begun with: nnkit train -m ... hydra.launcher.n_jobs=0 name=shared",
    ),
    (
        ("nnkit worker shared", "take trials until all are over"),
        ("nnkit worker shared hydra.launcher.n_jobs=2", "two at a time"),
        ("nnkit worker shared --submit 8 --job timeout_min=240 --job cpus_per_task=4", "eight jobs of SLURM"),
    ),
)


def run(given: Given) -> int:
    """Run trials of a sweep."""
    from nnkit.sweep.directory import all_sweeps, find_sweep

    found = find_sweep(given.sweep, given.output_dir)
    if found is None:
        from nnkit.suggest import did_you_mean

        names = [sweep.path.name for sweep in all_sweeps(given.output_dir)]
        raise UserError(
            f"no sweep {given.sweep!r} below {given.output_dir}/sweeps"
            f"{did_you_mean(given.sweep, names) or ': begin one with nnkit train -m'}"
        )
    if given.submit is not None:
        from nnkit.sweep.submission import submit

        return submit(found, given.overrides, given.submit, given.cluster, given.job)
    if given.job:
        raise UserError("--job goes with --submit N")
    from nnkit.sweep.pool import warm_up

    # The server imports what trials need while this process imports what it needs itself.
    warm_up()
    from nnkit.sweep.worker import work

    return work(found, given.overrides)
