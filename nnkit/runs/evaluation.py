"""The best checkpoint on the test part."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nnkit.callbacks.record import plain_metrics
from nnkit.files.layout import LOG
from nnkit.machine.faults import explained
from nnkit.runs.reopen import open_run
from nnkit.runs.run import find_run
from nnkit.runs.session import Session, make_trainer
from nnkit.ui import logs, report

if TYPE_CHECKING:
    from lightning.pytorch import Callback


def evaluate(session: Session, directory: Path, callbacks: Sequence[Callback] = ()) -> dict[str, float]:
    """Return the metrics on the test part; empty where there is none.

    Args:
        session: The data and the task.
        directory: The run directory.
        callbacks: Lightning callbacks that take part.
    """
    if len(session.data.split("test")) == 0:
        return {}
    trainer = make_trainer(session.config, directory, list(callbacks), [])
    with explained():
        trainer.test(session.task, datamodule=session.data, verbose=False)
    return plain_metrics(trainer)


def test(spec: str, output_dir: str | Path = "outputs") -> dict[str, float]:
    """Test a run and print its table.

    Args:
        spec: Run directory, unique prefix, or "last".
        output_dir: Where runs are looked for.
    """
    run = find_run(spec, Path(output_dir))
    with logs.to_file(run.path / LOG):
        opened = open_run(run)
        metrics = evaluate(opened.session, run.path)
    facts = {"checkpoint": opened.manifest.file, "run": report.shorten(run.path)}
    report.console().print(report.results_table(metrics, facts, "test"))
    return metrics
