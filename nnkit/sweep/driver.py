"""A sweep from its command line, or from its directory, to its results: starts trials, records them, stops them."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from nnkit import config as configs
from nnkit.distributed.world import without_place
from nnkit.errors import EnvironmentFault, UserError
from nnkit.machine import signals
from nnkit.sweep.directory import STATUS, Definition, Request, Sweep, without_password
from nnkit.sweep.leases import CLOSED, TAKEN, Leases, joined, reopen
from nnkit.sweep.plan import (
    changed,
    check_storage,
    define,
    ended_before,
    examine_trials,
    find_place,
    has_validation,
    is_search,
    on_this_machine,
    refuse_other_search,
    slots,
    way_on,
)
from nnkit.sweep.pool import Pool, warm_up
from nnkit.sweep.space import Grid, Space, grid, read_options, read_space
from nnkit.sweep.trials import FAILED, OVER, PLANNED, STARTED, STOPPED, Entry, Outcome, Trial, TrialReport
from nnkit.sweep.watching import Others
from nnkit.ui.report import shorten, show

if TYPE_CHECKING:
    from nnkit.sweep.display import Display

# Between two checks of signals and the clock.
_SECONDS = 0.5
# Which of several processes that end together writes the table, and which writes the sweep's own files.
_RESULTS, _DRIVER = "results", "driver"
# A lease that is not stale after so many times its seconds is being renewed; it is looked at so often in them.
_AS_LONG, _AS_OFTEN = 1.5, 10
_log = logging.getLogger("nnkit")


class Searcher(Protocol):
    """Where trials come from: a grid, or a search that learns from those that have ended."""

    def offers(self) -> Iterator[Trial]:
        """Yield the trials that may be started now, as far as no other process runs them."""

    def waits(self) -> bool:
        """Return whether trials may still be offered, those that others run now among them."""

    def total(self) -> int | None:
        """Return how many trials there will be, those that have ended before included; None if unknown."""

    def report(self, trial: Trial, report: TrialReport) -> bool:
        """Take in a validation of a running trial; True ends the trial early."""

    def ended(self, trial: Trial, outcome: Outcome) -> None:
        """Take in the end of a trial that this process had."""

    def closed(self, trial: Trial) -> None:
        """Take in that a trial has ended elsewhere."""


@configs.loading_once()
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
    check_storage(options.sweeper.storage)
    space = read_space(options.words)
    search = is_search(options, space)
    more = None if config_dir is None else str(config_dir.absolute())
    here = options.launcher.n_jobs != 0
    config = examine_trials(space, search, more, here, over=ended_before)
    if not has_validation(config):
        _log.warning(
            "these data have no validation split by themselves, and without one no setting can be named the best; "
            "data.val_fraction=0.2 holds one out"
        )
    return run(*find_place(config, define(options, space, search, config, more)))


@configs.loading_once()
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
    if "hydra.sweeper.storage" not in options.typed:
        from nnkit.sweep.database import refuse_elsewhere

        refuse_elsewhere(found.path, new.sweeper.storage)
    space = Space(new.words, read_space(new.axes).axes)
    ended = found.ended(failed=not retry_failed)
    if not new.search and all(trial.name in ended for trial in grid(space.axes)):
        # Nothing is left that could be wrong, or would need torch and a lease.
        with found.locked():
            found.repair()
            found.settle()
            return _shown(found)
    # The server imports what trials need while this process imports what it needs itself.
    warm_up()
    config = examine_trials(space, new.search, new.config_dir, over=lambda first: ended)
    if not new.launcher.n_jobs:
        # It was begun for workers alone; whoever types this wants it to run here.
        new = on_this_machine(new, config, None)
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
    check_storage(definition.sweeper.storage)
    with found.locked(), joined(found, definition, apart=False) as (mine, leases):
        _be_the_only_driver(mine, definition, leases)
        mine.repair()
        if retry_failed:
            for entry in mine.settled().values():
                if entry.outcome.state in FAILED:
                    reopen(mine, leases, entry.trial)
        entries = mine.entries()
        searcher = make_searcher(mine, definition, leases, entries)
        found.define(definition)
        if not definition.search:
            trials = grid(read_space(definition.axes).axes)
            mine.note(*((trial, Outcome(PLANNED)) for trial in trials if trial.name not in entries))
        if definition.launcher.n_jobs == 0:
            show(f"{shorten(found.path)} is run by: {way_on(found.path, definition, 'worker')}")
            return 0
        return run_trials(mine, definition, searcher, leases)


def _be_the_only_driver(found: Sweep, definition: Definition, leases: Leases) -> None:
    """Take the lease of a sweep as a whole: its lock may not be seen by other machines.

    Raises:
        UserError: If a process on another machine has it, and shows that it lives.
    """
    seconds, warned = _AS_LONG * leases.seconds, False
    until = time.monotonic() + seconds
    while leases.take(_DRIVER) != TAKEN:
        if time.monotonic() >= until:
            beside = way_on(found.path, definition, "worker")
            raise UserError(
                f"{found.path} is being run on another machine\n    to take trials beside it: {beside}"
            )
        if not warned:
            before = "on another machine, or before this one was started"
            _log.warning("%s was run %s: up to %.0f s for a sign of life", found.path, before, seconds)
        warned = True
        time.sleep(min(_SECONDS, leases.seconds / _AS_OFTEN))


def make_searcher(
    found: Sweep, definition: Definition, leases: Leases, entries: Mapping[str, Entry]
) -> Searcher:
    """Return where the trials of a sweep come from.

    Args:
        found: The sweep.
        definition: What was asked for.
        leases: Those of this process.
        entries: The trials of before, by name.
    """
    axes = read_space(definition.axes).axes
    if not definition.search:
        return Grid(grid(axes), entries)
    from nnkit.sweep.search import Search

    return Search(found, definition, axes, entries, leases)


def run_trials(found: Sweep, definition: Definition, searcher: Searcher, leases: Leases) -> int:
    """Run trials until all are over, also those that other processes run, and show how the settings compare.

    Returns:
        0; 1 if a trial failed.
    """
    from nnkit.sweep.display import make_display

    Driver(found, definition, searcher, make_display(definition, found.path), leases).run()
    # All that end together write the same, one after the other.
    while leases.take(_RESULTS) != TAKEN:
        time.sleep(_SECONDS)
    code = _shown(found)
    leases.leave(_RESULTS, over=False)
    return code


def _shown(found: Sweep) -> int:
    """Write and show how the settings of a sweep compare; return 1 if a trial failed or was not run."""
    from nnkit.sweep.results import show_results, write_results

    write_results(found)
    return 0 if show_results(found).all_done else 1


class Driver:
    """Runs trials of one sweep in this process, beside others that may do so too.

    Args:
        sweep: Its directory.
        definition: What was asked for.
        searcher: Where trials come from.
        display: Shows them.
        leases: Those of this process.
    """

    def __init__(
        self, sweep: Sweep, definition: Definition, searcher: Searcher, display: Display, leases: Leases
    ) -> None:
        self.sweep = sweep
        self.definition = definition
        self.searcher = searcher
        self.display = display
        self.leases = leases
        self._others = Others(sweep, display)
        # Trials that are shown as they run here, and those of them whose lease could not be kept.
        self._mine: set[str] = set()
        self._late: set[str] = set()
        # When trials are looked for again, after there was none to be had, and what others do.
        self._look_at = self._others_at = 0.0
        # The password of a storage is none of the trials' business.
        storage = without_password(definition.sweeper.storage)
        self._told = replace(definition, sweeper=replace(definition.sweeper, storage=storage))

    def run(self) -> None:
        """Run trials until no more come.

        Raises:
            Interrupted: If a signal has ended the sweep, which can be resumed.
            EnvironmentFault: If the status file cannot be written, or what a search learns cannot be kept.
        """
        self._others.begin(self.searcher.total())
        try:
            # A signal ends the trials with this process; they can go on later.
            with signals.noted(before_leaving=self.display.close), Pool(slots(self.definition)) as pool:
                self.leases.end, self.leases.renewal = partial(self._end, pool), pool.renewed
                self._loop(pool)
        except EnvironmentFault as fault:
            raise EnvironmentFault(f"{fault}\n    {self._way_on()}") from fault
        finally:
            self.display.close()

    def _way_on(self) -> str:
        verb = "resume" if self.sweep.status == self.sweep.path / STATUS else "worker"
        return f"continue with: {way_on(self.sweep.path, self.definition, verb)}"

    def _loop(self, pool: Pool) -> None:
        try:
            while not signals.stop() and (self._fill(pool) or not pool.is_idle or self.searcher.waits()):
                if signals.wants_save():
                    signals.saved()
                    pool.save()
                if pool.is_idle:
                    # Others run what is left: it is taken over if they are lost.
                    time.sleep(_SECONDS)
                for trial, said in pool.wait(_SECONDS):
                    self._take(pool, trial, said)
                if time.monotonic() >= self._others_at:
                    self._others.look(self._mine)
                    self._others_at = time.monotonic() + self.sweep.pause
        except BaseException:
            # What has gone wrong is not the trials' fault: they save and stop.
            self.leases.hurry()
            with suppress(EnvironmentFault):
                for trial, outcome in pool.drain():
                    self._give_back(trial, outcome)
            raise
        if signals.stop():
            for trial, outcome in pool.drain():
                self._give_back(trial, outcome)
                self.display.ended(trial, outcome)
            from nnkit.callbacks.signals import Interrupted

            raise Interrupted(signals.stop(), saved=True, where=f"; {self._way_on()}")

    def _fill(self, pool: Pool) -> bool:
        """Start trials while there is room; return whether any was started."""
        started = False
        while pool.has_room and (trial := self._next()) is not None:
            self.sweep.note((trial, Outcome(STARTED)))
            pool.start(Request(self.sweep.path, trial, self._told, Path.cwd(), without_place(os.environ)))
            self._mine.add(trial.name)
            self.display.started(trial)
            started = True
        return started

    def _next(self) -> Trial | None:
        """Return a trial whose lease this process has now; None if there is none to be had."""
        if time.monotonic() < self._look_at:
            return None
        for trial in self.searcher.offers():
            # A run that is held goes on, although its worker may be gone.
            if self.leases.holds(trial.name) or self.sweep.run_of(trial).held():
                continue
            answer = self.leases.take(trial.name)
            if answer == CLOSED:
                self.searcher.closed(trial)
            elif answer == TAKEN and self._is_left(trial):
                return trial
        self._look_at = time.monotonic() + self.sweep.pause
        return None

    def _is_left(self, trial: Trial) -> bool:
        """Return whether a trial whose lease was just taken is to be run; whoever had it before may have ended it."""
        outcome = self.sweep.outcome_of(trial)
        if outcome.state not in OVER:
            return True
        self._give_back(trial, outcome)
        self.searcher.ended(trial, outcome)
        self.display.ended(trial, outcome)
        return False

    def _give_back(self, trial: Trial, outcome: Outcome) -> None:
        """Note how a trial has ended, and give its lease back, unless that is another's by now."""
        if self.leases.holds(trial.name):
            self.sweep.note((trial, outcome))
            self.leases.leave(trial.name, over=outcome.state in OVER)

    def _take(self, pool: Pool, trial: Trial, said: TrialReport | Outcome) -> None:
        if isinstance(said, TrialReport):
            self.display.progress(trial, said)
            if said.validated:
                stop = self.searcher.report(trial, said)
                if self.definition.sweeper.pruner is not None:
                    pool.answer(trial, stop)
            return
        # What is offered next may depend on it.
        self._look_at = 0.0
        if trial.name in self._late or not self.leases.holds(trial.name):
            self._late.discard(trial.name)
            self._mine.discard(trial.name)
            said = Outcome(STOPPED, "its lease could not be renewed in time")
            self._give_back(trial, said)
        else:
            self.sweep.note((trial, said))
            self.searcher.ended(trial, said)
            self.leases.leave(trial.name, over=said.state in OVER)
        self.display.ended(trial, said)

    def _end(self, pool: Pool, name: str, at_once: bool) -> None:
        """End a trial whose lease cannot be kept; called by the thread that renews leases."""
        self._late.add(name)
        pool.end(name, at_once)
