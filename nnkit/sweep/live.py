"""What a sweep shows while it runs: a table on a terminal, one line for each trial that ends elsewhere."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from threading import RLock
from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from nnkit.sweep.definition import Definition
from nnkit.sweep.tally import Ended, Running, Tally
from nnkit.sweep.trials import DONE, OVER, PRUNED, Entry, Outcome, Progress, Trial, View
from nnkit.ui.consoles import Console
from nnkit.ui.terminal import duration, printable

# The cores belong to the trials.
_REFRESH_PER_SECOND = 2
# Lines that are no trials: the headline, an empty one, the table's head, and the prompt.
_FRAME = 5
_STYLES = {DONE: "green", PRUNED: "yellow"}


def make_view(definition: Definition, path: Path, file: TextIO | None = None) -> View:
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


class PlainLines:
    """Prints one line when the sweep begins, and one for each trial that ends.

    Args:
        definition: What the sweep was asked for.
        path: Its directory.
        file: Where to.
    """

    def __init__(self, definition: Definition, path: Path, file: TextIO) -> None:
        self.monitor, self.path, self.file = definition.monitor, path, file
        self._tally = Tally(definition.launcher.n_jobs)

    def begin(self, entries: Mapping[str, Entry], total: int | None) -> None:
        """Take over how many trials there are."""
        self._tally.begin(entries, total)
        before = self._tally.over
        self._print(
            f"{_short(self.path)}: {_count(total)}" + (f", {before} of them ended before" if before else "")
        )

    def started(self, trial: Trial) -> None:
        """Remember when the trial was started."""
        self._tally.started(trial)

    def progress(self, trial: Trial, progress: Progress) -> None:
        """Print nothing: a log of thousands of lines helps nobody."""

    def ended(self, trial: Trial, outcome: Outcome) -> None:
        """Print how the trial ended."""
        end = self._tally.ended(trial, outcome)
        total = "" if self._tally.total is None else f"/{self._tally.total}"
        # An interrupted trial has not ended for good.
        number = f"{end.number}{total} " if outcome.state in OVER else ""
        value = outcome.metrics.get(self.monitor)
        score = "" if value is None else f"{self.monitor} {value:.4g}"
        parts = (
            f"{number}{_one_line(trial.name)} {outcome.state}",
            *(score, _one_line(outcome.reason), duration(end.seconds)),
        )
        self._print("  ".join(part for part in parts if part))

    def close(self) -> None:
        """Do nothing: every line is out."""

    def _print(self, line: str) -> None:
        # In one write, as others may print to the same place.
        self.file.write(printable(line) + "\n")
        self.file.flush()


class LiveTable:
    """Draws a table of the trials that run and of those that ended, a few times a second, and leaves nothing behind.

    Args:
        definition: What the sweep was asked for.
        path: Its directory.
        console: Where to.
    """

    def __init__(self, definition: Definition, path: Path, console: Console) -> None:
        self.monitor, self.path, self.console = definition.monitor, path, console
        self._tally = Tally(definition.launcher.n_jobs)
        # The table is drawn by a thread that sleeps in between.
        self._lock = RLock()
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
        with self._lock:
            self._tally.begin(entries, total)
        before = sys.stderr
        self._live.start(refresh=True)
        # A warning is printed above the table and not across it.
        for handler in logging.getLogger("nnkit").handlers:
            if type(handler) is logging.StreamHandler and handler.stream is before:
                self._moved.append((handler, before))
                handler.setStream(sys.stderr)

    def started(self, trial: Trial) -> None:
        """Show that a trial runs."""
        with self._lock:
            self._tally.started(trial)

    def progress(self, trial: Trial, progress: Progress) -> None:
        """Show how far a running trial is."""
        with self._lock:
            self._tally.progress(trial, progress)

    def ended(self, trial: Trial, outcome: Outcome) -> None:
        """Show how a trial ended."""
        with self._lock:
            self._tally.ended(trial, outcome)

    def close(self) -> None:
        """Wipe the table and show the cursor again; may be called more than once."""
        self._live.stop()
        while self._moved:
            handler, stream = self._moved.pop()
            handler.setStream(stream)

    def render(self) -> Group:
        """Return the table as it stands, no higher than the terminal."""
        with self._lock:
            room = max(4, self.console.size.height - _FRAME)
            running, others = self._running(room)
            left = room - len(running)
            # Failures leave half of what is left to the other ends, if there are that many.
            most = max(left - len(self._tally.latest), left // 2)
            failures = list(self._tally.failures)[-most:] if most else []
            rest = left - len(failures)
            table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
            # The trial is the one column that gives way where the terminal is narrow.
            for number, header in enumerate(("state", "trial", "epoch", "step", self.monitor, "time")):
                table.add_column(
                    printable(header), no_wrap=number != 1, justify="right" if number > 1 else "left"
                )
            for end in list(self._tally.latest)[-rest:] if rest else []:
                table.add_row(*map(_line, self._ended_row(end)), style=_STYLES.get(end.outcome.state))
            for cells in running:
                table.add_row(*map(_line, cells))
            if others:
                table.add_row("", f"and {others} more", style="dim")
            return Group(_line(self._headline(), "bold"), Text(), table, *(_failure(end) for end in failures))

    def _headline(self) -> str:
        tally = self._tally
        states = [f"{tally.counts[state]} {state}" for state in sorted(tally.counts) if tally.counts[state]]
        parts = [f"{len(tally.running)} running", *states]
        if tally.to_come:
            parts.append(f"{tally.to_come} to come")
        left = tally.seconds_left()
        end = "" if left is None else f"  about {_roughly(left)} left"
        return f"{_short(self.path)}  {_count(tally.total)}: {', '.join(parts)}{end}"

    def _running(self, room: int) -> tuple[list[tuple[str, ...]], int]:
        """Return a row for each running trial that there is room for, and how many there are beside those."""
        now, running = self._tally.clock(), list(self._tally.running.values())
        shown = running if len(running) <= room else running[: room - 1]
        return [self._running_row(one, now) for one in shown], len(running) - len(shown)

    def _running_row(self, one: Running, now: float) -> tuple[str, ...]:
        said = one.latest[1] if one.latest else None
        left = one.seconds_left(now)
        of = "" if said is None or said.total_steps is None else f"/{said.total_steps}"
        return (
            "running",
            _one_line(one.trial.name),
            "" if said is None else str(said.epoch),
            "" if said is None else f"{said.step}{of}",
            self._score(said.metrics) if said else "",
            "" if left is None else f"{_roughly(left)} left",
        )

    def _ended_row(self, end: Ended) -> tuple[str, ...]:
        outcome = end.outcome
        step, score = "" if outcome.step is None else str(outcome.step), self._score(outcome.metrics)
        return outcome.state, _one_line(end.trial.name), "", step, score, duration(end.seconds)

    def _score(self, metrics: Mapping[str, float]) -> str:
        value = metrics.get(self.monitor)
        return "" if value is None else f"{value:.4g}"


def _count(total: int | None) -> str:
    if total is None:
        return "trials"
    return f"{total} trial{'' if total == 1 else 's'}"


def _line(text: str, style: str = "") -> Text:
    return Text(printable(text), style=style, no_wrap=True, overflow="ellipsis")


def _failure(end: Ended) -> Text:
    return _line(f"{end.outcome.state}  {_one_line(end.trial.name)}  {_one_line(end.outcome.reason)}", "red")


def _roughly(seconds: float) -> str:
    """Return a time left; its fractions would only flicker."""
    return f"{seconds:.0f} s" if seconds < 60 else duration(seconds)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
