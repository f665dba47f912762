"""Tells the sweep how its trial stands, and ends it where the sweep says so."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from nnkit.callbacks.record import plain_metrics
from nnkit.sweep.trials import Progress

# Seconds between two words on steps alone.
_SECONDS = 1.0


class Reporter(Callback):
    """Reports steps once in a while and every validation.

    Args:
        tell: Takes each report; True as its answer to a validation ends the trial early.
        max_steps: Steps after which the trial ends; -1 for no limit.
    """

    def __init__(self, tell: Callable[[Progress], bool], max_steps: int = -1) -> None:
        self.tell = tell
        self.max_steps = max_steps
        self.pruned = False
        self._metrics: dict[str, float] = {}
        self._told = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report that training has begun."""
        self.tell(self._progress(trainer, False))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Report the step, if the last report is a while ago."""
        now = time.monotonic()
        if now - self._told >= _SECONDS:
            self._told = now
            self.tell(self._progress(trainer, False))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the validation, and end the trial if the answer says so."""
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        self._metrics = plain_metrics(trainer, "val/")
        if self.tell(self._progress(trainer, True)):
            self.pruned = True
            trainer.should_stop = True

    def _progress(self, trainer: Trainer, validated: bool) -> Progress:
        steps = trainer.estimated_stepping_batches
        if self.max_steps > 0:
            steps = min(steps, self.max_steps)
        total = int(steps) if math.isfinite(steps) else None
        return Progress(trainer.global_step, trainer.current_epoch + 1, total, self._metrics, validated)
