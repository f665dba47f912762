"""Sweeps that a launcher or sweeper of Hydra's ecosystem runs: joblib, submitit and others."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.object_type import ObjectType
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf.errors import OmegaConfBaseException

from nnkit.config import catalog
from nnkit.config.natural import quote
from nnkit.config.overrides import COMMAND_LINE
from nnkit.config.search_path import added, hydra_loader
from nnkit.errors import ConfigError, EnvironmentFault, Problem
from nnkit.machine import signals
from nnkit.suggest import hint
from nnkit.sweep import start
from nnkit.sweep.definition import Definition, Launcher, Sweeper
from nnkit.sweep.directory import Sweep
from nnkit.sweep.examination import examine
from nnkit.sweep.hydra_app import hand_over, readable
from nnkit.sweep.job import Job, Left
from nnkit.sweep.settings import Settings
from nnkit.sweep.space import Space, grid, read_space
from nnkit.sweep.trials import PLANNED, STARTED, Outcome
from nnkit.sweep.watch import Watch, own_output
from nnkit.ui.report import shorten

if TYPE_CHECKING:
    from nnkit.config.flags import Flags

_CHOICE = re.compile(r"hydra/(launcher|sweeper)=(.*)")
_SETTING = re.compile(r"[+~]*hydra[./]")
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
        settings: The launcher's settings.
    """

    words: tuple[str, ...]
    launcher: str
    sweeper: str
    settings: dict[str, Any]

    def places(self, count: int) -> int:
        """Return how many of so many trials run at once on this machine, as far as the settings say."""
        cores = start.cores()
        if self.launcher == "basic":
            return 1
        jobs = self.settings.get("n_jobs")
        if isinstance(jobs, int):
            # As joblib counts: -1 is all cores, -2 all but one.
            cores = jobs if jobs > 0 else max(1, cores + 1 + jobs)
        return max(1, min(cores, count))

    @property
    def threads(self) -> int | None:
        """Threads that the launcher's settings give each trial; None where they say nothing."""
        cores = self.settings.get("cpus_per_task")
        return cores if isinstance(cores, int) and cores > 0 else None


def sweep_elsewhere(flags: Flags) -> int:
    """Run a sweep through hydra.main with the launcher or sweeper that was chosen.

    Args:
        flags: The words of the command line.

    Returns:
        0; 1 if a trial failed or was not run.

    Raises:
        ConfigError: With every mistake; nothing is written then.
        Interrupted: If a signal has ended the sweep, which can be resumed.
        EnvironmentFault: If the launcher gave up.
    """
    config_dir = None if flags.config_dir is None else str(Path(flags.config_dir).absolute())
    own = [word for word in flags.overrides if not _SETTING.match(word)]
    space = read_space(own)
    chosen = choose([word for word in flags.overrides if _SETTING.match(word)])
    draws = chosen.sweeper != "basic"
    _check_space(space, draws, chosen)
    plan = examine(space, draws, config_dir, here=False)
    count = 0 if draws else sum(1 for _ in grid(space.axes))
    settings = Settings(tuple(own), Launcher(chosen.places(count or start.cores())), Sweeper(), frozenset())
    definition = start.define(settings, space, draws, plan, config_dir)
    definition = replace(definition, num_threads=chosen.threads or definition.num_threads, hydra=chosen.words)
    found, definition = start.place(plan, definition)
    _compose([*_lines(definition, draws), *chosen.words, *_QUIET], config_dir)
    return _run(found, definition, chosen, draws)


def choose(words: Sequence[str]) -> Chosen:
    """Read which launcher and sweeper were chosen, with their settings as Hydra validates them.

    Args:
        words: All words that speak of Hydra.

    Raises:
        ConfigError: With every word that is wrong; what to install if a launcher is not there.
    """
    problems, choices, settings = [], [], []
    for word in words:
        if _CHOICE.fullmatch(word):
            choices.append(word)
        elif re.match(r"[+~]*hydra\.(launcher|sweeper)\.", word):
            settings.append(word)
        else:
            text = "is no setting of a sweep"
            known = "hydra/launcher, hydra/sweeper, hydra.launcher.*, hydra.sweeper.*"
            problems.append(Problem(word.partition("=")[0], text, f"there is: {known}", COMMAND_LINE))
    with hydra_loader(None) as (loader, _):
        there = {
            kind: loader.get_group_options(f"hydra/{kind}", ObjectType.CONFIG)
            for kind in ("launcher", "sweeper")
        }
    problems += [problem for word in choices if (problem := _missing(word, there)) is not None]
    if problems:
        raise ConfigError(problems)
    for word in settings:
        try:
            _load([*choices, word])
        except (HydraException, OmegaConfBaseException) as error:
            problems.append(_refused(word, error, choices))
    if problems:
        raise ConfigError(problems)
    hydra = _load([*choices, *settings]).hydra
    names = hydra.runtime.choices
    values = {str(key): value for key, value in hydra.launcher.items()}
    return Chosen((*choices, *settings), names["hydra/launcher"], names["hydra/sweeper"], values)


def _missing(word: str, there: dict[str, list[str]]) -> Problem | None:
    match = _CHOICE.fullmatch(word)
    assert match is not None
    kind, name = match[1], match[2]
    if name in there[kind]:
        return None
    if name in _PACKAGES:
        text = f"the {kind} {name} is not installed"
        return Problem(f"hydra/{kind}", text, f"pip install {_PACKAGES[name]}", COMMAND_LINE)
    if name == "optuna":
        text = "hydra-optuna-sweeper does not work with any Optuna of today"
        return Problem(f"hydra/{kind}", text, _OURS.format(word), COMMAND_LINE)
    answer = hint(name, there[kind], f"hydra/{kind}={{}}")
    return Problem(f"hydra/{kind}", f"there is no {kind} {name!r}", answer, COMMAND_LINE)


def _refused(word: str, error: Exception, choices: Sequence[str]) -> Problem:
    key, _, value = word.partition("=")
    node, _, name = key.partition(".")[2].partition(".")
    known = [str(one) for one in _load(choices).hydra[node] if not str(one).startswith("_")]
    if name not in known:
        answer = hint(name, known, f"hydra.{node}.{{}}=...")
        if key == "hydra.sweeper.n_trials":
            answer = _OURS.format(" ".join(choices))
        return Problem(key, "there is no such setting", answer, COMMAND_LINE)
    lines = str(error.__cause__ or error).splitlines()
    return Problem(key, f"cannot be {value}: {lines[0]}", where=COMMAND_LINE)


def _check_space(space: Space, draws: bool, chosen: Chosen) -> None:
    """Refuse what no launcher could run.

    Raises:
        ConfigError: With every axis that is wrong.
    """
    problems = start.own_axes(space)
    for axis in space.axes:
        if axis.choices is None and not draws:
            text = "Hydra's own sweeper cannot draw from an interval"
            problems.append(Problem(axis.key, text, _OURS.format(" ".join(chosen.words)), COMMAND_LINE))
    if problems:
        raise ConfigError(problems)


def _lines(definition: Definition, draws: bool) -> list[str]:
    """Return the words as hydra.main reads them, each value of a grid once."""
    axes = read_space(definition.axes).axes
    values = [
        axis.word if draws or axis.choices is None else _listed(axis.key, axis.choices) for axis in axes
    ]
    return [*readable(definition.words), *values]


def _listed(key: str, choices: Sequence[str]) -> str:
    return f"{key}={','.join(choices)}"


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


def _run(found: Sweep, definition: Definition, chosen: Chosen, draws: bool) -> int:
    from nnkit.sweep.live import make_view
    from nnkit.sweep.results import show_results, write_results

    axes = read_space(definition.axes).axes
    job = Job(
        sweep=found.path,
        words=definition.words,
        keys=frozenset(axis.key for axis in axes),
        monitor=definition.monitor,
        num_threads=definition.num_threads,
        config_dir=definition.config_dir,
        numbered=draws,
    )
    where = f"hydra.sweep.dir={quote(str(found.path))}"
    words = [
        "--multirun",
        *added(definition.config_dir),
        *_lines(definition, draws),
        *chosen.words,
        *_QUIET,
        where,
    ]
    with found.locked(), own_output() as output:
        found.repair()
        entries = found.settle()
        found.define(definition)
        trials = [] if draws else list(grid(axes))
        new = [trial for trial in trials if trial.name not in entries]
        if new:
            found.note(*((trial, Outcome(PLANNED)) for trial in new))
        watch = Watch(found, make_view(definition, found.path, output))
        watch.start(entries, None if draws else len(trials))
        try:
            with _explained(found):
                hand_over(job, words)
        except EnvironmentFault:
            _wait_for_others(found)
            watch.stop()
            show_results(found)
            raise
        finally:
            watch.stop()
            write_results(found)
        return 0 if show_results(found).all_done else 1


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
        raise EnvironmentFault(f"{text}\n    {way}") from error
