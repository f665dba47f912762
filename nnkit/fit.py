"""Fit, test the best checkpoint, and keep the run's record true whatever happens."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nnkit import config as configs
from nnkit import logs, report
from nnkit.callbacks.ending import ValidateAtEnd
from nnkit.callbacks.progress import Progress
from nnkit.callbacks.record import Record
from nnkit.callbacks.signals import Interrupted, StopSignal
from nnkit.checkpoint.plugin import StoreIO
from nnkit.checkpoint.store import CheckpointStore, Manifest
from nnkit.evaluation import evaluate
from nnkit.run import LOG, Run, now
from nnkit.session import SaveState, Session, build_all, make_trainer

if TYPE_CHECKING:
    from lightning.pytorch import Trainer
    from omegaconf import DictConfig


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


def fit(session: Session, run: Run, checkpoint: tuple[Manifest, dict[str, Any]] | None, show: bool) -> Result:
    """Train to the end, test the best checkpoint, and keep the run's record true whatever happens."""
    config, store = session.config, CheckpointStore(run.checkpoints)
    store.prepare()
    io, start = StoreIO(store), time.perf_counter()
    with ExitStack() as stack:
        stack.enter_context(logs.to_file(run.path / LOG))
        stack.callback(io.teardown)
        loggers = build_all("logger", config, save_dir=str(run.path), name="", version="tensorboard")
        record = Record(run.path)
        chosen = [one for one in build_all("callbacks", config) if show or not isinstance(one, Progress)]
        callbacks = [SaveState(session), record, *chosen, ValidateAtEnd(), StopSignal()]
        validates = len(session.data.split("val")) > 0
        trainer = make_trainer(config, run.path, callbacks, loggers, io=io, validates=validates)
        path = None
        if checkpoint is None:
            record.cut_back(-1)
        else:
            manifest, state = checkpoint
            path = str(store.directory / manifest.file)
            record.cut_back(manifest.step)
            session.data.resume_at(*_position(state))
        try:
            trainer.fit(session.task, datamodule=session.data, ckpt_path=path)
            io.flush()
        except Interrupted as stopped:
            run.update(status="stopped", end=now(), step=trainer.global_step)
            where = f" at step {trainer.global_step}; continue with: nnkit resume {report.shorten(run.path)}"
            raise Interrupted(stopped.number, stopped.saved, where) from None
        except BaseException as error:
            status = "stopped" if isinstance(error, KeyboardInterrupt | SystemExit) else "failed"
            run.update(status=status, end=now(), step=trainer.global_step, error=str(error).split("\n")[0])
            raise
        seconds = time.perf_counter() - start
        return _finish(session, run, trainer, seconds, show)


def _position(state: dict[str, Any]) -> tuple[int, int]:
    """Return the epoch to continue in and its batches that are done, from Lightning's own counters."""
    loops = state["loops"]["fit_loop"]
    batches = loops["epoch_loop.batch_progress"]
    epoch = loops["epoch_progress"]["current"]["processed"]
    over = batches["is_last_batch"]
    return epoch, 0 if over else batches["current"]["ready"]


def _finish(session: Session, run: Run, trainer: Trainer, seconds: float, show: bool) -> Result:
    best, store = None, CheckpointStore(run.checkpoints)
    if store.manifests():
        best, state = store.load("best")
        session.task.load_state_dict(state["state_dict"])
    metrics = evaluate(session, run.path)
    Record(run.path).write(trainer, "test", metrics)
    if best is not None and best.monitor is not None and best.score is not None:
        metrics = {**metrics, best.monitor: best.score}
    for logger in trainer.loggers:
        if metrics:
            logger.log_hyperparams(_flat(session.config), metrics)
        logger.finalize("success")
    run.update(
        status="done",
        end=now(),
        step=trainer.global_step,
        seconds=round(seconds, 3),
        metrics=metrics,
        best=best.file if best else None,
    )
    if show:
        title = f"{session.choices['model']} on {session.choices['data']}"
        facts = {
            "steps": trainer.global_step,
            "parameters": f"{run.record()['parameters']:,}",
            "training": f"{seconds:.1f} s",
            "best checkpoint" if best and best.score is not None else "last checkpoint": best.file
            if best
            else "none",
            "run": report.shorten(run.path),
        }
        report.console().print(report.results_table(metrics, facts, title))
    return Result(run, metrics, seconds, session)


def _flat(config: DictConfig) -> dict[str, Any]:
    """Return the config as dotted keys and values that a table of hyperparameters can hold."""
    flat: dict[str, Any] = {}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{prefix}.{key}" if prefix else str(key), inner)
        elif isinstance(value, bool | int | float | str):
            flat[prefix] = value
        else:
            flat[prefix] = json.dumps(value)

    walk("", configs.plain(config))
    return {key: value for key, value in flat.items() if _is_setting(key, value)}


def _is_setting(key: str, value: Any) -> bool:
    """Say whether a key tells runs apart: no class, no reference to another key, nothing of how a run is shown."""
    return not (
        key.endswith("_target_") or "${" in str(value) or key.split(".")[0] in ("callbacks", "logger", "fit")
    )
