"""Where the time of a training goes: the profilers of `trainer.profiler`, and the one that costs nothing."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from lightning.pytorch.profilers import AdvancedProfiler, PassThroughProfiler, Profiler, SimpleProfiler
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


class Silent(PassThroughProfiler):
    """Measures nothing, and makes no context manager for each of the eighty hooks of a step either."""

    _nothing: AbstractContextManager[None] = nullcontext()

    @override
    def profile(self, action_name: str) -> Any:
        """Return one and the same empty context."""
        return self._nothing


def make_profiler(name: str | None) -> Profiler:
    """Return a profiler.

    Args:
        name: As `trainer.profiler` says it: simple or advanced; None: one that measures nothing.
    """
    if name is None:
        return Silent()
    return KeptAdvanced() if name == "advanced" else KeptSimple()


def head(report: str) -> str:
    """Return as much of a report as is worth printing."""
    lines = report.strip().splitlines()
    more = len(lines) - _MOST_LINES
    return "\n".join([*lines[:_MOST_LINES], *([f"... {more:,} more lines"] if more > 0 else [])])
