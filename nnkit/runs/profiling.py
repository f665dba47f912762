"""Lightning's profilers, whose report is kept for the run: they would send it to a log that nobody reads."""

from __future__ import annotations

from lightning.pytorch.profilers import AdvancedProfiler, Profiler, SimpleProfiler
from typing_extensions import override

# Lines of a report that are printed; the file has all.
_MOST_LINES = 60


class Kept(Profiler):
    """Keeps the report of a training where Lightning would log it."""

    report = ""

    @override
    def describe(self) -> None:
        """Keep the report and end the measurement."""
        self.report = self.summary()
        self.teardown(stage=self._stage)


class KeptSimple(Kept, SimpleProfiler):
    """Times of each action."""


class KeptAdvanced(Kept, AdvancedProfiler):
    """Times of each function, from cProfile."""


def make_profiler(name: str) -> Kept:
    """Return a profiler.

    Args:
        name: As `trainer.profiler` says it: simple or advanced.
    """
    return KeptAdvanced() if name == "advanced" else KeptSimple()


def head(report: str) -> str:
    """Return as much of a report as is worth printing."""
    lines = report.strip().splitlines()
    more = len(lines) - _MOST_LINES
    return "\n".join([*lines[:_MOST_LINES], *([f"... {more:,} more lines"] if more > 0 else [])])
