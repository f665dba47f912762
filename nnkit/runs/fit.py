"""Fit, test the best checkpoint, and keep the run's record true whatever happens; test a run once more."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnkit import config as configs
from nnkit.callbacks.checkpoint import Checkpointing
from nnkit.callbacks.progress import Progress
from nnkit.callbacks.record import Record, cut_after, plain_metrics
from nnkit.callbacks.signals import Interrupted, StopSignal, leave_if_stopped
from nnkit.callbacks.state import Origin, SaveState, share_of
from nnkit.callbacks.stopping import Ending
from nnkit.checkpoint.formats import KEY
from nnkit.checkpoint.manifest import Manifest
from nnkit.checkpoint.plugin import StoreIO, position
from nnkit.checkpoint.store import CheckpointStore
from nnkit.data.locating import fingerprint_of, refuse_missing
from nnkit.distributed import collectives
from nnkit.distributed.channel import SIGNALLED, PeerEnded
from nnkit.distributed.group import group, together
from nnkit.files import atomic
from nnkit.files.layout import LOG, PROFILE, TESTS, TIMING
from nnkit.files.paths import expand
from nnkit.machine import signals
from nnkit.machine.faults import explained
from nnkit.runs.hooks import without_empty_hooks
from nnkit.runs.profiling import Kept, head
from nnkit.runs.reopen import open_run
from nnkit.runs.run import Run, find_run, model_name, now
from nnkit.runs.run_loggers import finish, flush, make_loggers
from nnkit.runs.session import Session, build_all, made_whole, make_trainer
from nnkit.ui import logs, report

if TYPE_CHECKING:
    from lightning.pytorch import Callback, Trainer

# A checkpoint's manifest and its verified state.
Loaded = tuple[Manifest, dict[str, Any]]


@dataclass(frozen=True)
class Result:
    """What training ends with.

    Attributes:
        run: The run directory.
        metrics: Test metrics of the best checkpoint, such as "test/accuracy", and its validation score.
        seconds: Time spent in training and validation.
        session: The data and the task, the best weights loaded.
    """

    run: Run
    metrics: dict[str, float]
    seconds: float
    session: Session = field(repr=False)


def fit(
    session: Session, run: Run, checkpoint: Loaded | None, show: bool, extra: Sequence[Callback] = ()
) -> Result:
    """Train to the end, test the best checkpoint, and keep the run's record true whatever happens.

    Args:
        session: The parts of the run.
        run: Its directory, held by this process.
        checkpoint: Where to continue; None starts at step 0.
        show: Whether to print progress and the table of results.
        extra: Callbacks beside those of the config; they take part in the test as well.

    Raises:
        Interrupted: If a signal has ended the run.
        EnvironmentFault: If something cannot be read or written, or a worker process died.
    """
    config, store, start = session.config, CheckpointStore(run.checkpoints), time.perf_counter()
    _call_the_others(session, run, checkpoint)
    atomic.remove_temporaries(run.path)
    store.prepare()
    with ExitStack() as stack:
        stack.enter_context(signals.noted())
        stack.enter_context(logs.to_file(run.path / LOG))
        step = -1 if checkpoint is None else checkpoint[0].step
        record = Record(run.path)
        if checkpoint is None:
            record.cut_back(0)
        else:
            record.cut_back(checkpoint[1][KEY]["num_lines"], step)
        cut_after(run.path / TIMING, step)
        loggers = make_loggers(session, run.path, step, record)
        for logger in loggers:
            stack.callback(logger.close)
        io = StoreIO(store, partial(flush, loggers), own_share(checkpoint))
        stack.callback(io.teardown)
        chosen = [one for one in build_all("callbacks", config) if show or not isinstance(one, Progress)]
        trainer = trainer_of(
            session, run, record, chosen=[*chosen, *extra], loggers=loggers, io=io, checkpoint=checkpoint
        )
        try:
            with together(group()), explained():
                run_trainer(session, trainer, store, checkpoint)
                io.flush()
                made_whole(session)
                _prune(trainer, store)
                _keep_profile(trainer, run, show)
                seconds = time.perf_counter() - start
                return _finish(session, run, trainer, record, seconds=seconds, show=show, extra=extra)
        except Interrupted as signalled:
            run.update(status="stopped", end=now(), step=trainer.global_step)
            where = f" at step {trainer.global_step}; continue with: nnkit resume {report.shorten(run.path)}"
            raise Interrupted(signalled.number, signalled.saved, where) from None
        except BaseException as error:
            session.data.on_exception(error)
            # A signal may have ended another process, before there was anything to save.
            by_signal = isinstance(error, PeerEnded) and error.exit_code > SIGNALLED
            left = isinstance(error, KeyboardInterrupt | SystemExit)
            status = "stopped" if left or by_signal else "failed"
            # On a full disk this fails as well; the first error is the one to report.
            with suppress(atomic.WriteFault):
                run.update(
                    status=status, end=now(), step=trainer.global_step, error=str(error).split("\n")[0]
                )
            raise


def _call_the_others(session: Session, run: Run, checkpoint: Loaded | None) -> None:
    """Tell the processes that wait for it what is trained; they read it from here and from the run directory."""
    if (found := group()) is not None:
        found.channel.before_leaving = lambda text: run.update(
            status="failed", end=now(), error=text.split("\n")[0]
        )
        found.channel.send(
            run=str(run.path),
            config=configs.to_yaml(session.config),
            choices=dict(session.choices),
            preprocessing=session.data.preprocessing,
            base=None if session.base is None else session.base.spec(),
            checkpoint=None if checkpoint is None else [checkpoint[0].name, checkpoint[0].sha256],
            stopped=checkpoint is not None and checkpoint[1][KEY]["stopped"],
        )


def own_share(checkpoint: Loaded | None) -> Loaded | None:
    """Return a checkpoint with what is this process's own in it."""
    return checkpoint and (checkpoint[0], share_of(checkpoint[1], collectives.rank(), collectives.size()))


def trainer_of(
    session: Session,
    run: Run,
    record: Record,
    *,
    chosen: Sequence[Callback],
    loggers: Sequence[Any],
    io: StoreIO,
    checkpoint: Loaded | None,
) -> Trainer:
    """Return the trainer of a run, its data put where they go on."""
    config, data = session.config, session.data
    stopped = False
    if checkpoint is not None:
        stopped = checkpoint[1][KEY]["stopped"]
        data.resume_at(*position(checkpoint[1]))
    data.repeats_epoch = bool(config.trainer.get("overfit_batches"))
    ending = Ending(config.trainer.max_steps, stopped)
    callbacks = [SaveState(_origin(session), record), record, *chosen, ending, StopSignal(ending)]
    validates = len(data.split("val")) > 0
    return make_trainer(config, run.path, callbacks, list(loggers), data=data, io=io, validates=validates)


def run_trainer(
    session: Session, trainer: Trainer, store: CheckpointStore, checkpoint: Loaded | None
) -> None:
    """Train, from a checkpoint if there is one."""
    path = None if checkpoint is None else str(store.directory / checkpoint[0].name)
    without_empty_hooks(session.task)
    trainer.fit(session.task, datamodule=session.data, ckpt_path=path, weights_only=True)


def _keep_profile(trainer: Trainer, run: Run, show: bool) -> None:
    """Write the profiler's report into the run directory, and print as much of it as a terminal can hold."""
    profiler = trainer.__dict__["profiler"]
    if not isinstance(profiler, Kept) or not profiler.report or not trainer.is_global_zero:
        return
    atomic.write_atomic(run.path / PROFILE, profiler.report.encode())
    if show:
        report.console().print(head(profiler.report), markup=False, highlight=False, soft_wrap=True)


def _prune(trainer: Trainer, store: CheckpointStore) -> None:
    """Prune at the end as well: a run that was killed right after its last save has nothing left to save."""
    kept = [one.keep_last for one in trainer.checkpoint_callbacks if isinstance(one, Checkpointing)]
    if kept and store.holds_any():
        store.settle(kept[0])


def _origin(session: Session) -> Origin:
    return Origin(
        config=lambda: configs.to_json(session.config),
        choices=session.choices,
        preprocessing_sha256=atomic.sha256(atomic.canonical(session.data.preprocessing)),
        data_fingerprint=session.data.preprocessing.get("fingerprint"),
        seed=session.config.seed,
        base=session.base,
    )


def _finish(
    session: Session,
    run: Run,
    trainer: Trainer,
    record: Record,
    *,
    seconds: float,
    show: bool,
    extra: Sequence[Callback],
) -> Result:
    leave_if_stopped()
    best, store = None, CheckpointStore(run.checkpoints)
    if store.holds_any():
        best, state = store.load("best")
        # Where several processes test, those of the first are everybody's. Beneath an adapter nothing has changed.
        beneath = session.task.state_dict() if session.base is not None else {}
        session.task.load_state_dict({**beneath, **state["state_dict"]})
    metrics = evaluate(session, run.path, [StopSignal(), *extra])
    record.write(trainer, "test", metrics)
    if best is not None and best.monitor is not None and best.score is not None:
        metrics = {**metrics, best.monitor: best.score}
    finish(session, trainer.loggers, metrics)
    # The log first: a run that is done is not resumed, so nothing would write its last line again.
    atomic.sync_file(record.path)
    compiled = session.task.compiled
    run.update(
        status="done",
        end=now(),
        step=trainer.global_step,
        **({} if compiled is None else {"compiled": compiled.facts()}),
        seconds=round(seconds, 3),
        metrics=metrics,
        best=best.name if best else None,
    )
    if show:
        facts = {
            "steps": trainer.global_step,
            "parameters": f"{sum(p.numel() for p in session.task.network.parameters() if p.requires_grad):,}",
            "training": f"{seconds:.1f} s",
            "best checkpoint" if best and best.score is not None else "last checkpoint": best.name
            if best
            else "none",
            "run": report.shorten(run.path),
        }
        report.console().print(report.results_table(metrics, facts, title_of(run)))
    return Result(run, metrics, seconds, session)


def title_of(run: Run) -> str:
    """Return what was trained on what."""
    begun, choices = run.record().get("init_from"), run.choices()
    directory = begun.get("directory") if isinstance(begun, dict) else None
    source = f" from {Path(directory).name}" if isinstance(directory, str) else ""
    return f"{model_name(choices, begun)}{source} on {choices.get('data')}"


def evaluate(session: Session, directory: Path, callbacks: Sequence[Callback] = ()) -> dict[str, float]:
    """Return the metrics on the test part; empty where there is none.

    Args:
        session: The data and the task.
        directory: The run directory.
        callbacks: Lightning callbacks that take part.
    """
    if session.data.tested_on is None and len(session.data.split("test")) == 0:
        return {}
    trainer = make_trainer(session.config, directory, list(callbacks), [], data=session.data)
    with explained():
        trainer.test(session.task, datamodule=session.data, verbose=False)
    return plain_metrics(trainer)


def test(spec: str, output_dir: str | Path = "outputs", path: str | None = None) -> dict[str, float]:
    """Test a run and print its table.

    Args:
        spec: Run directory, unique prefix, or "last".
        output_dir: Where runs are looked for.
        path: A file or folder with targets to test on, noted in the run directory; None: the run's own test split.

    Raises:
        UserError: If there is nothing to test on.
    """
    run = find_run(spec, Path(output_dir))
    with logs.to_file(run.path / LOG):
        opened = open_run(run)
        data = opened.session.data
        if path is None:
            refuse_missing(
                data, run.directory(), f"nnkit test {spec} FILE tests on another file of that kind"
            )
        else:
            data.tested_on = path
        metrics = evaluate(opened.session, run.path)
    facts = {"checkpoint": opened.manifest.name, "run": report.shorten(run.path)}
    if path is not None:
        facts["tested on"] = path
        note = {
            "time": now(),
            "path": str(expand(path).absolute()),
            "fingerprint": fingerprint_of(expand(path)),
            "checkpoint": opened.manifest.name,
            "metrics": metrics,
        }
        atomic.append_lines(run.path / TESTS, [json.dumps(note)])
    report.console().print(report.results_table(metrics, facts, "test"))
    return metrics
