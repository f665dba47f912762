"""What callbacks other than nnkit's record log, kept in the run: a logger that begins anew gets it again."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from nnkit.files import atomic

JOURNAL = "points.jsonl"


class Point(NamedTuple):
    """Metrics that were logged together.

    Attributes:
        step: Optimizer step.
        metrics: Values by name.
    """

    step: int
    metrics: dict[str, float]


class Journal(Logger):
    """A logger that keeps in points.jsonl what metrics.jsonl does not hold: the points of Lightning's own callbacks.

    Args:
        directory: The run directory.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / JOURNAL

    @property
    def name(self) -> str:
        """A logger must have a name."""
        return "points"

    @property
    def version(self) -> str:
        """And a version."""
        return ""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append a line; a point without a step is left out, since a resume could not place it."""
        if step is None:
            return
        # JSON has no number that is not finite.
        values = {name: value if math.isfinite(value) else None for name, value in _numbers(metrics).items()}
        atomic.append_lines(self.path, [json.dumps({"step": step, "metrics": values})])

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Keep none: config.yaml has them."""

    def cut_back(self, step: int) -> list[Point]:
        """Drop the points after a checkpoint, which a resumed run logs again, and return the others.

        Args:
            step: Step of the checkpoint.
        """
        if not self.path.exists():
            return []
        lines = atomic.read(self.path).splitlines(keepends=True)
        read = [(line, point) for line in lines if (point := _parse(line)) is not None and point.step <= step]
        if len(read) != len(lines):
            atomic.write_atomic(self.path, b"".join(line for line, _ in read))
        return [point for _, point in read]


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items() if not isinstance(value, str)}


def _parse(line: bytes) -> Point | None:
    """Return the point of a line; None for one that was torn by a kill or is no such point."""
    try:
        content = json.loads(line)
        values = content["metrics"].items()
        return Point(
            int(content["step"]),
            {str(name): math.nan if value is None else float(value) for name, value in values},
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
