"""A sweep from its command line, or from its directory, to its results: starts trials, records them, stops them."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from nnkit.errors import EnvironmentFault, UserError
from nnkit.files.atomic import WriteFault
from nnkit.machine import signals
from nnkit.sweep.directory import Definition, Request, Sweep
from nnkit.sweep.plan import (
    changed,
    define,
    examine_trials,
    find_place,
    has_validation,
    is_search,
    refuse_other_search,
    slots,
)
from nnkit.sweep.pool import Pool
from nnkit.sweep.space import Grid, Space, grid, read_options, read_space
from nnkit.sweep.trials import PLANNED, STARTED, Outcome, Trial, TrialReport
from nnkit.ui.report import shorten

if TYPE_CHECKING:
    from nnkit.sweep.display import Display

# Between two checks of signals and the clock.
_SECONDS = 0.5
_log = logging.getLogger("nnkit")


class Searcher(Protocol):
    """Where trials come from: a grid, or a search that learns from those that have ended."""

    def next(self) -> Trial | None:
        """Return a trial to start now; None if there is none at present."""

    def total(self) -> int | None:
        """Return how many trials there will be, those that have ended before included; None if unknown."""

    def report(self, trial: Trial, report: TrialReport) -> bool:
        """Take in a validation of a running trial; True ends the trial early."""

    def ended(self, trial: Trial, outcome: Outcome) -> None:
        """Take in the end of a trial."""


def sweep(overrides: Sequence[str], config_dir: Path | None) -> int:
    """Run what ``nnkit train -m`` asks for, or go on with it where a sweep of this name was interrupted.

    Args:
        overrides: The words of the command line.
        config_dir: A directory of more option files.

    Returns:
        0; 1 if a trial failed.

    Raises:
        ConfigError: With every mistake of every trial; nothing is written then.
        Interrupted: If a signal has ended the sweep, which can be resumed.
        EnvironmentFault: If something cannot be written or read.
    """
    options = read_options(overrides)
    space = read_space(options.words)
    search = is_search(options, space)
    more = None if config_dir is None else str(config_dir.absolute())
    config = examine_trials(space, search, more)
    if not has_validation(config):
        _log.warning(
            "these data have no validation split by themselves, and without one no setting can be named the best; "
            "data.val_fraction=0.2 holds one out"
        )
    return run(*find_place(config, define(options, space, search, config, more)))


def resume_sweep(found: Sweep, words: Sequence[str] = (), retry_failed: bool = False) -> int:
    """Go on with a sweep from its directory.

    Args:
        found: The sweep.
        words: Options to change: ``hydra.launcher.n_jobs=4``, ``hydra.sweeper.n_trials=60``.
        retry_failed: Whether failed trials are begun again.

    Returns:
        0; 1 if a trial failed.

    Raises:
        ConfigError: If an option is wrong, or a config in the sweep is no longer one.
        UserError: If another process runs it.
    """
    old = found.definition()
    if old.search and old.hydra:
        drawn = f"{found.path} was drawn with {' '.join(old.hydra)}"
        raise UserError(f"{drawn}, which cannot go on with it\n    begin another one with the whole command")
    options = read_options(words)
    if options.words:
        text = f"{options.words[0]} would make other trials of those that have ended"
        way = f"nnkit train -m ... name={found.path.name}"
        raise UserError(f"{text}\n    a finished grid takes new values by its own command: {way}")
    new = changed(old, options)
    refuse_other_search(found, old, new)
    if new.search and "hydra.sweeper.storage" not in options.typed:
        from nnkit.sweep.storage import refuse_elsewhere

        refuse_elsewhere(found.path, new.sweeper.storage)
    examine_trials(Space(new.words, read_space(new.axes).axes), new.search, new.config_dir)
    return run(found, new, retry_failed)


def run(found: Sweep, definition: Definition, retry_failed: bool = False) -> int:
    """Run the trials that are left, and show how the settings compare.

    Args:
        found: The sweep's directory, which need not exist yet.
        definition: What was asked for.
        retry_failed: Whether failed trials are begun again.

    Returns:
        0; 1 if a trial failed.
    """
    from nnkit.sweep.display import make_display
    from nnkit.sweep.results import show_results, write_results

    axes = read_space(definition.axes).axes
    if definition.search:
        from nnkit.sweep.storage import check_storage

        check_storage(definition.sweeper.storage)
    with found.locked():
        found.repair()
        entries = found.settle()
        searcher: Searcher
        if definition.search:
            from nnkit.sweep.search import Search

            searcher = Search(found, definition, axes, entries, retry_failed)
            found.define(definition)
        else:
            trials = list(grid(axes))
            searcher = Grid(trials, entries, retry_failed)
            found.define(definition)
            found.note(*((trial, Outcome(PLANNED)) for trial in trials if trial.name not in entries))
        Driver(found, definition, searcher, make_display(definition, found.path)).run()
        write_results(found)
        return 0 if show_results(found).all_done else 1


class Driver:
    """Runs the trials of one sweep, which this process holds.

    Args:
        sweep: Its directory.
        definition: What was asked for.
        searcher: Where trials come from.
        display: Shows them.
    """

    def __init__(self, sweep: Sweep, definition: Definition, searcher: Searcher, display: Display) -> None:
        self.sweep = sweep
        self.definition = definition
        self.searcher = searcher
        self.display = display

    def run(self) -> None:
        """Run trials until no more come.

        Raises:
            Interrupted: If a signal has ended the sweep, which can be resumed.
            EnvironmentFault: If the status file cannot be written, or what a search learns cannot be kept.
        """
        self.display.begin(self.sweep.settled(), self.searcher.total())
        try:
            # A signal ends the trials with this process; they can go on later.
            with signals.noted(before_leaving=self.display.close), Pool(slots(self.definition)) as pool:
                self._loop(pool)
        except EnvironmentFault as fault:
            raise EnvironmentFault(f"{fault}\n    {self._way_on()}") from fault
        finally:
            self.display.close()

    def _way_on(self) -> str:
        return f"continue with: nnkit resume {shlex.quote(shorten(self.sweep.path))}"

    def _loop(self, pool: Pool) -> None:
        from nnkit.callbacks.signals import Interrupted

        try:
            while not signals.stop() and (self._fill(pool) or not pool.is_idle):
                if signals.wants_save():
                    signals.saved()
                    pool.save()
                for trial, said in pool.wait(_SECONDS):
                    self._take(pool, trial, said)
        except BaseException:
            # What has gone wrong is not the trials' fault: they save and stop.
            with suppress(WriteFault):
                self.sweep.note(*pool.drain())
            raise
        if signals.stop():
            for trial, outcome in pool.drain():
                self.sweep.note((trial, outcome))
                self.display.ended(trial, outcome)
            raise Interrupted(signals.stop(), saved=True, where=f"; {self._way_on()}")

    def _fill(self, pool: Pool) -> bool:
        """Start trials while there is room; return whether any was started."""
        started = False
        while pool.has_room and (trial := self.searcher.next()) is not None:
            self.sweep.note((trial, Outcome(STARTED)))
            pool.start(Request(self.sweep.path, trial, self.definition, Path.cwd(), dict(os.environ)))
            self.display.started(trial)
            started = True
        return started

    def _take(self, pool: Pool, trial: Trial, said: TrialReport | Outcome) -> None:
        if isinstance(said, Outcome):
            self.sweep.note((trial, said))
            self.searcher.ended(trial, said)
            self.display.ended(trial, said)
            return
        self.display.progress(trial, said)
        if said.validated:
            stop = self.searcher.report(trial, said)
            if self.definition.sweeper.pruner is not None:
                pool.answer(trial, stop)
