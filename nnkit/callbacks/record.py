"""The run's own record: metrics.jsonl and the loggers, read from the task's totals once in a while."""

import json
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from nnkit.checkpoint import files
from nnkit.run import METRICS
from nnkit.tasks.base import Task

Row = dict[str, float | int | str]


class Record(Callback):
    """Writes one line a window of steps, one a validation, one an epoch and one a test; nothing depends on the clock.

    Args:
        directory: The run directory.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / METRICS
        self._step = -1

    def cut_back(self, step: int) -> None:
        """Drop the lines of steps after a checkpoint, which a resumed run writes again."""
        if not self.path.is_file():
            return
        lines = self.path.read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if _step_of(line) <= step]
        if len(kept) != len(lines):
            files.write_atomic(self.path, b"".join(kept))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember the step a resumed run starts at."""
        self._step = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write the means of the last window of steps."""
        step = trainer.global_step
        if step % trainer.log_every_n_steps or step == self._step:  # type: ignore[attr-defined]
            return
        self._step = step
        assert isinstance(pl_module, Task)
        means = {f"train/{name}": value for name, value in pl_module.read_window().items()}
        means["lr"] = trainer.optimizers[0].param_groups[0]["lr"]
        self.write(trainer, "train", means)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the validation metrics."""
        if not trainer.sanity_checking:
            self.write(trainer, "val", plain_metrics(trainer, "val/"))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the epoch's means."""
        assert isinstance(pl_module, Task)
        self.write(
            trainer, "epoch", {f"train/{name}": value for name, value in pl_module.read_epoch().items()}
        )

    def write(self, trainer: Trainer, split: str, metrics: dict[str, float]) -> None:
        """Append a line, and hand the metrics to the loggers."""
        if not trainer.is_global_zero or not metrics:
            return
        row: Row = {"step": trainer.global_step, "epoch": trainer.current_epoch, "split": split, **metrics}
        files.append_lines(self.path, [json.dumps(row)])
        shown = {f"{name}_epoch": value for name, value in metrics.items()} if split == "epoch" else metrics
        for logger in trainer.loggers:
            logger.log_metrics(shown, step=trainer.global_step)


def plain_metrics(trainer: Trainer, prefix: str = "") -> dict[str, float]:
    """Return the logged metrics as floats of the seven digits that float32 holds."""
    found = trainer.callback_metrics.items()
    return {name: float(f"{float(value):.7g}") for name, value in found if name.startswith(prefix)}


def _step_of(line: bytes) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        # A line torn by a kill belongs to no step that is kept.
        return 2**62
