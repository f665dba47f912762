"""`nnkit resume RUN|SWEEP [KEY=VALUE ...]`: continue a run, or a whole sweep, in its own directory, exactly."""

from nnkit.cli.parser import Given
from nnkit.cli.processes import in_processes
from nnkit.cli.verbs import OUTPUT_DIR, RUN, Argument, Option, Verb
from nnkit.errors import UserError

VERB = Verb(
    "resume",
    (
        RUN._replace(help=f"{RUN.help}; or a sweep", complete="unfinished"),
        Argument("overrides", "KEY=VALUE", "values to change", required=False, many=True),
    ),
    (
        Option("--allow", "let KEY change although the weights will differ", "KEY", many=True),
        Option("--retry-failed", "of a sweep: begin failed trials again as well"),
        Option("--verify", "prove that this run resumes exactly; the run itself is not touched"),
        Option("--steps", "with --verify: steps to train", "K", int, at_least=4, without=16),
        OUTPUT_DIR,
    ),
    (
        "Values may be changed as long as they leave the arithmetic alone: logging, checkpoints, another device, "
        "where the data lie. More epochs are fine with a schedule that has no length (scheduler=constant or "
        "plateau). Anything else needs --allow KEY, as the run would no longer be the one that was started.",
        "Of a sweep, finished trials are left alone and interrupted ones go on; failed ones are begun again with "
        "--retry-failed.",
    ),
    (
        ("nnkit resume last", "continue the latest run"),
        ("nnkit resume last trainer.max_epochs=20", "train longer"),
        ("nnkit resume lenet5-mnist/2026-11 callbacks.nan_guard.policy=skip", ""),
        ("nnkit resume last optimizer.lr=1e-4 --allow optimizer.lr", ""),
        ("nnkit resume last --verify", "prove that it resumes exactly"),
        ("nnkit resume outputs/sweeps/NAME --retry-failed", ""),
    ),
)


def run(given: Given) -> int:
    """Resume a run or a sweep, or prove that resuming a run is exact."""
    from nnkit.sweep.directory import find_sweep

    found = find_sweep(given.run, given.output_dir)
    if given.verify:
        if given.overrides or given.allow or given.retry_failed:
            raise UserError("--verify takes no changes: it proves the run as it is")
        if found is not None:
            raise UserError(f"--verify proves one run: {found.path}/TRIAL")
        from nnkit.runs.verification import verify

        return verify(given.run, given.output_dir, given.steps)
    if found is not None:
        if given.allow:
            raise UserError("--allow belongs to a single run: the trials of a sweep stay as they are")
        from nnkit.sweep.driver import resume_sweep

        return resume_sweep(found, given.overrides, given.retry_failed)
    if given.retry_failed:
        raise UserError(f"--retry-failed belongs to a sweep, and {given.run} is none")
    return in_processes(lambda: _resume(given))


def _resume(given: Given) -> None:
    from nnkit.analysis.report.ending import Reporting
    from nnkit.runs.resuming import resume
    from nnkit.sweep.directory import find_run_near

    begun = find_run_near(given.run, given.output_dir)
    reporting = Reporting()
    result = resume(str(begun.path), given.output_dir, given.overrides, given.allow, extra=[reporting])
    reporting.write(result, show=True)
