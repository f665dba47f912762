"""How a sweep stands: counts, the trials that run, the latest that ended, and how long the rest will take."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nnkit.sweep.trials import DONE, FAILED, OVER, PRUNED, Entry, Outcome, Progress, Trial

# Ended trials that are remembered; a terminal shows no more.
KEPT = 100


@dataclass
class Running:
    """A trial that runs.

    Attributes:
        trial: The trial.
        since: When it was started.
        first: The first thing it said of itself, and when: a resumed one does not begin at step 0.
        latest: The latest, and when.
    """

    trial: Trial
    since: float
    first: tuple[float, Progress] | None = None
    latest: tuple[float, Progress] | None = None

    def seconds_left(self, now: float) -> float | None:
        """Return the seconds to its end at the speed it had so far; None if that cannot be told yet."""
        if self.first is None or self.latest is None:
            return None
        (begin, first), (said, latest) = self.first, self.latest
        steps = latest.step - first.step
        if latest.total_steps is None or steps <= 0:
            return None
        left = (latest.total_steps - latest.step) * (said - begin) / steps
        return max(0.0, left - (now - said))


@dataclass(frozen=True)
class Ended:
    """A trial that has ended.

    Attributes:
        number: Which in the order of ends, from 1, those of before the sweep was resumed included.
        trial: The trial.
        outcome: How it ended.
        seconds: From its start; None if it was not seen.
    """

    number: int
    trial: Trial
    outcome: Outcome
    seconds: float | None


class Tally:
    """Takes in what happens to trials; memory and work stay the same however many there are.

    Args:
        slots: Trials at once; None: as many as have been seen at once.
        clock: Returns seconds.
    """

    def __init__(self, slots: int | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.slots = slots
        self.clock = clock
        self.total: int | None = None
        self.counts: Counter[str] = Counter()
        self.running: dict[str, Running] = {}
        self.latest: deque[Ended] = deque(maxlen=KEPT)
        self.failures: deque[Ended] = deque(maxlen=KEPT)
        self._most = 1
        self._failed_before: dict[str, str] = {}
        # Of trials that trained to an end while this looked on.
        self._seconds, self._trained = 0.0, 0

    def begin(self, entries: Mapping[str, Entry], total: int | None) -> None:
        """Take in the trials of before."""
        self.total = total
        for name, entry in entries.items():
            state = entry.outcome.state
            if state in OVER:
                self.counts[state] += 1
            if state in FAILED:
                self._failed_before[name] = state

    def started(self, trial: Trial) -> None:
        """Take in that a trial runs; one that failed before counts no longer as failed."""
        state = self._failed_before.pop(trial.name, None)
        if state is not None:
            self.counts[state] -= 1
        self.running[trial.name] = Running(trial, self.clock())
        self._most = max(self._most, len(self.running))

    def progress(self, trial: Trial, progress: Progress) -> None:
        """Take in what a running trial says of itself."""
        running = self.running.get(trial.name)
        if running is not None:
            running.latest = (self.clock(), progress)
            running.first = running.first or running.latest

    def ended(self, trial: Trial, outcome: Outcome) -> Ended:
        """Take in the end of a trial, and return it with its number and how long it took."""
        running = self.running.pop(trial.name, None)
        seconds = None if running is None else self.clock() - running.since
        if outcome.state in OVER:
            self.counts[outcome.state] += 1
        if seconds is not None and outcome.state in (DONE, PRUNED):
            self._seconds += seconds
            self._trained += 1
        end = Ended(self.over, trial, outcome, seconds)
        (self.failures if outcome.state in FAILED else self.latest).append(end)
        return end

    @property
    def over(self) -> int:
        """How many trials have ended for good."""
        return self.counts.total()

    @property
    def to_come(self) -> int | None:
        """How many trials have not been started; None if nobody knows."""
        return None if self.total is None else max(0, self.total - self.over - len(self.running))

    def seconds_left(self) -> float | None:
        """Return the seconds to the end of the sweep at the speed it had so far; None if that cannot be told yet."""
        now, to_come = self.clock(), self.to_come
        left = {name: one.seconds_left(now) for name, one in self.running.items()}
        known = [seconds for seconds in left.values() if seconds is not None]
        whole = self._seconds_of_one(now, left)
        if to_come is None or (whole is None and (to_come or len(known) < len(left))):
            return None
        usual = whole or 0.0
        rest = [
            max(0.0, usual - (now - self.running[name].since)) if seconds is None else seconds
            for name, seconds in left.items()
        ]
        slots = max(1, min(self.slots or self._most, to_come + len(rest)))
        return max([(sum(rest) + to_come * usual) / slots, *rest])

    def _seconds_of_one(self, now: float, left: Mapping[str, float | None]) -> float | None:
        """Return what a trial takes: those that ended, or else those that run and can tell."""
        if self._trained:
            return self._seconds / self._trained
        lengths = [
            now - self.running[name].since + seconds for name, seconds in left.items() if seconds is not None
        ]
        return sum(lengths) / len(lengths) if lengths else None
