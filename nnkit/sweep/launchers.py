"""Sweeps that a launcher or sweeper of Hydra's ecosystem runs: joblib, submitit and others."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, TextIO

from hydra.core.object_type import ObjectType
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf.errors import OmegaConfBaseException

from nnkit.config import catalog
from nnkit.config.overrides import quote
from nnkit.config.places import COMMAND_LINE
from nnkit.config.search_path import added, hydra_loader
from nnkit.errors import ConfigError, EnvironmentFault, Problem
from nnkit.machine import signals
from nnkit.machine.cores import cores
from nnkit.suggest import hint
from nnkit.sweep.directory import Definition, Launcher, Sweep, Sweeper
from nnkit.sweep.hydra_app import hand_over, readable
from nnkit.sweep.plan import define, examine_trials, find_place, own_axes
from nnkit.sweep.space import Options, Space, grid, read_space
from nnkit.sweep.trials import PLANNED, STARTED, Outcome
from nnkit.sweep.watching import Others
from nnkit.ui.report import shorten

if TYPE_CHECKING:
    from nnkit.sweep.display import Display

_HYDRA = re.compile(r"[+~]*hydra[./]")
_CHOICE = re.compile(r"hydra/(launcher|sweeper)=(.*)")
# Where the launchers and sweepers come from that Hydra's documentation names, as far as they work with this Hydra.
_PACKAGES = {
    "joblib": "hydra-joblib-launcher",
    "submitit_local": "hydra-submitit-launcher",
    "submitit_slurm": "hydra-submitit-launcher",
    "ray": "hydra-ray-launcher",
    "ray_aws": "hydra-ray-launcher",
    "rq": "hydra-rq-launcher",
    "ax": "hydra-ax-sweeper",
    "nevergrad": "hydra-nevergrad-sweeper",
}
# Between two reads of the status file.
_SECONDS = 0.1
_OURS = "hydra.sweeper.n_trials=30 searches with nnkit's own sweeper and launcher: leave {} out"
# Hydra's own files and log lines have no place beside our run directories.
_QUIET = (
    "hydra.output_subdir=null",
    "hydra.sweep.subdir=.",
    "hydra.job.name=nnkit",
    "hydra/job_logging=none",
    "hydra/hydra_logging=none",
)


@dataclass(frozen=True)
class Chosen:
    """What runs a sweep.

    Attributes:
        words: The words that say so: ``("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")``.
        launcher: The launcher's name.
        sweeper: The sweeper's name; "basic" runs through a grid.
        options: The launcher's options.
    """

    words: tuple[str, ...]
    launcher: str
    sweeper: str
    options: Mapping[str, Any]

    @property
    def draws(self) -> bool:
        """Whether the sweeper draws settings; otherwise it runs through a grid."""
        return self.sweeper != "basic"

    def places(self, count: int) -> int:
        """Return how many of so many trials run at once on this machine, as far as the options say."""
        if self.launcher == "basic":
            return 1
        jobs, there = self.options.get("n_jobs"), cores()
        if isinstance(jobs, int):
            # As joblib counts: -1 is all cores, -2 all but one.
            there = jobs if jobs > 0 else max(1, there + 1 + jobs)
        return max(1, min(there, count))

    def threads(self, otherwise: int) -> int:
        """Return the threads that the launcher's options give each trial, or else those given."""
        given = self.options.get("cpus_per_task")
        return given if isinstance(given, int) and given > 0 else otherwise


def sweep_elsewhere(overrides: Sequence[str], config_dir: Path | None) -> int:
    """Run a sweep through hydra.main with the launcher or sweeper that was chosen.

    Args:
        overrides: The words of the command line.
        config_dir: A directory of more option files.

    Returns:
        0; 1 if a trial failed or was not run.

    Raises:
        ConfigError: With every mistake; nothing is written then.
        Interrupted: If a signal has ended the sweep, which can be resumed.
        EnvironmentFault: If the launcher gave up.
    """
    more = None if config_dir is None else str(config_dir.absolute())
    own = [word for word in overrides if not _HYDRA.match(word)]
    space = read_space(own)
    chosen = choose([word for word in overrides if _HYDRA.match(word)])
    _check_space(space, chosen)
    config = examine_trials(space, chosen.draws, more, here=False)
    count = cores() if chosen.draws else sum(1 for _ in grid(space.axes))
    options = Options(tuple(own), Launcher(chosen.places(count or cores())), Sweeper())
    definition = define(options, space, chosen.draws, config, more)
    definition = replace(definition, num_threads=chosen.threads(definition.num_threads), hydra=chosen.words)
    found, definition = find_place(config, definition)
    words = [*_lines(definition), *chosen.words, *_QUIET]
    _compose(words, more)
    return _run(found, definition, words)


def choose(words: Sequence[str]) -> Chosen:
    """Read which launcher and sweeper were chosen, with their options as Hydra validates them.

    Args:
        words: All words that speak of Hydra.

    Raises:
        ConfigError: With every word that is wrong; what to install if a launcher is not there.
    """
    problems, choices, options = [], [], []
    for word in words:
        if _CHOICE.fullmatch(word):
            choices.append(word)
        elif re.match(r"[+~]*hydra\.(launcher|sweeper)\.", word):
            options.append(word)
        else:
            known = "there is: hydra/launcher, hydra/sweeper, hydra.launcher.*, hydra.sweeper.*"
            problems.append(Problem(word.partition("=")[0], "is no option of a sweep", known, COMMAND_LINE))
    problems += [problem for word in choices if (problem := _missing(word)) is not None]
    if problems:
        raise ConfigError(problems)
    for word in options:
        try:
            _load([*choices, word])
        except (HydraException, OmegaConfBaseException) as error:
            problems.append(_refused(word, error, choices))
    if problems:
        raise ConfigError(problems)
    hydra = _load([*choices, *options]).hydra
    names = hydra.runtime.choices
    values = {str(key): value for key, value in hydra.launcher.items()}
    return Chosen((*choices, *options), names["hydra/launcher"], names["hydra/sweeper"], values)


def _missing(word: str) -> Problem | None:
    """Return the problem with a launcher or sweeper that is not there."""
    kind, _, name = word.removeprefix("hydra/").partition("=")
    with hydra_loader(None) as (loader, _extra):
        there = loader.get_group_options(f"hydra/{kind}", ObjectType.CONFIG)
    if name in there:
        return None
    if name in _PACKAGES:
        text, answer = f"the {kind} {name} is not installed", f"pip install {_PACKAGES[name]}"
    elif name == "optuna":
        text, answer = "hydra-optuna-sweeper does not work with any Optuna of today", _OURS.format(word)
    else:
        text, answer = f"there is no {kind} {name!r}", hint(name, there, f"hydra/{kind}={{}}")
    return Problem(f"hydra/{kind}", text, answer, COMMAND_LINE)


def _refused(word: str, error: Exception, choices: Sequence[str]) -> Problem:
    """Return the problem with an option that Hydra refuses."""
    key, _, value = word.partition("=")
    node, _, name = key.partition(".")[2].partition(".")
    known = [str(one) for one in _load(choices).hydra[node] if not str(one).startswith("_")]
    if name not in known:
        answer = hint(name, known, f"hydra.{node}.{{}}=...")
        if key == "hydra.sweeper.n_trials":
            answer = _OURS.format(" ".join(choices))
        return Problem(key, "there is no such option", answer, COMMAND_LINE)
    lines = str(error.__cause__ or error).splitlines()
    return Problem(key, f"cannot be {value}: {lines[0]}", where=COMMAND_LINE)


def _check_space(space: Space, chosen: Chosen) -> None:
    """Refuse what no launcher could run.

    Raises:
        ConfigError: With every axis that is wrong.
    """
    problems = own_axes(space)
    for axis in space.axes:
        if axis.choices is None and not chosen.draws:
            text = "Hydra's own sweeper cannot draw from an interval"
            problems.append(Problem(axis.key, text, _OURS.format(" ".join(chosen.words)), COMMAND_LINE))
    if problems:
        raise ConfigError(problems)


def _lines(definition: Definition) -> list[str]:
    """Return the words as hydra.main reads them, each value of a grid once."""
    values = [
        axis.word if definition.search or axis.choices is None else f"{axis.key}={','.join(axis.choices)}"
        for axis in read_space(definition.axes).axes
    ]
    return [*readable(definition.words), *values]


def _load(words: Sequence[str], config_dir: str | None = None) -> Any:
    with hydra_loader(None if config_dir is None else Path(config_dir)) as (loader, extra):
        return loader.load_configuration(
            catalog.PRIMARY,
            [*extra, *words],
            RunMode.MULTIRUN,
            from_shell=False,
            validate_sweep_overrides=False,
        )


def _compose(words: Sequence[str], config_dir: str | None) -> None:
    """Compose as hydra.main will, before anything is written.

    Raises:
        ConfigError: If Hydra reads the words otherwise than nnkit does.
    """
    try:
        _load(words, config_dir)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError([Problem("", str(error.__cause__ or error).splitlines()[0])]) from error


def _run(found: Sweep, definition: Definition, words: Sequence[str]) -> int:
    from nnkit.sweep.display import make_display
    from nnkit.sweep.results import show_results, write_results
    from nnkit.sweep.trial import Job

    where = f"hydra.sweep.dir={quote(str(found.path))}"
    with found.locked(), _own_output() as output:
        found.repair()
        entries = found.settle()
        found.define(definition)
        trials = [] if definition.search else list(grid(read_space(definition.axes).axes))
        new = [trial for trial in trials if trial.name not in entries]
        if new:
            found.note(*((trial, Outcome(PLANNED)) for trial in new))
        display, total = (
            make_display(definition, found.path, output),
            None if definition.search else len(trials),
        )
        try:
            with _watched(found, display, total), _explained(found):
                hand_over(Job(found.path), ["--multirun", *added(definition.config_dir), *words, where])
        except EnvironmentFault:
            show_results(found)
            raise
        finally:
            write_results(found)
        return 0 if show_results(found).all_done else 1


@contextmanager
def _watched(sweep: Sweep, display: Display, total: int | None) -> Iterator[None]:
    """Show trials that only write down how they stand: a thread that sleeps in between reads the status file."""
    others, done = Others(sweep, display), Event()

    def watch() -> None:
        # Whoever read what is shown may have gone.
        with suppress(BrokenPipeError):
            while not done.wait(_SECONDS):
                others.look()

    others.begin(total)
    thread = Thread(target=watch, name="watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        with closing(display), suppress(BrokenPipeError):
            others.look()


@contextmanager
def _own_output() -> Iterator[TextIO]:
    """Yield standard output as it is now, whatever a trial in this process makes of it meanwhile."""
    sys.stdout.flush()
    with os.fdopen(os.dup(1), "w", encoding=sys.stdout.encoding or "utf-8") as file:
        yield file


def _wait_for_others(found: Sweep) -> None:
    """Wait for trials that go on without their launcher: submitit gives up at the first one that is killed."""
    while any(
        entry.outcome.state == STARTED and found.run_of(entry.trial).held()
        for entry in found.entries().values()
    ):
        time.sleep(1)


@contextmanager
def _explained(found: Sweep) -> Iterator[None]:
    """Turn what a launcher raises into a sentence; trials themselves raise nothing."""
    from nnkit.callbacks.signals import Interrupted
    from nnkit.sweep.trial import Left

    way = f"continue with: nnkit resume {shorten(found.path)}"
    try:
        yield
    except Left as left:
        raise Interrupted(left.code - 128, saved=True, where=f"; {way}") from None
    except (KeyboardInterrupt, signals.Stopped) as error:
        number = getattr(error, "number", signal.SIGINT)
        raise Interrupted(number, saved=True, where=f"; {way}") from None
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        text = f"the launcher gave up: {type(error).__name__}: {lines[0]}"
        _wait_for_others(found)
        raise EnvironmentFault(f"{text}\n    {way}") from error
