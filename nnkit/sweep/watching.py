"""What trials that other processes run note in the status files, shown as if they ran here."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from nnkit.sweep.directory import Sweep
from nnkit.sweep.trials import OVER, STARTED, STOPPED

if TYPE_CHECKING:
    from nnkit.sweep.display import Display


class Others:
    """Follows the status files of a sweep.

    Args:
        sweep: The sweep.
        display: Shows it.
    """

    def __init__(self, sweep: Sweep, display: Display) -> None:
        self.sweep = sweep
        self.display = display
        self._size = 0
        self._states: dict[str, str] = {}

    def begin(self, total: int | None) -> None:
        """Begin to show the sweep; `total` is how many trials there will be, None if that is unknown."""
        self._size = self.sweep.size()
        entries = self.sweep.settled()
        # What a killed process left as started is started again.
        self._states = {name: one.outcome.state for name, one in entries.items() if one.outcome.state in OVER}
        self.display.begin(entries, total)

    def look(self, mine: Collection[str] = ()) -> None:
        """Show what has been noted since, but for the trials of this process, which are shown as they run."""
        before, self._size = self._size, self.sweep.size()
        for name, entry in self.sweep.entries().items() if self._size != before else ():
            state, last = entry.outcome.state, self._states.get(name)
            if name in mine or state == last or state not in OVER | {STARTED, STOPPED}:
                continue
            self._states[name] = state
            if last != STARTED:
                self.display.started(entry.trial)
            if state != STARTED:
                self.display.ended(entry.trial, entry.outcome)
