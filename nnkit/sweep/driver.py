"""Runs the trials of a sweep: starts them, hears them, writes down how each ended, and stops in order."""

from __future__ import annotations

import os
import shlex
from contextlib import suppress
from pathlib import Path

from nnkit.callbacks.signals import Interrupted
from nnkit.errors import EnvironmentFault
from nnkit.files.atomic import WriteFault
from nnkit.machine import signals
from nnkit.sweep.definition import Definition
from nnkit.sweep.directory import Sweep
from nnkit.sweep.pool import Pool
from nnkit.sweep.settings import num_bytes
from nnkit.sweep.trial import Request
from nnkit.sweep.trials import STARTED, Outcome, Progress, Source, Trial, View
from nnkit.ui.report import shorten

# Between two looks at signals and at the clock.
_SECONDS = 0.5


class Driver:
    """Runs the trials of one sweep, which this process holds.

    Args:
        sweep: Its directory.
        definition: What was asked for.
        source: Where trials come from.
        view: Shows them.
        slots: The GPUs of each trial that runs at the same time; see `Pool`.
    """

    def __init__(
        self,
        sweep: Sweep,
        definition: Definition,
        source: Source,
        view: View,
        slots: list[tuple[int, ...] | None],
    ) -> None:
        self.sweep = sweep
        self.definition = definition
        self.source = source
        self.view = view
        self.slots = slots

    def run(self) -> None:
        """Run trials until no more come.

        Raises:
            Interrupted: If a signal has ended the sweep, which can be resumed.
            EnvironmentFault: If the status file cannot be written, or what a search learns cannot be kept.
        """
        self.view.begin(self.sweep.settled(), self.source.total())
        try:
            # Trials go with this process, and can go on.
            with signals.noted(before_leaving=self.view.close), Pool(self.slots) as pool:
                self._loop(pool)
        except EnvironmentFault as fault:
            raise EnvironmentFault(f"{fault}\n    {self._way_on()}") from fault
        finally:
            self.view.close()

    def _way_on(self) -> str:
        return f"continue with: nnkit resume {shlex.quote(shorten(self.sweep.path))}"

    def _loop(self, pool: Pool) -> None:
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
                self.view.ended(trial, outcome)
            raise Interrupted(signals.stop(), saved=True, where=f"; {self._way_on()}")

    def _fill(self, pool: Pool) -> bool:
        """Start trials while there is room; say whether any was started."""
        started = False
        while pool.has_room and (trial := self.source.next()) is not None:
            self.sweep.note((trial, Outcome(STARTED)))
            pool.start(trial, self._request(trial))
            self.view.started(trial)
            started = True
        return started

    def _request(self, trial: Trial) -> Request:
        limit = self.definition.launcher.memory_limit
        return Request(
            sweep=self.sweep.path,
            name=trial.name,
            words=(*self.definition.words, *trial.words),
            config_dir=self.definition.config_dir,
            num_threads=self.definition.num_threads,
            waits=self.definition.sweeper.pruner is not None,
            log=self.sweep.log_of(trial).absolute(),
            directory=Path.cwd(),
            environment=dict(os.environ),
            memory_limit=None if limit is None else num_bytes(limit),
        )

    def _take(self, pool: Pool, trial: Trial, said: Progress | Outcome) -> None:
        if isinstance(said, Outcome):
            self.sweep.note((trial, said))
            self.source.ended(trial, said)
            self.view.ended(trial, said)
            return
        self.view.progress(trial, said)
        if said.validated:
            stop = self.source.report(trial, said)
            if self.definition.sweeper.pruner is not None:
                pool.answer(trial, stop)
