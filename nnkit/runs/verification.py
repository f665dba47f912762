"""`nnkit resume RUN --verify`: prove on a run's own config that killing and resuming it changes nothing."""

from __future__ import annotations

import json
import multiprocessing
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nnkit import config as configs
from nnkit import factory
from nnkit.callbacks.probe import TRACE, Die, Trace
from nnkit.checkpoint.compare import run_differences
from nnkit.errors import EnvironmentFault, NnkitError, UserError
from nnkit.files import atomic
from nnkit.files.layout import CONFIG, METRICS, PREPROCESSING
from nnkit.runs.run import Run, find_run
from nnkit.ui import report

if TYPE_CHECKING:
    from omegaconf import DictConfig

_SHOWN = 8
_EQUAL = "weights, optimizer, schedule, generators, counters, callbacks and metrics.jsonl are the same to the last bit"
_NOT_REPEATABLE = (
    "something draws numbers of its own or computes in no fixed order: no resume of it can be exact"
)
# A probe runs without these: nobody reads their output.
_SILENT = ("progress", "pictures", "samples", "attention", "throughput")


class Kill(NamedTuple):
    """Where a probe is killed.

    Attributes:
        step: Optimizer step.
        saved: Whether the step's checkpoint is waited for; otherwise the kill comes right after the step, before
            anything that follows it: on an epoch's last step, before its validation and its end.
    """

    step: int
    saved: bool


@dataclass(frozen=True)
class Compared:
    """What the comparison of two probes came to.

    Attributes:
        title: What was compared.
        found: What differs, by name; empty if nothing does.
        first: The first layer or batch that differs, in words; empty if none was seen.
    """

    title: str
    found: list[str]
    first: str


def verify(spec: str, output_dir: str = "outputs", num_steps: int = 16) -> int:
    """Train some steps of a run's config twice undisturbed and once with kills, in processes of their own, and compare.

    The epochs are cut short, so that the steps pass validations and ends of epochs. The run itself is only read.

    Args:
        spec: Run directory, unique prefix, or "last".
        output_dir: Where runs are looked for.
        num_steps: Optimizer steps of each training, at least 4.

    Returns:
        0 if all three are equal to the last bit, 1 if not.

    Raises:
        UserError: If there is no such run, or it keeps no checkpoints.
        EnvironmentFault: If a probe cannot be trained.
    """
    run = find_run(spec, Path(output_dir))
    config = configs.load(run.path / CONFIG)
    factory.refuse_untrusted(config)
    batches = shorten(config, num_steps)
    kills = plan(num_steps, batches)
    with tempfile.TemporaryDirectory(prefix="nnkit-verify-") as folder:
        whole, again, killed = (
            _probe(Path(folder) / name, run, config) for name in ("whole", "again", "killed")
        )
        for number, probe in enumerate((whole, again)):
            with _said(f"training {num_steps} steps, undisturbed ({number + 1} of 2)"):
                _train(probe, None)
        for number, kill in enumerate(kills):
            with _said(f"killing at step {kill.step} ({number + 1} of {len(kills)})"):
                _train(killed, kill)
        with _said("resuming to the end"):
            _train(killed, None)
        rows = [json.loads(line)["split"] for line in atomic.read(whole / METRICS).splitlines()]
        passed = f"{num_steps} steps, {rows.count('val')} validations, {rows.count('epoch')} ends of epochs"
        verdicts = [
            compare(whole, again, "the same training twice, undisturbed"),
            compare(
                whole,
                killed,
                f"undisturbed, and killed at steps {', '.join(str(kill.step) for kill in kills)}",
            ),
        ]
    return _tell(run, passed, verdicts)


def shorten(config: DictConfig, num_steps: int) -> int:
    """Turn a run's config into that of a probe: few steps, short epochs, a checkpoint at every step, nothing shown.

    Args:
        config: The saved config; changed in place.
        num_steps: Optimizer steps to train.

    Returns:
        Steps in an epoch, at most.

    Raises:
        UserError: If the run keeps no checkpoints.
    """
    trainer = config.trainer
    configs.set_values(
        config,
        callbacks={
            name: node for name, node in (config.get("callbacks") or {}).items() if name not in _SILENT
        },
        logger={},
        # The weights beneath an adapter are those of the run; any others are as good as trained ones.
        init_from=config.init_from if config.get("adapter") is not None else None,
        name=None,
    )
    checkpointing = [node for node in config.callbacks.values() if "keep_last" in node]
    if not checkpointing:
        raise UserError(
            "this run keeps no checkpoints (callbacks=[checkpoint] does): nothing could be resumed"
        )
    configs.set_values(checkpointing[0], every_n_steps=1, every_n_minutes=None)
    steps = max(num_steps // 3, 2)
    batches = steps * trainer.accumulate_grad_batches
    interval = trainer.val_check_interval
    configs.set_values(
        trainer,
        max_steps=num_steps,
        max_epochs=-1,
        max_time=None,
        min_epochs=None,
        min_steps=None,
        limit_train_batches=_at_most(trainer.limit_train_batches, batches),
        limit_val_batches=_at_most(trainer.limit_val_batches, 2),
        limit_test_batches=_at_most(trainer.limit_test_batches, 2),
        val_check_interval=min(interval, batches) if isinstance(interval, int) else interval,
        log_every_n_steps=1,
        profiler=None,
    )
    return steps


def _at_most(limit: float, batches: int) -> float:
    """Return the smaller of two limits; a share of the batches counts as large."""
    return min(limit, batches) if isinstance(limit, int) or limit == 0 else batches


def plan(num_steps: int, steps_per_epoch: int) -> list[Kill]:
    """Return where to kill: inside the first epoch, on the last step of the second, and near the end."""
    kills = [Kill(steps_per_epoch // 2, True), Kill(2 * steps_per_epoch, False), Kill(num_steps - 1, False)]
    return [kill for kill in kills if 0 < kill.step < num_steps]


def compare(expected: Path, found: Path, title: str) -> Compared:
    """Compare the ends of two probes."""
    differing = list(run_differences(expected, found))
    return Compared(title, differing, _first_difference(expected, found) if differing else "")


def _first_difference(expected: Path, found: Path) -> str:
    """Return the first batch or layer, in the order of computation, whose content differs."""
    left, right = (_traces(path) for path in (expected, found))
    for step in sorted(left.keys() & right.keys()):
        for (name, kind, one), (_, _, other) in zip(left[step], right[step], strict=False):
            if one != other:
                return f"batch {step + 1}: {name} ({kind}) is the first that differs, and all before it are equal"
    return "every batch and every layer's output is equal: it is the optimizer, the schedule or a callback"


def _traces(path: Path) -> dict[int, list[list[str]]]:
    # A batch that was trained again after a kill counts as it was last.
    rows = [
        json.loads(line) for line in atomic.read(path / TRACE).decode().splitlines() if line.endswith("}")
    ]
    return {row["batch"]: row["outputs"] for row in rows}


def _probe(path: Path, run: Run, config: DictConfig) -> Path:
    path.mkdir()
    atomic.write_json(path / PREPROCESSING, run.preprocessing())
    begun = run.record().get("init_from")
    facts = {"status": "running", "choices": run.choices(), "parameters": 0, "init_from": begun}
    atomic.write_json(path / "run.json", facts)
    atomic.write_atomic(path / CONFIG, configs.to_yaml(config).encode())
    return path


def _train(path: Path, kill: Kill | None) -> None:
    """Train a probe in a process that has imported everything and computed nothing.

    Raises:
        EnvironmentFault: If it ends otherwise than it should, with what it said.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["nnkit.runs.resuming"])
    process = context.Process(target=_work, args=(str(path), kill, dict(os.environ)), name="nnkit-probe")
    process.start()
    try:
        process.join()
    finally:
        if process.is_alive():
            process.kill()
    killed = process.exitcode is not None and process.exitcode < 0
    if killed != (kill is not None) or (process.exitcode or 0) > 0:
        said = (path / "said.txt").read_text(encoding="utf-8").strip() if (path / "said.txt").exists() else ""
        raise EnvironmentFault(
            f"the training to be compared failed: {said or f'exit code {process.exitcode}'}"
        )


def _work(path: str, kill: Kill | None, environment: dict[str, str]) -> None:
    """Run in the process of a probe."""
    # The server that forks has the environment of its own start.
    os.environ.update(environment)
    from nnkit.runs.resuming import resume_held

    run = Run(Path(path))
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    extra = [Trace(run.path), *([Die(*kill)] if kill is not None else [])]
    try:
        with run.locked():
            resume_held(run, show=False, extra=extra)
    except NnkitError as error:
        (run.path / "said.txt").write_text(str(error), encoding="utf-8")
        raise SystemExit(1) from error


@contextmanager
def _said(text: str) -> Iterator[None]:
    console = report.console()
    if console.is_terminal:
        with console.status(text):
            yield
    else:
        console.print(text)
        yield


def _tell(run: Run, passed: str, verdicts: Sequence[Compared]) -> int:
    """Print the verdicts and return the exit code."""
    console = report.console()
    exact = not any(verdict.found for verdict in verdicts)
    results = {one.title: f"{len(one.found)} differ" if one.found else "equal" for one in verdicts}
    title = f"{report.shorten(run.path)}: {'exact' if exact else 'not exact'}"
    console.print(report.results_table({}, results, title))
    for verdict in verdicts:
        if verdict.found:
            console.print(f"not exact: {verdict.title}", soft_wrap=True)
            more = len(verdict.found) - _SHOWN
            for line in [verdict.first, *verdict.found[:_SHOWN], *([f"and {more} more"] if more > 0 else [])]:
                console.print(f"    {line}", soft_wrap=True, markup=False)
    if verdicts[0].found:
        console.print(f"    {_NOT_REPEATABLE}", soft_wrap=True)
    elif exact:
        console.print(f"{passed}: {_EQUAL}", soft_wrap=True)
    return 0 if exact else 1
