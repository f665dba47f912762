"""One trial of a sweep in a process: that of a pool, made for it, or one that a launcher of Hydra's ecosystem has."""

from __future__ import annotations

import logging
import math
import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch import Callback, LightningModule, Trainer
from omegaconf import DictConfig

from nnkit import config as configs
from nnkit.callbacks.record import plain_metrics
from nnkit.callbacks.signals import Interrupted
from nnkit.distributed.channel import SIGNALLED, TRY_AGAIN, PeerEnded
from nnkit.errors import NnkitError
from nnkit.files.layout import CONFIG
from nnkit.machine import signals
from nnkit.runs.training import train
from nnkit.sweep.directory import Request, Sweep
from nnkit.sweep.leases import LOST
from nnkit.sweep.space import num_bytes
from nnkit.sweep.trials import (
    DONE,
    EXITED,
    KILLED,
    OUT_OF_MEMORY,
    OVER,
    PLANNED,
    PRUNED,
    RAISED,
    STARTED,
    STOPPED,
    Outcome,
    Trial,
    TrialReport,
    numbered_name,
    trial_name,
)
from nnkit.ui import logs
from nnkit.ui.terminal import printable

# Where memory runs out, the system should end a trial and not the sweep.
_OOM_SCORE = "500"
# Seconds between two reports on steps alone.
_SECONDS = 1.0
_WATCHER = "parent"


class Reporter(Callback):
    """Reports steps once in a while and every validation, and ends the trial where the sweep says so.

    Args:
        tell: Takes each report; True as its answer to a validation ends the trial early.
    """

    def __init__(self, tell: Callable[[TrialReport], bool]) -> None:
        self.tell = tell
        self.max_steps = -1
        self.pruned = False
        self._metrics: dict[str, float] = {}
        self._told = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report that training has begun."""
        self.tell(self._report(trainer, False))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Report the step, if the last report is a while ago."""
        now = time.monotonic()
        if now - self._told >= _SECONDS:
            self._told = now
            self.tell(self._report(trainer, False))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the validation, and end the trial if the answer says so."""
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        self._metrics = plain_metrics(trainer, "val/")
        if self.tell(self._report(trainer, True)):
            self.pruned = True
            trainer.should_stop = True

    def _report(self, trainer: Trainer, validated: bool) -> TrialReport:
        steps = trainer.estimated_stepping_batches
        if self.max_steps > 0:
            steps = min(steps, self.max_steps)
        total = int(steps) if math.isfinite(steps) else None
        return TrialReport(trainer.global_step, trainer.current_epoch + 1, total, self._metrics, validated)


def run_trial(connection: Connection, beats: Connection, request: Request) -> None:
    """Run a trial in this process, which was made for it, and leave with its exit status.

    Args:
        connection: Where it reports to.
        beats: From where it hears that its lease was renewed.
        request: What to run.
    """
    _settle_in(request)
    _end_after(partial(_hear_beats, beats, request.definition.launcher.lease * LOST))

    def tell(report: TrialReport) -> bool:
        connection.send(report)
        waits = report.validated and request.definition.sweeper.pruner is not None
        return waits and bool(connection.recv())

    outcome, code = _attempt(request, Reporter(tell))
    sys.stdout.flush()
    sys.stderr.flush()
    # The parent may be gone.
    with suppress(BrokenPipeError):
        connection.send(outcome)
    connection.close()
    logging.shutdown()
    sys.exit(code)


def _attempt(request: Request, reporter: Reporter) -> tuple[Outcome, int]:
    """Run a trial in this process; whatever it raises becomes an outcome and an exit status."""
    try:
        record = _train(request, reporter)
    except Interrupted as error:
        return Outcome(STOPPED, str(error)), error.exit_code
    except (signals.Stopped, KeyboardInterrupt) as stopped:
        number = getattr(stopped, "number", signal.SIGINT)
        return Outcome(STOPPED, "stopped before training began"), 128 + number
    except SystemExit as leaving:
        return Outcome(EXITED, f"left with exit status {leaving.code!r} (sys.exit)"), 1
    except BaseException as error:
        if isinstance(error, NnkitError):
            sys.stderr.write(f"nnkit: {printable(str(error))}\n")
        else:
            traceback.print_exc()
        return Outcome(_state_after(error), _sentence(error)), getattr(error, "exit_code", 1)
    state = PRUNED if reporter.pruned else DONE
    return Outcome(state, "", record.get("metrics") or {}, record.get("step")), 0


def _state_after(error: BaseException) -> str:
    """Return the state of a trial that an error has ended, be it that of another of its processes."""
    if isinstance(error, PeerEnded) and error.exit_code > SIGNALLED:
        return STOPPED
    if isinstance(error, PeerEnded) and error.exit_code == TRY_AGAIN:
        return KILLED
    return OUT_OF_MEMORY if _is_memory(error) else RAISED


def _train(request: Request, reporter: Reporter) -> dict[str, Any]:
    """Begin a trial, or go on with it where it was interrupted, and return the record of its run."""
    composed = request.composed or configs.examine(request.words, request.definition.config_dir)
    composition, problems = composed
    if composition is not None:
        config = composition.config
        # A run that is named lies beside the sweeps, and not among the trials.
        named = request.sweep.parents[1] / str(config.init_from)
        if config.init_from is not None and (named / CONFIG).is_file():
            config.init_from = str(named)
        configs.set_values(config, name=request.trial.name, output_dir=str(request.sweep), auto_resume=True)
        if config.trainer.num_threads is None:
            config.trainer.num_threads = request.definition.num_threads
        reporter.max_steps = config.trainer.max_steps
    return train(composition, problems, extra=[reporter]).run.record()


def _settle_in(request: Request) -> None:
    """Make the process the trial's own: signals, standard streams, environment, limits."""
    # Ctrl-C reaches every process of the terminal; the sweep passes it on once, as SIGTERM.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    with signals.held_back():
        # The server that this process was forked from ignores them.
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, signal.SIG_DFL)
        signals.take()
    os.chdir(request.directory)
    os.environ.clear()
    os.environ.update(request.environment)
    if request.gpus is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, request.gpus))
    descriptor = _open_log(Sweep(request.sweep).log_of(request.trial))
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.close(descriptor)
    sys.argv = ["nnkit", "train", *request.words]
    with suppress(OSError):
        # Linux only; raising one's own score is always allowed.
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE, encoding="ascii")
    if (limit := request.definition.launcher.memory_limit) is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (num_bytes(limit), hard))
    logs.set_up()


def _open_log(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644)


def _hear_beats(beats: Connection, seconds: float) -> None:
    """Return when no beat has come for so long, as the lease may be another's then, or the worker is gone."""
    with suppress(EOFError, OSError):
        while beats.poll(seconds):
            beats.recv_bytes()


def _end_after(waits: Callable[[], Any]) -> None:
    """End this process when a function returns; nothing is lost: the run goes on from its latest checkpoint."""

    def watch() -> None:
        waits()
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name=_WATCHER, daemon=True).start()


def _sentence(error: BaseException) -> str:
    first = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, NnkitError):
        return first
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _is_memory(error: BaseException | None) -> bool:
    """Return whether memory ran out, by the error or by what it came from."""
    import torch

    while error is not None:
        if isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error):
            return True
        error = error.__cause__
    return False


class Left(BaseException):
    """A signal ended a trial; no launcher takes this for a failure of the trial alone and starts the next one.

    Args:
        code: The exit status that says so.
    """

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(code)


@dataclass(frozen=True)
class Job:
    """What a launcher of Hydra's ecosystem calls for each trial, here, in another process or on another machine.

    It travels by pickle, so it holds plain data and nothing of Hydra's.

    Attributes:
        sweep: The sweep's directory.
        parent: Process that runs the sweep.
    """

    sweep: Path
    parent: int = field(default_factory=os.getpid)

    def __call__(self, config: DictConfig) -> float:
        """Run the trial that Hydra has composed and return its score; not a number if it failed.

        Raises:
            Left: If a signal ended it.
            EnvironmentFault: If the status file cannot be written.
        """
        hydra, sweep = HydraConfig.get(), Sweep(self.sweep)
        definition, entries = sweep.definition(), sweep.settled()
        keys = {word.partition("=")[0] for word in definition.axes}
        own = tuple(word for word in hydra.overrides.task if word.partition("=")[0] in keys)
        before = [entry.trial for entry in entries.values()]
        # A sweeper of Hydra's may draw a setting twice.
        name = numbered_name(own, int(hydra.job.num), before) if definition.search else trial_name(own)
        outcome = entries[name].outcome if name in entries else Outcome(PLANNED)
        if outcome.state not in OVER:
            outcome = self._run(sweep, Request(self.sweep, Trial(name, own), definition))
        return outcome.metrics.get(definition.monitor, float("nan"))

    def _run(self, sweep: Sweep, request: Request) -> Outcome:
        logs.set_up()
        self._leave_with_parent()
        sweep.note((request.trial, Outcome(STARTED)))
        with _by_itself(sweep.log_of(request.trial), request.words):
            outcome, code = _attempt(request, Reporter(lambda report: False))
        sweep.note((request.trial, outcome))
        if outcome.state == STOPPED:
            raise Left(code)
        return outcome

    def _leave_with_parent(self) -> None:
        """End a worker when the process that made it is gone; it would wait for more work, or train on unseen.

        A job that is no child, as on a cluster, stays.
        """
        parent = self.parent
        if os.getppid() != parent or any(one.name == _WATCHER for one in threading.enumerate()):
            return

        def waits() -> None:
            while os.getppid() == parent:
                time.sleep(1)

        _end_after(waits)


@contextmanager
def _by_itself(log: Path, words: Sequence[str]) -> Iterator[None]:
    """Give a trial in a launcher's process its log, its command, and leave to start Hydra, which does not start twice.

    Trials at once would mix what they print. The run's record holds the command that trains the same again.
    """
    descriptor = _open_log(log)
    kept = {number: os.dup(number) for number in (1, 2)}
    command, hydra = sys.argv, GlobalHydra.instance().hydra
    with os.fdopen(descriptor, "w", encoding="utf-8") as file, redirect_stdout(file), redirect_stderr(file):
        try:
            for number in kept:
                os.dup2(file.fileno(), number)
            sys.argv = ["nnkit", "train", *words]
            GlobalHydra.instance().clear()
            yield
        finally:
            GlobalHydra.instance().hydra = hydra
            sys.argv = command
            file.flush()
            for number, copy in kept.items():
                os.dup2(copy, number)
                os.close(copy)
