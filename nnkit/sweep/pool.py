"""Processes of trials: forked from a server that has imported everything, so many at once, each with its devices."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

from nnkit import config as configs
from nnkit.errors import EnvironmentFault
from nnkit.machine import signals
from nnkit.sweep.trials import EXITED, KILLED, STOPPED, Outcome, Trial, TrialReport

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerProcess

    from nnkit.config import Composition
    from nnkit.errors import Problem
    from nnkit.sweep.directory import Request

_PRELOAD = "nnkit.sweep.preload"
# What `multiprocessing` says of a process whose server is gone.
_NOBODY_KNOWS = 255
# A trial that was asked to leave finishes its step and saves it; that takes no longer.
_SECONDS_TO_LEAVE = 60.0


def warm_up() -> None:
    """Start the server; it imports in the background what trials need."""
    from multiprocessing import forkserver, resource_tracker

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([_PRELOAD])
    # What ends the sweep's process group must not end the server first: it is born with the signals blocked.
    with signals.held_back():
        # Which lets two of them through again when it has started.
        resource_tracker.ensure_running()
    with signals.held_back():
        forkserver.ensure_running()


@dataclass
class _Job:
    """A trial that runs; `connection` is None once it has nothing more to report; by `beats` it hears of its lease."""

    trial: Trial
    process: ForkServerProcess
    connection: Connection | None
    beats: Connection
    gpus: tuple[int, ...] | None
    outcome: Outcome | None = None
    told_to_leave: bool = False


class Pool:
    """Runs trials, each in a process of its own.

    Args:
        slots: The GPUs of each trial that may run at the same time; None for a trial that takes what there is.
    """

    def __init__(self, slots: Sequence[tuple[int, ...] | None]) -> None:
        self._free = list(reversed(slots))
        self._jobs: dict[str, _Job] = {}
        self._context = multiprocessing.get_context("forkserver")

    def __enter__(self) -> Pool:
        warm_up()
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    @property
    def has_room(self) -> bool:
        """Return whether another trial can be started."""
        return bool(self._free)

    @property
    def is_idle(self) -> bool:
        """Return whether no trial runs."""
        return not self._jobs

    def start(self, request: Request) -> None:
        """Start a trial in a free slot.

        Raises:
            EnvironmentFault: If no process can be started.
        """
        gpus = self._free.pop()
        request = replace(request, gpus=gpus, composed=_composed(request))
        name = request.trial.name
        try:
            self._jobs[name] = self._fork(request)
        except (EOFError, OSError):
            # The server was killed; another one takes its place.
            warm_up()
            try:
                self._jobs[name] = self._fork(request)
            except (EOFError, OSError) as error:
                self._free.append(gpus)
                raise EnvironmentFault(f"no process can be started for {name}: {error}") from error

    def _fork(self, request: Request) -> _Job:
        from nnkit.sweep.trial import run_trial

        ours, theirs = multiprocessing.Pipe()
        heard, beats = multiprocessing.Pipe(duplex=False)
        process = self._context.Process(
            target=run_trial, args=(theirs, heard, request), name=request.trial.name
        )
        try:
            process.start()
        except BaseException:
            ours.close()
            beats.close()
            raise
        finally:
            theirs.close()
            heard.close()
        return _Job(request.trial, process, ours, beats, request.gpus)

    def wait(self, seconds: float) -> list[tuple[Trial, TrialReport | Outcome]]:
        """Wait until a trial reports or ends, and return what they said, in order for each trial.

        Args:
            seconds: How long to wait at most.
        """
        watched: list[Connection | int] = [job.process.sentinel for job in self._jobs.values()]
        watched += [job.connection for job in self._jobs.values() if job.connection is not None]
        if not watched:
            return []
        ready = wait(watched, seconds)
        found: list[tuple[Trial, TrialReport | Outcome]] = []
        for job in list(self._jobs.values()):
            ended = job.process.sentinel in ready
            if ended or job.connection in ready:
                found += [(job.trial, report) for report in _hear(job)]
            if ended:
                found.append((job.trial, self._end(job)))
        return found

    def answer(self, trial: Trial, stop: bool) -> None:
        """Answer a trial that waits after a validation: whether to end."""
        job = self._jobs.get(trial.name)
        if job is not None and job.connection is not None:
            with suppress(OSError):
                job.connection.send(stop)

    def leave(self) -> None:
        """Ask every trial to save its step and stop, once."""
        for job in self._jobs.values():
            if not job.told_to_leave:
                job.told_to_leave = True
                with suppress(OSError):
                    job.process.terminate()

    def renewed(self, name: str) -> None:
        """Tell a trial that its lease was renewed; also from another thread."""
        job = self._jobs.get(name)
        if job is not None:
            with suppress(OSError):
                job.beats.send_bytes(b".")

    def end(self, name: str, at_once: bool) -> None:
        """Ask a trial to save its step and stop, or end it at once; also from another thread."""
        job = self._jobs.get(name)
        if job is not None:
            # It may have ended just now.
            with suppress(OSError, ValueError):
                (job.process.kill if at_once else job.process.terminate)()

    def save(self) -> None:
        """Ask every trial to save its step and go on."""
        for job in self._jobs.values():
            if job.process.pid is not None and job.process.is_alive():
                with suppress(OSError):
                    os.kill(job.process.pid, signal.SIGUSR1)

    def drain(self) -> list[tuple[Trial, Outcome]]:
        """Ask every trial to stop, wait for that, and return how each ended; what does not stop is killed."""
        self.leave()
        deadline, ended = time.monotonic() + _SECONDS_TO_LEAVE, []
        while self._jobs and time.monotonic() < deadline:
            for trial, said in self.wait(1.0):
                if isinstance(said, Outcome):
                    ended.append((trial, said))
                else:
                    self.answer(trial, False)
        self.kill()
        return ended

    def kill(self) -> None:
        """End every trial at once."""
        for job in self._jobs.values():
            with suppress(OSError):
                job.process.kill()
            job.process.join()
            job.beats.close()
            if job.connection is not None:
                job.connection.close()
        self._jobs.clear()

    def _end(self, job: _Job) -> Outcome:
        job.process.join()
        code, pid = job.process.exitcode, job.process.pid
        if code == _NOBODY_KNOWS and job.outcome is None and pid is not None:
            # It may run on, and its end could not be seen.
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
            job.outcome = Outcome(KILLED, "the server it was forked from was killed")
        if job.connection is not None:
            job.connection.close()
        job.beats.close()
        job.process.close()
        del self._jobs[job.trial.name]
        self._free.append(job.gpus)
        if job.outcome is not None:
            return job.outcome
        if job.told_to_leave:
            return Outcome(STOPPED, "stopped")
        if code is not None and code < 0:
            return Outcome(KILLED, _killed_by(-code))
        return Outcome(EXITED, f"ended with exit status {code} and wrote no message")


def _composed(request: Request) -> tuple[Composition | None, Sequence[Problem]] | None:
    """Compose what a trial is to run: here it takes a tenth of the time, as most option files were composed before."""
    try:
        return configs.examine(request.words, request.definition.config_dir)
    except Exception:
        # The trial will meet it too, and end by itself.
        return None


def _hear(job: _Job) -> list[TrialReport]:
    """Read what a trial has reported since; its outcome is kept until its process has ended."""
    heard: list[TrialReport] = []
    while job.connection is not None:
        try:
            if not job.connection.poll():
                break
            said = job.connection.recv()
        except (EOFError, OSError):
            job.connection.close()
            job.connection = None
            break
        if isinstance(said, Outcome):
            job.outcome = said
        else:
            heard.append(said)
    return heard


def _killed_by(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    memory = ", which the system also does where memory is short" if number == signal.SIGKILL else ""
    return f"killed by {name}{memory}"
