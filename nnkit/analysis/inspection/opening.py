"""Runs opened to be seen: their task and data, and what is known of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nnkit.analysis.inspection import norms
from nnkit.analysis.inspection.gather import Inspected
from nnkit.runs.reopen import open_run
from nnkit.runs.run import Run, find_run
from nnkit.ui.report import number, shorten

if TYPE_CHECKING:
    from nnkit.data.base import DataModule
    from nnkit.tasks.base import Task


def opened(spec: str, output_dir: Path) -> tuple[Run, Inspected]:
    """Find a run and rebuild its best checkpoint.

    Raises:
        UserError: If there is no such run, or it has no checkpoint.
    """
    run = find_run(spec, output_dir)
    session = open_run(run).session
    return run, inspected(run, session.task, session.data)


def inspected(run: Run, task: Task, data: DataModule) -> Inspected:
    """Return a run that is open already, with what is known of it."""
    choices, record = run.choices(), run.record()
    metrics = record.get("metrics")
    scores = {
        str(name): number(float(value))
        for name, value in (metrics if isinstance(metrics, dict) else {}).items()
        if isinstance(value, int | float)
    }
    facts = {
        "run": shorten(run.path),
        "model": str(choices.get("model", "")),
        "data": str(choices.get("data", "")),
        "parameters": f"{sum(one.numel() for one in task.network.parameters()):,}",
        **scores,
    }
    return Inspected(run.path.name, task, data, facts, norms.read(run.path))
