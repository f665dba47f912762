"""The trials of a grid, in order: those that have ended are passed over, interrupted ones go on."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from nnkit.sweep.trials import FAILED, OVER, Entry, Outcome, Progress, Trial


class Grid:
    """Hands out every trial of a grid once.

    Args:
        trials: All trials, in order.
        entries: What is known of those of before, by name.
        retry_failed: Whether failed ones are begun again.
    """

    def __init__(
        self, trials: Iterable[Trial], entries: Mapping[str, Entry], retry_failed: bool = False
    ) -> None:
        over = OVER - FAILED if retry_failed else OVER
        every = list(trials)
        self._total = len(every)
        self._waiting = deque(
            trial
            for trial in every
            if trial.name not in entries or entries[trial.name].outcome.state not in over
        )

    def next(self) -> Trial | None:
        """Return the next trial; None after the last."""
        return self._waiting.popleft() if self._waiting else None

    def total(self) -> int:
        """Return the number of trials."""
        return self._total

    def report(self, trial: Trial, progress: Progress) -> bool:
        """Let every trial of a grid go on."""
        return False

    def ended(self, trial: Trial, outcome: Outcome) -> None:
        """Learn nothing from it."""
