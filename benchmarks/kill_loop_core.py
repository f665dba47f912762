"""Kill a process at random instants and start it again until it ends: what `kill_loop.py` and the tests share."""

import multiprocessing
import os
import shutil
import signal
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from random import Random
from threading import Thread
from typing import Any

# Imported once, in the fork server: a child is at its first training step at once instead of after three seconds.
PRELOADED = [
    "nnkit.runs.resuming",
    "nnkit.runs.training",
    "nnkit.runs.fit",
    "nnkit.runs.following",
    "nnkit.distributed.lightning",
    "nnkit.tasks.classification",
    "nnkit.data.datasets.digits",
    "nnkit.heads.linear",
    "nnkit.callbacks.tensorboard",
    "nnkit.callbacks.throughput",
    "torch.utils.tensorboard",
    "lightning.pytorch.loggers",
    "lightning.pytorch.callbacks",
]
# A kill falls anywhere in this many times the expected duration: one attempt in six outlives it and ends the run.
SLACK = 1.2
# A kill makes the next attempt's expected duration so much longer, in case the machine has become slower meanwhile.
DOUBT = 1.05
# An attempt that nobody means to kill and that takes so long hangs; the machine may be busy.
HANGS_AFTER = 300.0
# Seconds between two checks of how far the run that is never killed has come.
GLANCE = 0.05
# Lines shown of what an attempt said before it died by itself.
SAID_LINES = 8


class Subject(ABC):
    """Something that trains in a directory, can be killed, and goes on in the same directory.

    It is pickled into each attempt's process, so it holds plain data only.

    Attributes:
        name: What the table calls it.
    """

    name: str

    @abstractmethod
    def go_on(self, path: Path) -> None:
        """Start the run in a directory, or go on with it; called in a process of its own."""

    @abstractmethod
    def is_over(self, path: Path) -> bool:
        """Return whether the run has ended and nothing of it is left to do."""

    @abstractmethod
    def step(self, path: Path) -> int:
        """Return the optimizer step from which the run would go on."""

    @abstractmethod
    def place(self, path: Path, pid: int, steps: int) -> str:
        """Return what the process was doing when it was killed, in a run of so many steps."""

    @abstractmethod
    def result(self, path: Path) -> Any:
        """Return everything that must equal that of the run never killed."""

    @abstractmethod
    def differences(self, expected: Any, found: Any) -> list[str]:
        """Name what differs in two results."""


@dataclass
class Tally:
    """What happened to one subject.

    Attributes:
        name: Its name.
        runs: Runs brought to their end, or given up.
        kills: Kills that hit a process alive.
        mismatches: Runs whose result differs from that of the run never killed.
        unreadable: Attempts that ended by an exception, or hung: what was on disk was not gone on with.
        repeats: Whether the run never killed gives the same result twice; None where it was not tried.
        places: How many kills fell where.
        problems: What differed, or the error.
    """

    name: str
    runs: int = 0
    kills: int = 0
    mismatches: int = 0
    unreadable: int = 0
    repeats: bool | None = None
    places: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Attempt:
    """How one process ended.

    Attributes:
        pid: Its id.
        code: Its exit status; negative the signal that ended it.
        seconds: How long it lived.
        said: The end of what it printed.
    """

    pid: int
    code: int | None
    seconds: float
    said: str

    @property
    def killed(self) -> bool:
        """Whether the kill came before its end."""
        return self.code == -signal.SIGKILL


@dataclass(frozen=True)
class Pace:
    """How long the parts of the run never killed took.

    Attributes:
        startup: Seconds until its first step was on disk.
        training: Seconds from there to its last step.
        ending: Seconds from there to its end.
        steps: Its steps.
    """

    startup: float
    training: float
    ending: float
    steps: int

    def left(self, step: int) -> float:
        """Return the seconds a process needs that goes on from a step."""
        return self.startup + self.training * (1 - step / self.steps) + self.ending


def attempt(
    work: Callable[[], None],
    directory: Path,
    limit: float,
    glance: Callable[[float], None] | None = None,
) -> Attempt:
    """Run work in a process of its own, killed after a time; none is left behind, whatever happens here.

    Args:
        work: What the process does; it is pickled.
        directory: Where what it prints is kept.
        limit: Seconds after which it is killed.
        glance: Called once in a while with the seconds since the start.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    log = directory / "said.txt"
    log.unlink(missing_ok=True)
    process = context.Process(target=_in_child, args=(work, log))
    start = time.perf_counter()
    process.start()
    try:
        while not wait([process.sentinel], limit if glance is None else GLANCE):
            seconds = time.perf_counter() - start
            if seconds >= limit:
                break
            if glance is not None:
                glance(seconds)
    finally:
        process.kill()
        process.join()
    ended = Attempt(process.pid or 0, process.exitcode, time.perf_counter() - start, _last_lines(log))
    process.close()
    return ended


def _last_lines(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join(lines[1 - SAID_LINES :])


def _in_child(work: Callable[[], None], log: Path) -> None:
    Thread(target=_end_with_parent, daemon=True).start()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    work()


def _end_with_parent() -> None:
    """Leave nothing behind where the parent itself is killed: it can tell nobody then."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _nothing() -> None:
    """Do nothing: the fork server has started, with its imports, once this has ended."""


class Loop:
    """Kills the runs of one subject again and again, and compares each with the one that was never killed.

    Args:
        subject: What is killed.
        directory: An empty directory of its own.
        random: Draws the instants.
        say: Told one line for each run.
    """

    def __init__(
        self,
        subject: Subject,
        directory: Path,
        random: Random,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.subject = subject
        self.directory = directory
        self.random = random
        self.say = say
        self.tally = Tally(subject.name)
        # How long an attempt takes as of late, as a multiple of what the clock on the run never killed has promised.
        self._slowness = 1.0

    def run(self, kills: int, *, repeat: bool = False) -> Tally:
        """Kill so many times, over as many runs as that takes; the last one is completed.

        Args:
            kills: Kills that hit a process alive.
            repeat: Do the run that is never killed twice, to see whether it repeats itself.

        Raises:
            RuntimeError: If the run that is never killed does not reach its end.
        """
        expected, pace = self._never_killed("never-killed")
        if repeat:
            self.tally.repeats = not self.subject.differences(expected, self._never_killed("again")[0])
        seconds = pace.left(0)
        self.say(f"{self.subject.name}: never killed, {pace.steps} steps in {seconds:.1f} s")
        while self.tally.kills < kills:
            self._one_run(expected, pace, kills)
        return self.tally

    def _never_killed(self, name: str) -> tuple[Any, Pace]:
        attempt(_nothing, self.directory, HANGS_AFTER)
        path, seen = self.directory / name, {}

        def glance(seconds: float) -> None:
            seen.setdefault(self.subject.step(path), seconds)

        ended = attempt(partial(self.subject.go_on, path), self.directory, HANGS_AFTER, glance)
        if ended.code != 0 or not self.subject.is_over(path):
            raise RuntimeError(f"{self.subject.name}: the run that is never killed failed\n{ended.said}")
        steps = self.subject.step(path)
        first = min((at for step, at in seen.items() if step), default=0.0)
        last = max(seen.get(steps, ended.seconds), first)
        pace = Pace(first, last - first, max(ended.seconds - last, 0.0), steps)
        return self.subject.result(path), pace

    def _one_run(self, expected: Any, pace: Pace, kills: int) -> None:
        """Kill one run until it is over, or until all kills are used up: the rest of it is then left alone."""
        self.tally.runs += 1
        path, before = self.directory / f"run-{self.tally.runs}", self.tally.kills
        work = partial(self.subject.go_on, path)
        while not self.subject.is_over(path):
            means_to_kill = self.tally.kills < kills
            left = pace.left(self.subject.step(path))
            limit = self.random.uniform(0, SLACK * self._slowness * left) if means_to_kill else HANGS_AFTER
            ended = attempt(work, self.directory, limit)
            self._slowness = (
                self._slowness * DOUBT if ended.killed else min(self._slowness, ended.seconds / left)
            )
            if ended.killed and means_to_kill:
                self.tally.kills += 1
                self.tally.places[self.subject.place(path, ended.pid, pace.steps)] += 1
            elif ended.code != 0 or not self.subject.is_over(path):
                self._gave_up(path, ended, self.tally.kills - before)
                return
        found = self.subject.differences(expected, self.subject.result(path))
        self.tally.mismatches += bool(found)
        self._told(path, self.tally.kills - before, found, "differs" if found else "equal")

    def _gave_up(self, path: Path, ended: Attempt, kills: int) -> None:
        self.tally.unreadable += 1
        said = "it hangs" if ended.killed else f"exit {ended.code}"
        self._told(path, kills, [said, *ended.said.splitlines()], "does not go on")

    def _told(self, path: Path, kills: int, problems: list[str], how: str) -> None:
        title = f"{self.subject.name}, {path.name}, killed {kills} times: {how}"
        shown = problems if len(problems) <= SAID_LINES else [*problems[:2], f"and {len(problems) - 2} more"]
        self.say("\n    ".join([title, *shown]))
        self.tally.problems += [f"{title}: {problem}" for problem in problems]
        if not problems:
            # Hundreds of runs would fill the disk; what went wrong is kept until the end.
            shutil.rmtree(path)
