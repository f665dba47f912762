"""Who runs which trial: leases that processes on several machines take, renew, give back and take over.

A lease is the newest of a trial's numbered *generations*. A generation is made by one process alone, which from then on
is the only one to write it: it counts a beat up while the trial runs. Whoever takes a trial over makes the next
generation. No clock is compared with that of another machine: a lease is stale when its beat has stood still for as
long as the *observer* has looked on, by the observer's own monotonic clock; an owner that cannot renew its lease ends
its trial, by its own clock, before any observer can have waited that long. (Gray and Cheriton, Leases, SOSP 1989.)
"""

from __future__ import annotations

import json
import os
import platform
import re
import secrets
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from nnkit.errors import EnvironmentFault, UserError
from nnkit.files import atomic, locks
from nnkit.files.json_limits import parse_json
from nnkit.files.paths import check_file
from nnkit.sweep.directory import STATUS, Definition, Sweep
from nnkit.sweep.status import LEASES, WORKERS
from nnkit.sweep.trials import PLANNED, Outcome, Trial

# What came of an attempt to take a lease.
TAKEN, BUSY, CLOSED = "taken", "busy", "closed"
_HELD, _FREE, _OVER = "held", "free", "over"
# Parts of the time after which a lease is stale: between two beats; until an owner that cannot renew it asks its trial
# to save and leave; until it ends the trial.
_BEAT, _LATE, LOST = 1 / 6, 1 / 2, 3 / 4
# What an observer counts at most between two looks: in a longer gap it has seen nothing, and no owner could renew.
_LOOK = 1 / 3


class LeaseStore(Protocol):
    """Where generations are kept."""

    def read(self, name: str, generation: int) -> str | None:
        """Return what a generation says; None if there is none of this number."""

    def create(self, name: str, generation: int, text: str) -> bool:
        """Make a generation; False if another process was first."""

    def replace(self, name: str, generation: int, text: str) -> None:
        """Change what a generation of this process says."""


class LeaseFiles:
    """Generations as files of a directory, which may be on a network file system: none is ever locked or deleted.

    Args:
        directory: The directory, which exists.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def read(self, name: str, generation: int) -> str | None:
        """Return what a generation says; None if there is none of this number."""
        path = self._path(name, generation)
        try:
            check_file(path)
            return atomic.read(path).decode(errors="replace")
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise UserError(f"{path} cannot be read: {error}") from error

    def create(self, name: str, generation: int, text: str) -> bool:
        """Make a generation; False if another process was first."""
        return atomic.create(self._path(name, generation), text.encode())

    def replace(self, name: str, generation: int, text: str) -> None:
        """Change what a generation of this process says."""
        atomic.write_atomic(self._path(name, generation), text.encode())

    def _path(self, name: str, generation: int) -> Path:
        return self.directory / f"{name}.{generation}"


@cache
def machine() -> str:
    """Return what tells this machine, since it was started, from all others."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return f"{platform.node()}-{uuid.getnode():x}"


@dataclass
class _Held:
    """A lease of this process."""

    generation: int
    renewed: float
    beat: int = 0
    told: bool = False


@dataclass
class _Watched:
    """A lease of another process: what it said, and how long this one has seen it say so."""

    text: str
    looked: float
    seconds: float = 0.0


@dataclass
class Leases:
    """The leases of one process.

    Attributes:
        store: Where they are kept.
        beats: The same store for the beats, which are tried again by themselves: it raises at once where it is down.
        owner: The process, a name of its own.
        directory: Of the sweep's workers; that of the owner is locked while it lives.
        seconds: After which a lease that is not renewed is stale.
        end: Called with the name of a trial whose lease cannot be kept, and whether it must end at once rather than
            save and leave; from another thread.
        clock: Returns seconds.
        renewal: Called with the name of a trial whose lease was renewed; from another thread.
    """

    store: LeaseStore
    beats: LeaseStore
    owner: str
    directory: Path
    seconds: float
    end: Callable[[str, bool], None] = lambda name, at_once: None
    clock: Callable[[], float] = time.monotonic
    renewal: Callable[[str], None] = lambda name: None
    _held: dict[str, _Held] = field(default_factory=dict)
    _watched: dict[str, _Watched] = field(default_factory=dict)
    _generations: dict[str, int] = field(default_factory=dict)
    _over: set[str] = field(default_factory=set)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        # Where locks do nothing, nobody may conclude from a free one that its owner is gone.
        self._locks = locks.is_held(self.directory / self.owner)

    def generation(self, name: str) -> int:
        """Return the newest generation that this process knows of; 0: none."""
        return self._generations.get(name, 0)

    def holds(self, name: str) -> bool:
        """Return whether this process has a lease, and has renewed it in time."""
        held = self._held.get(name)
        return held is not None and self.clock() - held.renewed < self.seconds * LOST

    def take(self, name: str, again: bool = False) -> str:
        """Take a lease if nobody has it: one that is new, was given back, or is stale.

        Args:
            name: The trial's.
            again: Whether one that is closed is taken as well.

        Returns:
            `TAKEN`; `BUSY` if another process, or this one, has it; `CLOSED` if the trial is over.
        """
        if name in self._held:
            return BUSY
        if name in self._over and not again:
            return CLOSED
        generation, text = self._newest(name)
        if text is not None and (said := self._judge(name, text)) != TAKEN and not (again and said == CLOSED):
            return said
        renewed = self.clock()
        if not self.store.create(name, generation + 1, self._text(_HELD, 0)):
            return BUSY
        with self._lock:
            self._generations[name] = generation + 1
            self._held[name] = _Held(generation + 1, renewed)
        self._watched.pop(name, None)
        self._over.discard(name)
        return TAKEN

    def leave(self, name: str, over: bool) -> None:
        """Give a lease back: for good if its trial is over, and otherwise to whoever comes first."""
        with self._lock:
            held = self._held.pop(name, None)
        if held is not None:
            self.store.replace(name, held.generation, self._text(_OVER if over else _FREE, held.beat))
            if over:
                self._over.add(name)

    def hurry(self) -> None:
        """Wait no more for a storage that is down, as the process is about to leave."""
        self.store = self.beats

    @contextmanager
    def renewed(self) -> Iterator[None]:
        """Renew the leases of this process in the background; give back at the end what is left of them.

        What cannot be given back, as the storage is down, becomes stale.
        """
        done = threading.Event()

        def beat() -> None:
            while not done.wait(self.seconds * _BEAT):
                self.renew()

        thread = threading.Thread(target=beat, name="leases", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            self.hurry()
            with suppress(EnvironmentFault):
                for name in list(self._held):
                    self.leave(name, over=False)

    def renew(self) -> None:
        """Renew every lease once; end the trial of one that is another's by now, or could not be renewed in time."""
        for name in list(self._held):
            with self._lock:
                self._renew(name)

    def _renew(self, name: str) -> None:
        held, now = self._held.get(name), self.clock()
        if held is None:
            return
        age = now - held.renewed
        try:
            lost = age >= self.seconds * LOST or self.beats.read(name, held.generation + 1) is not None
            if not lost:
                self.beats.replace(name, held.generation, self._text(_HELD, held.beat + 1))
                held.beat, held.renewed = held.beat + 1, now
                self.renewal(name)
                return
        except EnvironmentFault:
            # It is tried again at the next beat.
            lost = age >= self.seconds * LOST
        if lost:
            del self._held[name]
        if lost or (age >= self.seconds * _LATE and not held.told):
            held.told = True
            self.end(name, lost)

    def _newest(self, name: str) -> tuple[int, str | None]:
        """Return the number of a lease's newest generation and what it says; 0 and None if there is none."""
        generation = self._generations.get(name, 0)
        text = self.store.read(name, generation) if generation else None
        while (after := self.store.read(name, generation + 1)) is not None:
            generation, text = generation + 1, after
        self._generations[name] = generation
        return generation, text

    def _judge(self, name: str, text: str) -> str:
        """Return what a generation means for this process."""
        said = _read(text)
        if said.get("state") == _OVER:
            self._over.add(name)
            return CLOSED
        if said.get("state") == _FREE or self._is_gone(said):
            return TAKEN
        now, watched = self.clock(), self._watched.get(name)
        if watched is None or watched.text != text:
            self._watched[name] = _Watched(text, now)
            return BUSY
        watched.seconds += min(now - watched.looked, self.seconds * _LOOK)
        watched.looked = now
        # Its owner goes by its own words, should the file have been changed since.
        promised = said.get("seconds")
        longest = max(self.seconds, promised) if isinstance(promised, int | float) else self.seconds
        return TAKEN if watched.seconds >= longest else BUSY

    def _is_gone(self, said: dict[str, Any]) -> bool:
        """Return whether the owner of a lease ran on this machine and has ended, as its lock is free."""
        owner = said.get("owner")
        if said.get("machine") != machine() or said.get("locks") is not True or not isinstance(owner, str):
            return False
        return Path(owner).name == owner and not locks.is_held(self.directory / owner)

    def _text(self, state: str, beat: int) -> str:
        owner = {"owner": self.owner, "machine": machine(), "locks": self._locks, "seconds": self.seconds}
        return json.dumps({"state": state, "beat": beat, **owner}) + "\n"


def reopen(sweep: Sweep, leases: Leases, trial: Trial) -> None:
    """Let a trial that has failed be begun again, by whichever process comes first."""
    if leases.take(trial.name, again=True) == TAKEN:
        sweep.note((trial, Outcome(PLANNED)))
        leases.leave(trial.name, over=False)


def _read(text: str) -> dict[str, Any]:
    """Return what a generation says; one that is empty was not finished, and becomes stale like any other."""
    try:
        content = parse_json(text.encode())
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


@contextmanager
def joined(found: Sweep, definition: Definition, apart: bool) -> Iterator[tuple[Sweep, Leases]]:
    """Be one of the processes that run a sweep: have a name, leases that are renewed, and a status file.

    Args:
        found: The sweep.
        definition: What it was asked for.
        apart: Whether the status file is this process's own: the sweep's is written by whoever has locked the sweep.

    Yields:
        The sweep as this process writes to it, and its leases.

    Raises:
        UserError: If a directory of the sweep leads elsewhere.
        EnvironmentFault: If something cannot be written.
    """
    for name in (LEASES, WORKERS):
        if (found.path / name).is_symlink():
            raise UserError(f"{found.path / name} is a link, which could lead anywhere: delete it")
        atomic.make_directory(found.path / name)
    host = re.sub(r"\W+", "-", platform.node().partition(".")[0]) or "host"
    owner = f"{host}-{os.getpid()}-{secrets.token_hex(2)}"
    directory = found.path / WORKERS / owner
    atomic.make_directory(directory)
    try:
        with locks.locked(directory, lambda: f"{directory} is in use"):
            store, beats = _stores(found.path, definition)
            leases = Leases(store, beats, owner, directory.parent, definition.launcher.lease)
            with leases.renewed():
                status = f"{WORKERS}/{owner}/{STATUS}" if apart else STATUS
                yield Sweep(found.path, status, leases.generation), leases
    finally:
        # What holds no status file says nothing to anybody.
        if not (directory / STATUS).exists():
            shutil.rmtree(directory, ignore_errors=True)


def _stores(path: Path, definition: Definition) -> tuple[LeaseStore, LeaseStore]:
    """Return where leases are kept, for this process and for its beats."""
    if definition.sweeper.storage is None:
        files = LeaseFiles(path / LEASES)
        return files, files
    from nnkit.sweep.database import LeaseTable

    table = LeaseTable(path, definition.sweeper.storage, definition.identity or path.absolute().name)
    return table, table.hasty()
