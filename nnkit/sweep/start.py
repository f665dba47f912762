"""A sweep from its command line, or from its directory, to its table of results."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnkit.errors import ConfigError, Problem, UserError
from nnkit.files.atomic import TEMPORARY
from nnkit.sweep.definition import Definition, Launcher, Sweeper
from nnkit.sweep.directory import BEGINNINGS, SWEEP, Sweep
from nnkit.sweep.examination import Plan, examine, without
from nnkit.sweep.settings import Settings, read_settings
from nnkit.sweep.space import Space, grid, read_space
from nnkit.sweep.trials import PLANNED, Outcome, Source
from nnkit.ui.report import shorten

if TYPE_CHECKING:
    from nnkit.config.flags import Flags

_log = logging.getLogger("nnkit")
# What belongs to the sweep and not to its trials.
_OWN = ("name", "output_dir", "auto_resume")
_EXAMPLE = "such as optimizer.lr=tag(log,interval(1e-4,1e-1))"


def sweep(flags: Flags) -> int:
    """Run what ``nnkit train -m`` asks for, or go on with it where a sweep of this name was interrupted.

    Args:
        flags: The words of the command line.

    Returns:
        0; 1 if a trial failed.

    Raises:
        ConfigError: With every mistake of every trial; nothing is written then.
        Interrupted: If a signal has ended the sweep, which can be resumed.
        EnvironmentFault: If something cannot be written or read.
    """
    settings = read_settings(flags.overrides)
    space = read_space(settings.words)
    search = _is_search(settings, space)
    config_dir = None if flags.config_dir is None else str(Path(flags.config_dir).absolute())
    plan = examine(space, search, config_dir)
    if not plan.validates:
        _log.warning(
            "these data have no validation part by themselves, and without one no setting can be named the best; "
            "data.val_fraction=0.2 holds one out"
        )
    return run(*place(plan, define(settings, space, search, plan, config_dir)))


def resume_sweep(found: Sweep, words: Sequence[str] = (), retry_failed: bool = False) -> int:
    """Go on with a sweep from its directory.

    Args:
        found: The sweep.
        words: Settings to change: ``hydra.launcher.n_jobs=4``, ``hydra.sweeper.n_trials=60``.
        retry_failed: Whether failed trials are begun again.

    Returns:
        0; 1 if a trial failed.

    Raises:
        ConfigError: If a setting is wrong, or a config in the sweep is no longer one.
        UserError: If another process runs it.
    """
    definition = found.definition()
    if definition.search and definition.hydra:
        drawn = f"{found.path} was drawn with {' '.join(definition.hydra)}"
        raise UserError(f"{drawn}, which cannot go on with it\n    begin another one with the whole command")
    settings = read_settings(words)
    if settings.words:
        text = f"{settings.words[0]} would make other trials of those that have ended"
        way = f"nnkit train -m ... name={found.path.name}"
        raise UserError(f"{text}\n    a finished grid takes new values by its own command: {way}")
    changed = replace(
        definition,
        launcher=_changed(definition.launcher, settings, "hydra.launcher"),
        sweeper=_changed(definition.sweeper, settings, "hydra.sweeper"),
    )
    _refuse_other_search(found, definition, changed)
    if changed.search and "hydra.sweeper.storage" not in settings.typed:
        from nnkit.sweep.storage import refuse_elsewhere

        refuse_elsewhere(found.path, changed.sweeper.storage)
    examine(Space(changed.words, read_space(changed.axes).axes), changed.search, changed.config_dir)
    return run(found, changed, retry_failed)


def run(found: Sweep, definition: Definition, retry_failed: bool = False) -> int:
    """Run the trials that are left, and show how the settings compare.

    Args:
        found: The sweep's directory, which need not exist yet.
        definition: What was asked for.
        retry_failed: Whether failed trials are begun again.

    Returns:
        0; 1 if a trial failed.
    """
    from nnkit.sweep.driver import Driver
    from nnkit.sweep.live import make_view
    from nnkit.sweep.results import show_results, write_results

    axes = read_space(definition.axes).axes
    if definition.search:
        from nnkit.sweep.storage import check_storage

        check_storage(definition.sweeper.storage)
    with found.locked():
        found.repair()
        entries = found.settle()
        source: Source
        if definition.search:
            from nnkit.sweep.search import Search

            source = Search(found, definition, axes, entries, retry_failed)
        else:
            from nnkit.sweep.grid import Grid

            trials = list(grid(axes))
            new = [trial for trial in trials if trial.name not in entries]
            source = Grid(trials, entries, retry_failed)
        found.define(definition)
        if not definition.search:
            found.note(*((trial, Outcome(PLANNED)) for trial in new))
        Driver(found, definition, source, make_view(definition, found.path), slots(definition)).run()
        write_results(found)
        return 0 if show_results(found).all_done else 1


def define(settings: Settings, space: Space, search: bool, plan: Plan, config_dir: str | None) -> Definition:
    """Return the definition of a new sweep, the threads of each trial fixed."""
    axes = tuple(axis.word for axis in space.axes)
    launcher = settings.launcher
    if launcher.n_jobs is None:
        count = settings.sweeper.n_trials if search else sum(1 for _ in grid(space.axes))
        launcher = replace(launcher, n_jobs=max(1, min(_places(plan), count or 1)))
    assert launcher.n_jobs is not None
    return Definition(
        words=without(space.fixed, *_OWN),
        axes=axes,
        search=search,
        monitor=plan.monitor,
        mode=plan.mode,
        num_threads=max(1, cores() // launcher.n_jobs),
        launcher=launcher,
        sweeper=settings.sweeper,
        config_dir=config_dir,
        gpus=plan.devices if plan.uses_gpu and _gpus() else 0,
    )


def slots(definition: Definition) -> list[tuple[int, ...] | None]:
    """Return the GPUs of each trial that may run at the same time; None where trials use none."""
    count = definition.launcher.n_jobs or 1
    if not definition.gpus:
        return [None] * count
    there, each = _gpus(), definition.gpus
    # More trials than GPUs share them in turn.
    return [tuple((number * each + one) % max(there, 1) for one in range(each)) for number in range(count)]


def place(plan: Plan, definition: Definition) -> tuple[Sweep, Definition]:
    """Return where a sweep stands, and its definition: that of before with what was added, if it goes on.

    Raises:
        UserError: If something else stands there, or a sweep that asks for something else.
        EnvironmentFault: If nothing can be written there.
    """
    stamp = f"{datetime.now():%Y-%m-%d_%H-%M-%S}-{secrets.token_hex(2)}"
    found = Sweep(Path(plan.output_dir) / "sweeps" / (plan.name or stamp))
    check_place(found.path)
    return found, _extended(found, definition) if found.is_one() else definition


def check_place(path: Path) -> None:
    """Refuse a place where no sweep can stand, before anything is written.

    Raises:
        UserError: If something else stands there.
        EnvironmentFault: If it cannot be written.
    """
    from nnkit.runs.preflight import check_output

    check_output(path, None)
    inside = {one.name.removesuffix(TEMPORARY) for one in path.iterdir()} if path.is_dir() else set()
    if not (path / SWEEP).is_file() and not inside <= {*BEGINNINGS, SWEEP}:
        raise UserError(f"name: {path} exists already and is no sweep\n    choose another name=")


def _is_search(settings: Settings, space: Space) -> bool:
    sweeper, problems = settings.sweeper, []
    search = space.has_interval or sweeper.n_trials is not None
    if search and sweeper.n_trials is None and sweeper.timeout is None:
        key = next(axis.key for axis in space.axes if axis.choices is None)
        text = "an interval has no end of values: say how many are tried"
        problems.append(Problem(key, text, "hydra.sweeper.n_trials=30, or hydra.sweeper.timeout=SECONDS"))
    if search and not space.axes:
        problems.append(Problem("hydra.sweeper.n_trials", "there is nothing to search", _EXAMPLE))
    idle = sorted(key for key in settings.typed if key.startswith("hydra.sweeper."))
    if not search and idle:
        text = "belongs to a search, and this is a grid, which tries every value once"
        problems.append(Problem(idle[0], text, "add hydra.sweeper.n_trials=30 to search"))
    if "hydra.sweeper.patience" in settings.typed and sweeper.pruner != "patient":
        text = f"belongs to pruner=patient, not to {sweeper.pruner}"
        problems.append(Problem("hydra.sweeper.patience", text))
    problems += own_axes(space)
    if problems:
        raise ConfigError(problems)
    return search


def own_axes(space: Space) -> list[Problem]:
    """Return a problem for each axis of what belongs to the sweep and not to its trials."""
    text = "belongs to the sweep as a whole: each trial has a directory of its own in it"
    keys = [axis.key for axis in space.axes if axis.key in _OWN]
    return [Problem(key, text, f"one value: {key}=...") for key in keys]


def _extended(found: Sweep, new: Definition) -> Definition:
    """Return the definition of a sweep that goes on, with the values that were added.

    Raises:
        UserError: If the command asks for something else than the sweep of this name was.
    """
    old = found.definition()
    different = [
        f"{name}: {_words(_only(before, now))} in the sweep, {_words(_only(now, before))} in the command"
        for name, before, now in (
            ("words", old.words, new.words),
            ("keys with several values", _keys(old), _keys(new)),
            ("kind", [_kind(old)], [_kind(new)]),
            ("option files", [old.config_dir or ""], [new.config_dir or ""]),
        )
        if sorted(before) != sorted(now)
    ]
    if new.search and old.search and sorted(old.axes) != sorted(new.axes):
        different.append(f"space: {_words(old.axes)} in the sweep, {_words(new.axes)} in the command")
    if different:
        lines = "\n    ".join(different)
        raise UserError(
            f"name: {found.path} is another sweep\n    {lines}\n    choose another name=, or go on with it: "
            f"nnkit resume {shorten(found.path)}"
        )
    _refuse_other_search(found, old, new)
    axes = old.axes if new.search else _joined(old.axes, new.axes)
    launcher = new.launcher
    return replace(old, axes=axes, launcher=launcher, sweeper=new.sweeper)


def _joined(old: Sequence[str], new: Sequence[str]) -> tuple[str, ...]:
    """Return the axes of a grid with the values that were added; those of before come first."""
    added = {axis.key: axis.choices or () for axis in read_space(new).axes}
    words = []
    for axis in read_space(old).axes:
        values = dict.fromkeys((*(axis.choices or ()), *added[axis.key]))
        words.append(f"{axis.key}={','.join(values)}")
    return tuple(words)


def _refuse_other_search(found: Sweep, old: Definition, new: Definition) -> None:
    """Refuse what would make another search of one that has begun; more trials and more time are fine."""
    if not old.search:
        return
    free = Sweeper(n_trials=new.sweeper.n_trials, timeout=new.sweeper.timeout)
    same = replace(new.sweeper, n_trials=free.n_trials, timeout=free.timeout)
    kept = replace(old.sweeper, n_trials=free.n_trials, timeout=free.timeout)
    if same != kept:
        raise UserError(
            f"{found.path} was begun with {kept}\n    of a search that has begun only n_trials and timeout can change"
        )


def _changed(node: Launcher | Sweeper, settings: Settings, name: str) -> Any:
    given = settings.launcher if name == "hydra.launcher" else settings.sweeper
    typed = [key.rpartition(".")[2] for key in settings.typed if key.startswith(f"{name}.")]
    return replace(node, **{key: getattr(given, key) for key in typed})


def _only(words: Sequence[str], others: Sequence[str]) -> list[str]:
    return [word for word in words if word not in others]


def _words(words: Sequence[str]) -> str:
    return " ".join(words) or "nothing"


def _keys(definition: Definition) -> list[str]:
    return sorted(word.partition("=")[0] for word in definition.axes)


def _kind(definition: Definition) -> str:
    return "a search" if definition.search else "a grid"


def _places(plan: Plan) -> int:
    """Return how many trials this machine can run at once."""
    gpus = _gpus() if plan.uses_gpu else 0
    return gpus // plan.devices if gpus else cores()


def cores() -> int:
    """Return how many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()
