"""What a sweep shows while it runs: a table on a terminal, one line for each trial that ends elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from nnkit.sweep.directory import Definition
from nnkit.sweep.trials import DONE, FAILED, OVER, PRUNED, Entry, Outcome, Trial, TrialReport
from nnkit.ui.consoles import Console
from nnkit.ui.report import shorten
from nnkit.ui.terminal import duration, printable

# Ended trials that are remembered; a terminal shows no more.
_KEPT = 100
# The cores belong to the trials.
_REFRESH_PER_SECOND = 2
# Lines that are no trials: the headline, an empty one, the table's head, and the prompt.
_FRAME = 5
_STYLES = {DONE: "green", PRUNED: "yellow"}


@dataclass
class _Running:
    """A trial that runs, since when, and its first and its latest report with their times."""

    trial: Trial
    since: float
    # A resumed trial does not begin at step 0.
    first: tuple[float, TrialReport] | None = None
    latest: tuple[float, TrialReport] | None = None

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
class _Ended:
    """A trial that has ended: its number in the order of ends, from 1, and its seconds; None if it was not seen."""

    number: int
    trial: Trial
    outcome: Outcome
    seconds: float | None


class Display:
    """Counts trials and estimates the time left, for subclasses that show it.

    Memory and work stay the same however many trials there are.

    Args:
        definition: What the sweep was asked for.
        path: Its directory.
        clock: Returns seconds.
    """

    def __init__(
        self, definition: Definition, path: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.monitor, self.slots, self.path = definition.monitor, definition.launcher.n_jobs, path
        self.clock = clock
        self.total: int | None = None
        self._counts: Counter[str] = Counter()
        self._running: dict[str, _Running] = {}
        self._latest: deque[_Ended] = deque(maxlen=_KEPT)
        self._failures: deque[_Ended] = deque(maxlen=_KEPT)
        self._most = 1
        self._failed_before: dict[str, str] = {}
        # Of trials that trained to an end while this looked on.
        self._seconds, self._trained = 0.0, 0
        # A table is drawn by a thread of its own.
        self._lock = RLock()

    def begin(self, entries: Mapping[str, Entry], total: int | None) -> None:
        """Start to show; `entries` are the trials of before, by name, and `total` is None if unknown."""
        with self._lock:
            self.total = total
            states = {name: entry.outcome.state for name, entry in entries.items()}
            self._counts.update(state for state in states.values() if state in OVER)
            self._failed_before = {name: state for name, state in states.items() if state in FAILED}

    def started(self, trial: Trial) -> None:
        """Show that a trial runs; one that failed before counts no longer as failed."""
        with self._lock:
            state = self._failed_before.pop(trial.name, None)
            if state is not None:
                self._counts[state] -= 1
            self._running[trial.name] = _Running(trial, self.clock())
            self._most = max(self._most, len(self._running))

    def progress(self, trial: Trial, report: TrialReport) -> None:
        """Show how far a running trial is."""
        with self._lock:
            running = self._running.get(trial.name)
            if running is not None:
                running.latest = (self.clock(), report)
                running.first = running.first or running.latest

    def ended(self, trial: Trial, outcome: Outcome) -> None:
        """Show how a trial ended."""
        with self._lock:
            running = self._running.pop(trial.name, None)
            seconds = None if running is None else self.clock() - running.since
            if outcome.state in OVER:
                self._counts[outcome.state] += 1
            if seconds is not None and outcome.state in (DONE, PRUNED):
                self._seconds += seconds
                self._trained += 1
            end = _Ended(self._over, trial, outcome, seconds)
            (self._failures if outcome.state in FAILED else self._latest).append(end)
            self._show_end(end)

    def close(self) -> None:
        """Leave the terminal as it was; may be called more than once."""

    def seconds_left(self) -> float | None:
        """Return the seconds to the end of the sweep at the speed it had so far; None if that cannot be told yet."""
        now, to_come = self.clock(), self._to_come
        left = {name: one.seconds_left(now) for name, one in self._running.items()}
        known = [seconds for seconds in left.values() if seconds is not None]
        whole = self._seconds_of_one(now, left)
        if to_come is None or (whole is None and (to_come or len(known) < len(left))):
            return None
        usual = whole or 0.0
        rest = [
            max(0.0, usual - (now - self._running[name].since)) if seconds is None else seconds
            for name, seconds in left.items()
        ]
        slots = max(1, min(max(self.slots or 0, self._most), to_come + len(rest)))
        return max([(sum(rest) + to_come * usual) / slots, *rest])

    def _seconds_of_one(self, now: float, left: Mapping[str, float | None]) -> float | None:
        """Return what a trial takes: those that ended, or else those that run and can tell."""
        if self._trained:
            return self._seconds / self._trained
        lengths = [now - self._running[name].since + rest for name, rest in left.items() if rest is not None]
        return sum(lengths) / len(lengths) if lengths else None

    @property
    def _over(self) -> int:
        """How many trials have ended for good."""
        return self._counts.total()

    @property
    def _to_come(self) -> int | None:
        """How many trials have not been started; None if unknown."""
        return None if self.total is None else max(0, self.total - self._over - len(self._running))

    def _show_end(self, end: _Ended) -> None:
        """Show how a trial ended, where a table does not do it."""

    def _score(self, metrics: Mapping[str, float]) -> str:
        value = metrics.get(self.monitor)
        return "" if value is None else f"{value:.4g}"


class PlainLines(Display):
    """Prints one line when the sweep begins, and one for each trial that ends.

    Args:
        definition: What the sweep was asked for.
        path: Its directory.
        file: Where to.
        clock: Returns seconds.
    """

    def __init__(
        self, definition: Definition, path: Path, file: TextIO, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(definition, path, clock)
        self.file = file

    def begin(self, entries: Mapping[str, Entry], total: int | None) -> None:
        """Print how many trials there are."""
        super().begin(entries, total)
        before = self._over
        ended = f", {before} of them ended before" if before else ""
        self._print(f"{shorten(self.path)}: {_count(total)}{ended}")

    def _show_end(self, end: _Ended) -> None:
        outcome, total = end.outcome, "" if self.total is None else f"/{self.total}"
        # An interrupted trial has not ended for good.
        number = f"{end.number}{total} " if outcome.state in OVER else ""
        value = self._score(outcome.metrics)
        parts = (
            f"{number}{_one_line(end.trial.name)} {outcome.state}",
            value and f"{self.monitor} {value}",
            _one_line(outcome.reason),
            duration(end.seconds),
        )
        self._print("  ".join(part for part in parts if part))

    def _print(self, line: str) -> None:
        # In one write, as others may print to the same place.
        self.file.write(printable(line) + "\n")
        self.file.flush()


class LiveTable(Display):
    """Draws a table of the trials that run and of those that ended, a few times a second, and leaves nothing behind.

    Args:
        definition: What the sweep was asked for.
        path: Its directory.
        console: Where to.
        clock: Returns seconds.
    """

    def __init__(
        self,
        definition: Definition,
        path: Path,
        console: Console,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(definition, path, clock)
        self.console = console
        self._live = Live(
            console=console,
            refresh_per_second=_REFRESH_PER_SECOND,
            transient=True,
            # What is sent to a file stays in it.
            redirect_stderr=sys.stderr.isatty(),
            get_renderable=self.render,
        )
        self._moved: list[tuple[logging.StreamHandler[TextIO], TextIO]] = []

    def begin(self, entries: Mapping[str, Entry], total: int | None) -> None:
        """Start to draw."""
        super().begin(entries, total)
        before = sys.stderr
        self._live.start(refresh=True)
        # A warning is printed above the table and not across it.
        for handler in logging.getLogger("nnkit").handlers:
            if type(handler) is logging.StreamHandler and handler.stream is before:
                self._moved.append((handler, before))
                handler.setStream(sys.stderr)

    def close(self) -> None:
        """Wipe the table and show the cursor again."""
        self._live.stop()
        while self._moved:
            handler, stream = self._moved.pop()
            handler.setStream(stream)

    def render(self) -> Group:
        """Return the table as it stands, no higher than the terminal."""
        with self._lock:
            room = max(4, self.console.size.height - _FRAME)
            every = list(self._running.values())
            running = every if len(every) <= room else every[: room - 1]
            left = room - len(running)
            # Failures leave half of what is left to the other ends, if there are that many.
            most = max(left - len(self._latest), left // 2)
            failures = list(self._failures)[-most:] if most else []
            rest = left - len(failures)
            table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
            # The trial is the one column that gives way where the terminal is narrow.
            for number, header in enumerate(("state", "trial", "epoch", "step", self.monitor, "time")):
                table.add_column(
                    printable(header), no_wrap=number != 1, justify="right" if number > 1 else "left"
                )
            for end in list(self._latest)[-rest:] if rest else []:
                table.add_row(*map(_line, self._ended_row(end)), style=_STYLES.get(end.outcome.state))
            for one in running:
                table.add_row(*map(_line, self._running_row(one)))
            if len(every) > len(running):
                table.add_row("", f"and {len(every) - len(running)} more", style="dim")
            return Group(_line(self._headline(), "bold"), Text(), table, *map(_failure, failures))

    def _headline(self) -> str:
        states = [f"{count} {state}" for state, count in sorted(self._counts.items()) if count]
        parts = [f"{len(self._running)} running", *states]
        if self._to_come:
            parts.append(f"{self._to_come} to come")
        left = self.seconds_left()
        end = "" if left is None else f"  about {_roughly(left)} left"
        return f"{shorten(self.path)}  {_count(self.total)}: {', '.join(parts)}{end}"

    def _running_row(self, one: _Running) -> tuple[str, ...]:
        left = one.seconds_left(self.clock())
        time_left = "" if left is None else f"{_roughly(left)} left"
        if one.latest is None:
            return "running", _one_line(one.trial.name), "", "", "", time_left
        report = one.latest[1]
        step = f"{report.step}{'' if report.total_steps is None else f'/{report.total_steps}'}"
        score = self._score(report.metrics)
        return "running", _one_line(one.trial.name), str(report.epoch), step, score, time_left

    def _ended_row(self, end: _Ended) -> tuple[str, ...]:
        outcome = end.outcome
        step, score = "" if outcome.step is None else str(outcome.step), self._score(outcome.metrics)
        return outcome.state, _one_line(end.trial.name), "", step, score, duration(end.seconds)


def make_display(definition: Definition, path: Path, file: TextIO | None = None) -> Display:
    """Return what shows a sweep: a table if standard output is a terminal, or else plain lines.

    Args:
        definition: What the sweep was asked for.
        path: Its directory.
        file: Where it is shown instead of standard output.
    """
    stream = sys.stdout if file is None else file
    console = Console(file=stream, highlight=False, markup=False, emoji=False)
    # rich also takes a pipe for a terminal where FORCE_COLOR is set.
    if stream.isatty() and console.is_terminal and not console.is_dumb_terminal:
        return LiveTable(definition, path, console)
    return PlainLines(definition, path, stream)


def _count(total: int | None) -> str:
    return "trials" if total is None else f"{total} trial{'' if total == 1 else 's'}"


def _line(text: str, style: str = "") -> Text:
    return Text(printable(text), style=style, no_wrap=True, overflow="ellipsis")


def _failure(end: _Ended) -> Text:
    return _line(f"{end.outcome.state}  {_one_line(end.trial.name)}  {_one_line(end.outcome.reason)}", "red")


def _roughly(seconds: float) -> str:
    """Return a time left; its fractions would only flicker."""
    return f"{seconds:.0f} s" if seconds < 60 else duration(seconds)


def _one_line(text: str) -> str:
    return " ".join(text.split())
