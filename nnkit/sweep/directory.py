"""The sweep directory: what was asked for, a status file that survives a kill, and one run directory a trial."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nnkit.errors import Problem, UserError
from nnkit.files import atomic, locks
from nnkit.files.json_limits import read_json
from nnkit.files.paths import expand
from nnkit.runs.run import Run, all_runs, cpu_capability, find_run, now, versions
from nnkit.suggest import closest
from nnkit.sweep.status import (
    LEASES,
    LOGS,
    WORKERS,
    numbers,
    read_entries,
    read_line,
    read_status,
    write_line,
)
from nnkit.sweep.trials import DONE, FAILED, OVER, PLANNED, STARTED, Entry, Outcome, Trial

if TYPE_CHECKING:
    from nnkit.config import Composition

SWEEP = "sweep.json"
STATUS = "trials.jsonl"
# The study of a search, where no other storage is named.
JOURNAL = "study.journal"
_OWNER = ".pid"
_log = logging.getLogger("nnkit")
# What a start leaves behind that was killed, or refused, before the definition was written.
BEGINNINGS = frozenset({locks.LOCK, _OWNER, JOURNAL, f"{JOURNAL}.lock", LEASES, WORKERS})
# Where a sweep keeps leases and a study; the one option of a sweeper that a grid has as well.
STORAGE = "hydra.sweeper.storage"
# Seconds: at least, and for each worker.
_PAUSE, _PAUSE_EACH = 1.0, 0.05
# What a definition was written with.
_FACTS = ("versions", "cpu_capability", "directory")


@dataclass(frozen=True)
class Launcher:
    """How trials are run: ``hydra.launcher.*``.

    Attributes:
        n_jobs: Trials at once; 0: none here, as workers run them; None: as many as there are GPUs where trials use
            them, or else cores.
        memory_limit: What one trial may claim, such as "4GB"; None: as much as there is.
        lease: Seconds without a sign of life of whoever runs a trial, after which another process takes it over.
    """

    n_jobs: int | None = None
    memory_limit: str | None = None
    lease: float = 60.0


@dataclass(frozen=True)
class Sweeper:
    """How a space is searched: ``hydra.sweeper.*``; of a grid, storage alone.

    Attributes:
        n_trials: Settings to try in all, those of before a resumption included.
        timeout: Seconds after which no further trial is started; None: no limit.
        sampler: "tpe" or "random".
        pruner: "median", "hyperband", "patient", or None: every trial trains to its end.
        patience: For "patient": validations without improvement that are allowed.
        storage: The database that keeps leases, and the study of a search; None: files in the sweep's directory.
        seed: Of the sampler.
    """

    n_trials: int | None = None
    timeout: float | None = None
    sampler: Literal["tpe", "random"] = "tpe"
    pruner: Literal["median", "hyperband", "patient"] | None = None
    patience: int = 3
    storage: str | None = None
    seed: int = 0


@dataclass(frozen=True)
class Definition:
    """What a sweep was asked for.

    Attributes:
        words: The words that all trials share, in Hydra's grammar.
        axes: The words that trials differ in, with all their values: ``("model=lenet5,mlp", "seed=1,2,3")``.
        search: Whether Optuna draws the settings; otherwise the axes are a grid.
        monitor: The metric that says which setting is better, such as "val/accuracy".
        mode: "min" or "max": which way it is better.
        num_threads: Threads of each trial, part of its arithmetic.
        launcher: How trials are run.
        sweeper: How the space is searched.
        config_dir: Directory of more option files; None: none.
        gpus: GPUs of each trial; 0: trials use none.
        hydra: The words that chose a launcher or sweeper of Hydra's ecosystem; empty for ours.
        identity: What tells it from another sweep of this name in the same storage; empty before there were leases.
    """

    words: tuple[str, ...]
    axes: tuple[str, ...]
    search: bool
    monitor: str
    mode: str
    num_threads: int
    launcher: Launcher = field(default_factory=Launcher)
    sweeper: Sweeper = field(default_factory=Sweeper)
    config_dir: str | None = None
    gpus: int = 0
    hydra: tuple[str, ...] = ()
    identity: str = ""


@dataclass(frozen=True)
class Request:
    """What the process of a trial is asked to do.

    Attributes:
        sweep: The sweep's directory.
        trial: The trial.
        definition: What the sweep was asked for.
        directory: Working directory.
        environment: Environment variables.
        gpus: GPUs that the process may see; None: all there are.
        composed: What the words come to, as `nnkit.config.examine` has it; None: the process composes them itself.
    """

    sweep: Path
    trial: Trial
    definition: Definition
    directory: Path = Path()
    environment: Mapping[str, str] = field(default_factory=dict)
    gpus: tuple[int, ...] | None = None
    composed: tuple[Composition | None, Sequence[Problem]] | None = None

    @property
    def words(self) -> tuple[str, ...]:
        """All words of the trial, those of the sweep included."""
        return (*self.definition.words, *self.trial.words)


class Sweep:
    """One sweep directory, which need not exist yet.

    Args:
        path: The directory.
        status: Where this process notes the states of trials, relative to the directory.
        generation: Returns the generation of this process's lease of a trial.
    """

    def __init__(
        self, path: Path, status: str = STATUS, generation: Callable[[str], int] = lambda name: 0
    ) -> None:
        self.path = path
        self.status = path / status
        self.generation = generation
        # Seconds between two readings of what others note: many workers have many files, and each of them reads all.
        self.pause = _PAUSE

    def is_one(self) -> bool:
        """Return whether the directory holds a sweep."""
        return (self.path / SWEEP).is_file()

    def define(self, definition: Definition) -> None:
        """Write down what was asked for, without the password of its storage, and where and with what that was."""
        kept = replace(definition.sweeper, storage=without_password(definition.sweeper.storage))
        facts = {"versions": versions(), "cpu_capability": cpu_capability(), "directory": str(Path.cwd())}
        content = {**asdict(replace(definition, sweeper=kept)), **facts, "start": now()}
        atomic.write_json(self.path / SWEEP, content)

    def facts(self) -> dict[str, Any]:
        """Return with which versions, on which instructions and in which directory it was defined, as far as known."""
        try:
            content = read_json(self.path / SWEEP)
        except (OSError, ValueError):
            return {}
        return {key: content.get(key) for key in _FACTS} if isinstance(content, dict) else {}

    def definition(self) -> Definition:
        """Return what was asked for.

        Raises:
            UserError: If the file is missing or garbled.
        """
        try:
            content = read_json(self.path / SWEEP)
            known = {key: value for key, value in content.items() if key not in (*_FACTS, "start", "pid")}
            parts = {
                **{key: tuple(known[key]) for key in ("words", "axes")},
                "hydra": tuple(known.get("hydra", ())),
                "launcher": Launcher(**known["launcher"]),
                "sweeper": Sweeper(**known["sweeper"]),
            }
            return Definition(**{**known, **parts})
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(f"{self.path / SWEEP} cannot be read: {error}") from error

    def run_of(self, trial: Trial) -> Run:
        """Return the run directory of a trial, which need not exist yet."""
        return Run(self.path / trial.name)

    def log_of(self, trial: Trial) -> Path:
        """Return the file that holds what a trial printed."""
        return self.path / LOGS / f"{trial.name}.log"

    def note(self, *pairs: tuple[Trial, Outcome]) -> None:
        """Append the states of trials to the status file, all in one write.

        Raises:
            EnvironmentFault: If it cannot be written.
        """
        lines = [write_line(trial, outcome, self.generation(trial.name)) for trial, outcome in pairs]
        atomic.append_lines(self.status, lines)
        # That a trial was started its own directory says as well.
        if any(outcome.state != STARTED for _, outcome in pairs):
            atomic.sync_file(self.status)

    def repair(self) -> None:
        """Take away a line that a kill has torn, so that the next one does not run into it; warn of broken ones."""
        whole = read_status(self.status)
        kept = whole[: whole.rfind(b"\n") + 1]
        if kept != whole:
            atomic.write_atomic(self.status, kept)
        broken = [number for number, line in enumerate(kept.splitlines(), 1) if read_line(line) is None]
        if broken:
            _log.warning(
                "%s: %s of %d lines cannot be read, the first is line %d; trials are as the others say",
                *(self.status, len(broken), kept.count(b"\n"), broken[0]),
            )

    def files(self) -> list[Path]:
        """Return the status files: that of the sweep, and one of each worker."""
        return [self.path / STATUS, *sorted((self.path / WORKERS).glob(f"*/{STATUS}"))]

    def size(self) -> int:
        """Return the bytes of all status files, which grow with whatever is noted in them."""
        files = self.files()
        self.pause = max(_PAUSE, _PAUSE_EACH * len(files))
        return sum(path.stat().st_size for path in files if path.exists())

    def entries(self) -> dict[str, Entry]:
        """Return what the status files say of each trial, by name, in the order in which they were planned.

        Of two processes that ran a trial one after the other, that with the later lease knows how it stands.
        """
        first, *others = map(read_entries, self.files())
        more: dict[str, tuple[int, Entry]] = {}
        for name, (generation, entry) in (pair for one in others for pair in one.items()):
            known = first if name in first else more
            if name not in known or generation >= known[name][0]:
                known[name] = generation, entry
        # What workers have drawn has a number, whoever was the first to say so.
        return {name: entry for name, (_, entry) in (*first.items(), *sorted(more.items()))}

    def settle(self) -> dict[str, Entry]:
        """Return `settled`, and write down which trials ended without anybody noting it."""
        before, found = self.entries(), self.settled()
        changed = [one for name, one in found.items() if one.outcome.state != before[name].outcome.state]
        if changed:
            self.note(*((entry.trial, entry.outcome) for entry in changed))
        return found

    def settled(self) -> dict[str, Entry]:
        """Return `entries`; a trial whose run ended just before the sweep was killed is done."""
        found = self.entries()
        for entry in found.values():
            entry.outcome = self._settled(entry)
        return found

    def ended(self, failed: bool = True) -> Collection[str]:
        """Return the names of the trials that have ended.

        Args:
            failed: Whether those that failed are among them.
        """
        states = OVER if failed else OVER - FAILED
        return {name for name, entry in self.settled().items() if entry.outcome.state in states}

    def outcome_of(self, trial: Trial) -> Outcome:
        """Return what `settled` says of one trial that this process has the lease of."""
        if self.generation(trial.name) <= 1 and not self.run_of(trial).path.exists():
            return Outcome(PLANNED)
        return self._settled(self.entries().get(trial.name, Entry(trial, Outcome(STARTED))))

    def _settled(self, entry: Entry) -> Outcome:
        record = {} if entry.outcome.state in OVER | {PLANNED} else self.run_of(entry.trial).record()
        if record.get("status") != "done":
            return entry.outcome
        return Outcome(DONE, "", numbers(record.get("metrics")), record.get("step"))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the sweep for this process alone.

        Raises:
            UserError: If another process holds it, naming its process id.
        """
        atomic.make_directory(self.path)
        with locks.locked(self.path, lambda: f"{self.path} is being run by process {self._owner()}"):
            atomic.write_atomic(self.path / _OWNER, str(os.getpid()).encode())
            yield

    def _owner(self) -> str:
        owner = self.path / _OWNER
        return owner.read_text(encoding="utf-8") if owner.exists() else "?"


def without_password(url: str | None) -> str | None:
    """Return the URL of a database as it may be written down; its driver finds the password where the user keeps it."""
    if url is None or "@" not in url:
        return url
    from sqlalchemy.engine import make_url

    return make_url(url)._replace(password=None).render_as_string(hide_password=False)


def find_sweep(spec: str, output_dir: Path = Path("outputs")) -> Sweep | None:
    """Find a sweep by its directory or by its name below ``OUTPUT_DIR/sweeps``; None if there is none."""
    for path in (expand(spec), output_dir / "sweeps" / spec):
        if Sweep(path).is_one():
            return Sweep(path)
    return None


def all_sweeps(output_dir: Path = Path("outputs")) -> Sequence[Sweep]:
    """Return the sweeps below a directory, by name."""
    return [Sweep(path.parent) for path in sorted((output_dir / "sweeps").glob(f"*/{SWEEP}"))]


def find_run_near(spec: str, output_dir: Path = Path("outputs")) -> Run:
    """Find a run as `find_run` does, and name the run or sweep that may have been meant where there is none.

    Raises:
        UserError: If nothing or more than one run fits.
    """
    try:
        return find_run(spec, output_dir)
    except UserError as error:
        names = [str(run.path.relative_to(output_dir)) for run in all_runs(output_dir)]
        names += [Path(name).name for name in names]
        near = closest(spec, [*names, *(sweep.path.name for sweep in all_sweeps(output_dir))])
        if not near or near[0].startswith(spec):
            raise
        raise UserError(
            f"no run or sweep {spec!r} below {output_dir}/\n    did you mean {near[0]}?"
        ) from error
