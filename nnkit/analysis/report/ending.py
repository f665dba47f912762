"""The report at the end of a training: what the test has seen is kept, and the page is written of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from nnkit.distributed import collectives
from nnkit.files import atomic
from nnkit.files.layout import REPORT
from nnkit.ui.report import console, shorten

if TYPE_CHECKING:
    from nnkit.analysis.report.samples import Seen
    from nnkit.data.base import DataModule
    from nnkit.runs.fit import Result
    from nnkit.runs.run import Run
    from nnkit.tasks.base import Task

_log = logging.getLogger("nnkit")


class Reporting(Callback):
    """Keeps what a test at the end of a training makes of the samples, and writes the page when that has ended."""

    def __init__(self) -> None:
        self._trained = False
        self._seen: Seen | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that something is trained: a run that is done already is left as it is."""
        self._trained = trainer.is_global_zero

    @override
    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep what the task makes of a batch."""
        if not trainer.is_global_zero:
            return
        from nnkit.analysis.report.samples import Seen

        task: Any = pl_module
        data: Any = trainer.__dict__["datamodule"]
        if self._seen is None:
            self._seen = Seen("test", len(data.split("test")))
        # As the test itself, whose step has ended.
        with trainer.precision_plugin.forward_context():
            self._seen.add(task, batch, data, tested=True)

    def write(self, result: Result, show: bool) -> Path | None:
        """Write the page of a run that has just ended normally, and print its path.

        A fault does not undo the training: it is a warning that says how to try again.

        Args:
            result: What the training has ended with.
            show: Whether to print the path.

        Returns:
            Where it is; None where there is none.
        """
        session = result.session
        if not self._trained or not session.config.get("report"):
            return None
        path = result.run.path / REPORT
        try:
            write_report(result.run, session.task, session.data, path, self._seen or _out_of_reach())
        except Exception as error:
            reason = str(error).strip().splitlines() or [type(error).__name__]
            _log.warning(
                "the report could not be written: %s\n    try again with: nnkit report %s",
                reason[0],
                shorten(result.run.path),
            )
            return None
        if show:
            console().print(f"report: {shorten(path)}", soft_wrap=True)
        return path


def _out_of_reach() -> Seen | None:
    """Return that no samples were tested, in a process that others have trained with: those have gone."""
    from nnkit.analysis.report.samples import Seen

    if collectives.size() == 1:
        return None
    return Seen(problem="no part was tested, and the other processes have ended; nnkit report shows them")


def write_report(run: Run, task: Task, data: DataModule, path: Path, seen: Seen | None = None) -> None:
    """Write the page on a run; generators and modes are left as they were.

    Args:
        run: The run.
        task: Its task.
        data: Its data module.
        path: Where the page is written.
        seen: What a test has seen; None: the network is asked about the samples anew.

    Raises:
        EnvironmentFault: If the file cannot be written.
    """
    from nnkit.analysis.pages.page import page
    from nnkit.analysis.report.samples import look_at
    from nnkit.analysis.report.single import report
    from nnkit.runs.optimization import autocast

    with _as_it_was(task):
        if seen is None or not (seen.indices or seen.problem):
            # As a test does it: the figures of the page are those of the run's results.
            precision = str(run.record().get("precision", ""))
            seen = look_at(task, data, lambda: autocast(precision, task.device.type))
        content = page(report(run, task, data, seen))
    atomic.write_atomic(path, content.encode())


@contextmanager
def _as_it_was(task: Task) -> Iterator[None]:
    """Evaluate, in single precision; put all modes and types and torch's generators back afterwards."""
    import torch

    modes = [(module, module.training) for module in task.modules()]
    halves = [one for one in task.network.parameters() if one.dtype in (torch.bfloat16, torch.float16)]
    task.eval()
    if halves:
        # Of bf16-true: what is computed for the page is given single precision.
        kept = halves[0].dtype
        task.network.float()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        if halves:
            task.network.to(kept)
        for module, training in modes:
            module.training = training
