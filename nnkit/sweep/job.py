"""What launchers of Hydra's ecosystem call for each trial, here, in another process or on another machine."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from nnkit.sweep.directory import Sweep
from nnkit.sweep.space import numbered_name, trial_name
from nnkit.sweep.trials import OVER, STARTED, STOPPED, Outcome, Trial
from nnkit.ui import logs

_WATCHER = "parent"


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
    """Trains one trial of a sweep in its directory and writes down how it ended.

    It travels by pickle, so it holds plain data and nothing of Hydra's.

    Attributes:
        sweep: The sweep's directory.
        words: The words that all trials share.
        keys: What stands in front of the values that trials differ in.
        monitor: The metric that says which setting is better.
        num_threads: Threads of each trial.
        config_dir: A directory of more option files.
        numbered: Whether settings are drawn by a sweeper of Hydra's, which may draw one twice.
        parent: Process that runs the sweep.
    """

    sweep: Path
    words: tuple[str, ...]
    keys: frozenset[str]
    monitor: str
    num_threads: int
    config_dir: str | None = None
    numbered: bool = False
    parent: int = field(default_factory=os.getpid)

    def __call__(self, config: DictConfig) -> float:
        """Run the trial that Hydra has composed and return its score; not a number if it failed.

        Raises:
            Left: If a signal ended it.
            EnvironmentFault: If the status file cannot be written.
        """
        hydra = HydraConfig.get()
        own = tuple(word for word in hydra.overrides.task if word.partition("=")[0] in self.keys)
        sweep = Sweep(self.sweep)
        entries = sweep.settled()
        before = [entry.trial for entry in entries.values()]
        name = numbered_name(own, int(hydra.job.num), before) if self.numbered else trial_name(own)
        trial = Trial(name, own)
        known = entries.get(trial.name)
        ended = known is not None and known.outcome.state in OVER
        outcome = known.outcome if ended and known is not None else self._run(sweep, trial)
        return outcome.metrics.get(self.monitor, float("nan"))

    def _run(self, sweep: Sweep, trial: Trial) -> Outcome:
        from nnkit.sweep.reporter import Reporter
        from nnkit.sweep.trial import Request, attempt

        logs.set_up()
        _leave_with(self.parent)
        sweep.note((trial, Outcome(STARTED)))
        words = (*self.words, *trial.words)
        request = Request(
            self.sweep, trial.name, words, config_dir=self.config_dir, num_threads=self.num_threads
        )
        with _printed_to(sweep.log_of(trial)), _hydra_put_aside(), _command(words):
            outcome, code = attempt(request, Reporter(lambda progress: False))
        sweep.note((trial, outcome))
        if outcome.state == STOPPED:
            raise Left(code)
        return outcome


def _leave_with(parent: int) -> None:
    """End a worker when the process that made it is gone; it would wait for more work, or train on unseen.

    Nothing is lost: the run goes on from its latest checkpoint. A job that is no child, as on a cluster, stays.
    """
    if os.getppid() != parent or any(one.name == _WATCHER for one in threading.enumerate()):
        return

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name=_WATCHER, daemon=True).start()


@contextmanager
def _printed_to(path: Path) -> Iterator[None]:
    """Send standard output and standard error of this process to a file; trials at once would mix theirs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644)
    kept = {number: os.dup(number) for number in (1, 2)}
    with os.fdopen(descriptor, "w", encoding="utf-8") as file, redirect_stdout(file), redirect_stderr(file):
        try:
            for number in kept:
                os.dup2(file.fileno(), number)
            yield
        finally:
            file.flush()
            for number, copy in kept.items():
                os.dup2(copy, number)
                os.close(copy)


@contextmanager
def _hydra_put_aside() -> Iterator[None]:
    """Let the block compose: that starts Hydra anew, and it does not start twice."""
    running = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = running


@contextmanager
def _command(words: tuple[str, ...]) -> Iterator[None]:
    """Let the run's record say what would train the same again; a launcher's own process was begun otherwise."""
    before, sys.argv = sys.argv, ["nnkit", "train", *words]
    try:
        yield
    finally:
        sys.argv = before
