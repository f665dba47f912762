"""The plan of a sweep: every mistake of every trial, what was asked for, and the directory it belongs in."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from nnkit import config as configs
from nnkit.config.places import COMMAND_LINE
from nnkit.errors import ConfigError, Problem, UserError
from nnkit.files.atomic import TEMPORARY
from nnkit.machine.cores import cores
from nnkit.sweep.directory import BEGINNINGS, STORAGE, SWEEP, Definition, Sweep, Sweeper, without_password
from nnkit.sweep.space import Axis, Options, Space, grid, read_space, repeated_apart
from nnkit.sweep.trials import Trial
from nnkit.ui.report import shorten
from nnkit.ui.terminal import is_terminal

# From so many trials on, a line says that they are being checked.
_MANY = 20
# What belongs to the sweep and not to its trials.
_OWN = ("name", "output_dir", "auto_resume")


def is_search(options: Options, space: Space) -> bool:
    """Return whether a sweep searches its space; otherwise it runs through a grid.

    Raises:
        ConfigError: With every word that does not go with the others.
    """
    sweeper, problems = options.sweeper, own_axes(space)
    search = space.has_interval or sweeper.n_trials is not None
    if search:
        problems += endless(sweeper, repeated_apart(space.axes)[0])
    idle = sorted(key for key in options.typed if key.startswith("hydra.sweeper.") and key != STORAGE)
    if not search and idle:
        text = "belongs to a search, and this is a grid, which tries every value once"
        problems.append(Problem(idle[0], text, "add hydra.sweeper.n_trials=30 to search"))
    if "hydra.sweeper.patience" in options.typed and sweeper.pruner != "patient":
        text = f"belongs to pruner=patient, not to {sweeper.pruner}"
        problems.append(Problem("hydra.sweeper.patience", text))
    if problems:
        raise ConfigError(problems)
    return search


def endless(sweeper: Sweeper, axes: Sequence[Axis]) -> list[Problem]:
    """Return what is wrong with a search that has no end, or no axis but seed and fold."""
    problems = []
    if sweeper.n_trials is None and sweeper.timeout is None:
        text = "intervals are searched, and a search needs an end: say how many settings are tried"
        answer = "hydra.sweeper.n_trials=30, or hydra.sweeper.timeout=SECONDS"
        problems.append(Problem("hydra.sweeper.n_trials", text, answer, COMMAND_LINE))
    if not axes:
        text = "there is nothing to search: no word but the seed has values"
        problems.append(
            Problem("", text, "such as 'optimizer.lr=tag(log,interval(1e-4,1e-1))'", COMMAND_LINE)
        )
    return problems


def own_axes(space: Space) -> list[Problem]:
    """Return a problem for each axis of what belongs to the sweep and not to its trials."""
    text = "belongs to the sweep as a whole: each trial has a directory of its own in it"
    keys = [axis.key for axis in space.axes if axis.key in _OWN]
    return [Problem(key, text, f"one value: {key}=...") for key in keys]


def examine_trials(
    space: Space,
    search: bool,
    config_dir: str | None,
    here: bool = True,
    over: Callable[[DictConfig], Collection[str]] = lambda config: (),
) -> DictConfig:
    """Compose and check every trial of a grid that is left, or every value of a space that is searched.

    Args:
        space: The words.
        search: Whether settings are drawn from the space.
        config_dir: A directory of more option files.
        here: Whether the trials run on this machine, whose devices they then need.
        over: Returns the names of trials that have ended and are not run again, given the config of the first trial.

    Returns:
        The config of the first trial, for what all trials have in common.

    Raises:
        ConfigError: With each mistake once, however many trials share it.
        UserError: If there is no run to start from.
        EnvironmentFault: If a device is missing.
    """
    trials = list(_samples(space.axes) if search else grid(space.axes))
    found: dict[tuple[str, str, str], Problem] = {}
    first: DictConfig | None = None
    ended: Collection[str] = ()
    with configs.loading_once(), _checking(len(trials)):
        for trial in trials:
            if trial.name in ended:
                continue
            config, problems = _examine([*space.fixed, *trial.words], config_dir, search, here)
            for problem in problems:
                found.setdefault((problem.key, problem.text, problem.where), problem)
            if first is None and config is not None:
                first, ended = config, () if search else over(config)
    if found or first is None:
        raise ConfigError(list(found.values()))
    return first


def _examine(
    words: Sequence[str], config_dir: str | None, search: bool, here: bool
) -> tuple[DictConfig | None, Sequence[Problem]]:
    from nnkit.runs import preflight
    from nnkit.runs.transfer import source_of

    composition, problems = configs.examine(words, config_dir)
    if composition is None:
        return None, problems
    problems = [*problems, *preflight.problems(composition)]
    if not problems and search and not has_validation(composition.config):
        text = "a search compares settings by a validation split, and these data have none by themselves"
        problems.append(Problem("data.val_fraction", text, "data.val_fraction=0.2"))
    if not problems:
        if here:
            preflight.check_devices(composition.config)
        source_of(composition.config, composition.typed_keys)
    return composition.config, problems


def check_storage(url: str | None) -> None:
    """Do as `nnkit.sweep.database.check_storage`, whose imports are slow, where a storage is named."""
    if url is not None:
        from nnkit.sweep import database

        database.check_storage(url)


def has_validation(config: DictConfig) -> bool:
    """Return whether there is a validation split to compare settings by, as far as the config tells."""
    return bool(config.data.get("val_fraction", True))


def _samples(axes: Sequence[Axis]) -> Iterable[Trial]:
    """Yield trials in which each value of each axis, and both ends of each interval, occur once."""
    ends = [_texts(axis) for axis in axes]
    firsts = [texts[0] for texts in ends]
    yield Trial("", tuple(firsts))
    for number, texts in enumerate(ends):
        for text in texts[1:]:
            yield Trial("", tuple([*firsts[:number], text, *firsts[number + 1 :]]))


def _texts(axis: Axis) -> list[str]:
    if axis.choices is not None:
        return [f"{axis.key}={choice}" for choice in axis.choices]
    ends = (int(axis.low), int(axis.high)) if axis.integer else (axis.low, axis.high)
    return [f"{axis.key}={end!r}" for end in ends]


@contextmanager
def _checking(count: int) -> Iterator[None]:
    """Show on a terminal that many trials are being checked, as that takes a while."""
    if count < _MANY or not is_terminal():
        yield
        return
    from nnkit.ui.report import console

    with console().status(f"checking {count:,} trials"):
        yield


def define(
    options: Options, space: Space, search: bool, config: DictConfig, config_dir: str | None
) -> Definition:
    """Return the definition of a new sweep, the threads of each trial fixed.

    Args:
        options: How the sweep is run.
        space: The words.
        search: Whether settings are drawn from the space.
        config: That of the first trial.
        config_dir: A directory of more option files.

    Raises:
        ConfigError: If none of its trials runs here and nothing says how many threads each has.
    """
    from nnkit.factory.metrics import mode_of

    gpus = _gpus_of(config)
    jobs = options.launcher.n_jobs
    if jobs is None:
        count = options.sweeper.n_trials if search else sum(1 for _ in grid(space.axes))
        jobs = max(1, min((_gpus() if gpus else cores()) // _devices_of(config), count or 1))
    if not jobs and config.trainer.num_threads is None:
        text = "is fixed when a sweep begins, and the machines of its workers are not known here"
        raise ConfigError([Problem("trainer.num_threads", text, "trainer.num_threads=4")])
    return Definition(
        words=tuple(word for word in space.fixed if word.partition("=")[0].lstrip("+") not in _OWN),
        axes=tuple(axis.word for axis in space.axes),
        search=search,
        monitor=str(config.monitor),
        mode=mode_of(config),
        num_threads=config.trainer.num_threads or max(1, cores() // (jobs * _devices_of(config))),
        launcher=replace(options.launcher, n_jobs=jobs),
        sweeper=options.sweeper,
        config_dir=config_dir,
        gpus=gpus,
        identity=secrets.token_hex(8),
    )


def _gpus_of(config: DictConfig) -> int:
    """Return the GPUs of each trial on this machine; 0 where trials use none, or there are none."""
    if str(config.trainer.accelerator) not in ("auto", "gpu", "cuda") or not _gpus():
        return 0
    return _devices_of(config)


def _devices_of(config: DictConfig) -> int:
    """Return the processes of each trial on one machine."""
    given = config.trainer.devices
    return given if isinstance(given, int) and given > 0 else 1


def on_this_machine(definition: Definition, config: DictConfig, jobs: int | None) -> Definition:
    """Return a definition with the GPUs of each trial and the trials at a time of this machine.

    Args:
        definition: What was asked for, perhaps on another machine.
        config: That of the first trial.
        jobs: Trials at a time; None: as many as there are GPUs or cores for.
    """
    gpus = _gpus_of(config)
    if jobs is None:
        threads = definition.num_threads * _devices_of(config)
        jobs = max(1, _gpus() // gpus if gpus else cores() // threads)
    return replace(definition, gpus=gpus, launcher=replace(definition.launcher, n_jobs=jobs))


def slots(definition: Definition) -> list[tuple[int, ...] | None]:
    """Return the GPUs of each trial that may run at the same time; None where trials use none."""
    count = definition.launcher.n_jobs or 1
    if not definition.gpus:
        return [None] * count
    there, each = _gpus(), definition.gpus
    # More trials than GPUs share them in turn.
    return [tuple((number * each + one) % max(there, 1) for one in range(each)) for number in range(count)]


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()


def way_on(path: Path, definition: Definition, verb: str = "resume") -> str:
    """Return the command that goes on with a sweep; a storage must be typed, whatever the sweep's file says."""
    words = ["nnkit", verb, shorten(path)]
    if definition.sweeper.storage is not None:
        words.append(f"{STORAGE}={without_password(definition.sweeper.storage)}")
    return shlex.join(words)


def find_place(config: DictConfig, definition: Definition) -> tuple[Sweep, Definition]:
    """Return the directory of a sweep, and its definition: that of before with what was added, if it goes on.

    Raises:
        UserError: If the place is taken by something else, or by a sweep that asked for something else.
        EnvironmentFault: If nothing can be written there.
    """
    stamp = f"{datetime.now():%Y-%m-%d_%H-%M-%S}-{secrets.token_hex(2)}"
    found = _named(config, config.name or stamp)
    check_place(found.path)
    return found, _extended(found, definition) if found.is_one() else definition


def ended_before(config: DictConfig) -> Collection[str]:
    """Return the trials that have ended of the sweep that a command goes on with; none if it begins one.

    Args:
        config: That of a trial.
    """
    found = _named(config, config.name) if config.name else None
    return found.ended() if found is not None and found.is_one() else ()


def _named(config: DictConfig, name: str) -> Sweep:
    return Sweep(Path(str(config.output_dir)) / "sweeps" / name)


def check_place(path: Path) -> None:
    """Refuse a place where no sweep can stand, before anything is written.

    Raises:
        UserError: If the place is taken by something else.
        EnvironmentFault: If it cannot be written.
    """
    from nnkit.runs.preflight import check_output

    check_output(path, None)
    inside = {one.name.removesuffix(TEMPORARY) for one in path.iterdir()} if path.is_dir() else set()
    if not (path / SWEEP).is_file() and not inside <= {*BEGINNINGS, SWEEP}:
        raise UserError(f"name: {path} exists already and is no sweep\n    choose another name=")


def _extended(found: Sweep, new: Definition) -> Definition:
    """Return the definition of a sweep that goes on, with the values that were added.

    Raises:
        UserError: If the command asks for something else than the sweep of this name was.
    """
    old = found.definition()
    different = [
        f"{name}: {_only(before, now)} in the sweep, {_only(now, before)} in the command"
        for name, before, now in (
            ("words", old.words, new.words),
            ("keys with several values", _keys(old), _keys(new)),
            ("kind", [_kind(old)], [_kind(new)]),
            ("option files", [old.config_dir or ""], [new.config_dir or ""]),
        )
        if sorted(before) != sorted(now)
    ]
    if new.search and old.search and sorted(old.axes) != sorted(new.axes):
        different.append(f"space: {' '.join(old.axes)} in the sweep, {' '.join(new.axes)} in the command")
    if different:
        lines = "\n    ".join(different)
        raise UserError(
            f"name: {found.path} is another sweep\n    {lines}\n    choose another name=, or go on with it: "
            f"nnkit resume {shorten(found.path)}"
        )
    refuse_other_search(found, old, new)
    axes = old.axes if new.search else _joined(old.axes, new.axes)
    return replace(old, axes=axes, launcher=new.launcher, sweeper=new.sweeper)


def _joined(old: Sequence[str], new: Sequence[str]) -> tuple[str, ...]:
    """Return the axes of a grid with the values that were added; those of before come first."""
    added = {axis.key: axis.choices or () for axis in read_space(new).axes}
    return tuple(
        f"{axis.key}={','.join(dict.fromkeys((*(axis.choices or ()), *added[axis.key])))}"
        for axis in read_space(old).axes
    )


def refuse_other_search(found: Sweep, old: Definition, new: Definition) -> None:
    """Refuse what would make another search, or other leases, of a sweep that has begun; more trials and time are fine.

    Raises:
        UserError: If anything else was changed.
    """
    kept = replace(old.sweeper, n_trials=new.sweeper.n_trials, timeout=new.sweeper.timeout)
    if kept != replace(new.sweeper, storage=without_password(new.sweeper.storage)):
        raise UserError(
            f"{found.path} was begun with {kept}\n    of a sweep that has begun only n_trials and timeout can change"
        )


def changed(definition: Definition, options: Options) -> Definition:
    """Return a definition with the options that were typed."""
    return replace(
        definition,
        launcher=replace(definition.launcher, **_typed(options, "launcher")),
        sweeper=replace(definition.sweeper, **_typed(options, "sweeper")),
    )


def _typed(options: Options, node: str) -> dict[str, Any]:
    names = [key.rpartition(".")[2] for key in options.typed if key.startswith(f"hydra.{node}.")]
    return {name: getattr(getattr(options, node), name) for name in names}


def _only(words: Sequence[str], others: Sequence[str]) -> str:
    return " ".join(word for word in words if word not in others) or "nothing"


def _keys(definition: Definition) -> list[str]:
    return sorted(word.partition("=")[0] for word in definition.axes)


def _kind(definition: Definition) -> str:
    return "a search" if definition.search else "a grid"
