"""`nnkit worker`: a process that takes trials of a sweep, beside others on any machine that sees its directory."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nnkit import config as configs
from nnkit.errors import UserError
from nnkit.runs.run import cpu_capability, versions
from nnkit.sweep.database import check_storage, refuse_elsewhere
from nnkit.sweep.directory import STORAGE, Definition, Sweep
from nnkit.sweep.driver import make_searcher, run_trials
from nnkit.sweep.leases import joined
from nnkit.sweep.plan import changed, examine_trials, on_this_machine, refuse_other_search
from nnkit.sweep.space import Space, read_options, read_space
from nnkit.ui.report import shorten

# What a worker may decide for itself; the rest is the sweep's.
_OWN = ("hydra.launcher.n_jobs", "hydra.launcher.memory_limit", STORAGE)
_log = logging.getLogger("nnkit")


@configs.loading_once()
def work(found: Sweep, words: Sequence[str]) -> int:
    """Run trials of a sweep until all are over.

    Args:
        found: The sweep.
        words: How this worker runs them: ``hydra.launcher.n_jobs=2``; where its storage is.

    Returns:
        0; 1 if a trial failed.

    Raises:
        ConfigError: If an option is wrong, or a config in the sweep is no longer one.
        UserError: If the sweep has no leases, or its storage was not typed.
        Interrupted: If a signal has ended the worker; its trials are anybody's then.
        EnvironmentFault: If something cannot be written or read.
    """
    found = go_where_it_began(found)
    definition = asked(found, words)
    say_what_differs(found)
    space = Space(definition.words, read_space(definition.axes).axes)
    ended = found.ended()
    config = examine_trials(space, definition.search, definition.config_dir, over=lambda first: ended)
    jobs = definition.launcher.n_jobs
    definition = on_this_machine(definition, config, jobs)
    with joined(found, definition, apart=True) as (mine, leases):
        searcher = make_searcher(mine, definition, leases, mine.entries())
        return run_trials(mine, definition, searcher, leases)


def asked(found: Sweep, words: Sequence[str]) -> Definition:
    """Return what a sweep was asked for, with what was typed for this worker.

    Raises:
        ConfigError: If an option is wrong.
        UserError: If the sweep has no leases, or its storage was not typed.
    """
    old = found.definition()
    if old.hydra:
        raise UserError(
            f"{found.path} was begun with {' '.join(old.hydra)}, whose trials take no leases\n"
            f"    go on with it on one machine: nnkit resume {shorten(found.path)}"
        )
    options = read_options(words)
    if options.launcher.n_jobs == 0:
        raise UserError("hydra.launcher.n_jobs=0: a worker runs at least one trial at a time")
    others = [*options.words, *sorted(options.typed - {*_OWN})]
    if others:
        raise UserError(
            f"{others[0]}: a worker runs the trials of the sweep as they are\n"
            f"    what it may decide is {', '.join(f'{name}=...' for name in _OWN)}"
        )
    new = changed(old, options)
    refuse_other_search(found, old, new)
    if STORAGE in options.typed:
        check_storage(new.sweeper.storage)
    else:
        refuse_elsewhere(found.path, new.sweeper.storage, "worker")
    return replace(new, launcher=replace(new.launcher, n_jobs=options.launcher.n_jobs))


def go_where_it_began(found: Sweep) -> Sweep:
    """Make the directory in which a sweep was begun the working directory, as paths in its words lead from there.

    It must be one above the sweep: the file of a sweep from elsewhere could name any other.
    """
    began, path = found.facts().get("directory"), found.path.absolute()
    if not isinstance(began, str) or Path(began) == Path.cwd():
        return found
    if not Path(began).is_dir() or not path.is_relative_to(began):
        _log.warning(
            "the sweep was begun in %s, which is not above it here: relative paths lead from %s",
            *(began, Path.cwd()),
        )
        return found
    os.chdir(began)
    return Sweep(path.relative_to(began))


def say_what_differs(found: Sweep) -> None:
    """Warn of versions and instructions that are not those of the sweep, as bits may differ then."""
    facts = found.facts()
    here = {**versions(), "instructions": cpu_capability()}
    known = facts.get("versions")
    before = {
        **(known if isinstance(known, dict) else {}),
        "instructions": facts.get("cpu_capability") or here["instructions"],
    }
    other = [
        f"{name} {before[name]} there, {now} here"
        for name, now in here.items()
        if before.get(name, now) != now
    ]
    if other:
        _log.warning("the sweep was begun with other versions, so that bits may differ: %s", ", ".join(other))
