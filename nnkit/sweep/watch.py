"""Shows trials that only write down how they stand: those that a launcher of Hydra's ecosystem runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import TextIO

from nnkit.sweep.directory import STATUS, Sweep
from nnkit.sweep.trials import OVER, STARTED, STOPPED, Entry, View

_SECONDS = 0.1


class Watch:
    """Reads the status file now and then, in a thread that sleeps in between.

    Args:
        sweep: The sweep.
        view: Shows it.
    """

    def __init__(self, sweep: Sweep, view: View) -> None:
        self.sweep, self.view = sweep, view
        self._size = 0
        self._states: dict[str, str] = {}
        self._done = Event()
        self._thread = Thread(target=self._watch, name="watch", daemon=True)

    def start(self, entries: Mapping[str, Entry], total: int | None) -> None:
        """Begin with the trials of before."""
        self._size = self._length()
        # What a killed sweep left as started is started again.
        self._states = {
            name: entry.outcome.state for name, entry in entries.items() if entry.outcome.state in OVER
        }
        self.view.begin(entries, total)
        self._thread.start()

    def stop(self) -> None:
        """Show what has happened since the last look, and end; may be called more than once."""
        self._done.set()
        self._thread.join()
        try:
            # Whoever read what is shown may have gone.
            with suppress(BrokenPipeError):
                self._look()
        finally:
            self.view.close()

    def _watch(self) -> None:
        with suppress(BrokenPipeError):
            while not self._done.wait(_SECONDS):
                self._look()

    def _look(self) -> None:
        size = self._length()
        if size == self._size:
            return
        self._size = size
        for name, entry in self.sweep.entries().items():
            state, before = entry.outcome.state, self._states.get(name)
            if state == before or state not in OVER | {STARTED, STOPPED}:
                continue
            self._states[name] = state
            if before != STARTED:
                self.view.started(entry.trial)
            if state != STARTED:
                self.view.ended(entry.trial, entry.outcome)

    def _length(self) -> int:
        path = self.sweep.path / STATUS
        return path.stat().st_size if path.exists() else 0


@contextmanager
def own_output() -> Iterator[TextIO]:
    """Yield standard output as it is now, whatever a trial in this process makes of it meanwhile."""
    sys.stdout.flush()
    with os.fdopen(os.dup(1), "w", encoding=sys.stdout.encoding or "utf-8") as file:
        yield file
