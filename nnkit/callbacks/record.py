"""The run's own record: metrics.jsonl and the loggers, read from the task's totals once in a while."""

import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from nnkit.files import atomic
from nnkit.files.layout import METRICS
from nnkit.loggers import Journal, Point
from nnkit.tasks.base import Task

Row = dict[str, float | int | str | None]
_log = logging.getLogger("nnkit")
_NO_STEP = 2**62


class Record(Callback):
    """Writes one line a window of steps, one a validation, one an epoch and one a test; nothing depends on the clock.

    Args:
        directory: The run directory.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / METRICS
        # Lines of the file so far: a checkpoint says how many belong to it.
        self.num_lines = 0
        self._step = -1

    def cut_back(self, num_lines: int | None, step: int = -1) -> None:
        """Drop the lines after a checkpoint, which a resumed run writes again; make the file if there is none.

        Args:
            num_lines: Lines the checkpoint counts; None where it does not say, as those of format 1.
            step: Its step, which then decides where the lines are cut.
        """
        if num_lines is None:
            lines = atomic.read(self.path).splitlines(keepends=True) if self.path.exists() else []
            kept = [line for line in lines if _step_of(line) <= step]
            self._keep(b"".join(kept), len(kept))
            return
        data = atomic.read(self.path) if self.path.exists() else b""
        # Millions of lines as objects would take several times their bytes.
        end = found = 0
        while found < num_lines and end < len(data):
            end, found = data.find(b"\n", end) + 1 or len(data), found + 1
        if found < num_lines:
            _log.warning(
                "%s has %d lines, the checkpoint counts %d: some are lost", self.path, found, num_lines
            )
        self._keep(data[:end], found)

    def _keep(self, data: bytes, num_lines: int) -> None:
        if not self.path.exists() or self.path.stat().st_size != len(data):
            atomic.write_atomic(self.path, data)
        self.num_lines = num_lines

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember the step a resumed run starts at."""
        self._step = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write the means of the last window of steps."""
        step = trainer.global_step
        # Lightning sets it from outside the class, where types do not see it.
        every: int = trainer.__dict__["log_every_n_steps"]
        if step % every or step == self._step:
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

    def write(self, trainer: Trainer, split: str, metrics: dict[str, float], step: int | None = None) -> None:
        """Append a line, and hand the metrics to the loggers.

        Args:
            trainer: As for Lightning's hooks.
            split: What the line is of.
            metrics: By their full names.
            step: The step that they belong to; None: the last one that was taken.
        """
        step = trainer.global_step if step is None else step
        if not trainer.is_global_zero or not metrics:
            return
        # JSON has no word for what is not finite.
        finite = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        row: Row = {"step": step, "epoch": trainer.current_epoch, "split": split, **finite}
        atomic.append_lines(self.path, [json.dumps(row)])
        self.num_lines += 1
        for logger in trainer.loggers:
            if not isinstance(logger, Journal):
                logger.log_metrics(_shown(split, metrics), step=step)

    def rows(self) -> list[Row]:
        """Return the lines written so far."""
        lines = atomic.read(self.path).splitlines() if self.path.exists() else []
        return [json.loads(line) for line in lines if _step_of(line) < _NO_STEP]


def point_of(row: Row) -> Point:
    """Return a line of the record as the point that loggers were given."""
    # Counts are whole numbers; a metric that was not finite has no number in JSON.
    values = {name: value for name, value in row.items() if isinstance(value, float | None)}
    metrics = {name: math.nan if value is None else value for name, value in values.items()}
    return Point(int(row["step"] or 0), _shown(str(row["split"]), metrics))


def _shown(split: str, metrics: Mapping[str, float]) -> dict[str, float]:
    """Return metrics by the names that loggers get: an epoch's means stand beside those of its steps."""
    return {f"{name}_epoch" if split == "epoch" else name: value for name, value in metrics.items()}


def cut_after(path: Path, step: int) -> None:
    """Drop the lines of steps after a checkpoint from a log that may hold any number of them."""
    lines = atomic.read(path).splitlines(keepends=True) if path.exists() else []
    kept = [line for line in lines if _step_of(line) <= step]
    if len(kept) != len(lines):
        atomic.write_atomic(path, b"".join(kept))


def plain_metrics(trainer: Trainer, prefix: str = "") -> dict[str, float]:
    """Return the logged metrics as floats of the seven digits that float32 holds."""
    found = trainer.callback_metrics.items()
    return {name: float(f"{float(value):.7g}") for name, value in found if name.startswith(prefix)}


def _step_of(line: bytes) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        # A line torn by a kill belongs to no step that is kept.
        return _NO_STEP
