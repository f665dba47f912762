"""Where a run ends: at `max_steps`, where a metric no longer improves, and where it had been stopped already."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping as LightningEarlyStopping
from torch import Tensor

from nnkit.tasks.base import Task


class EarlyStopping(LightningEarlyStopping):
    """Ends the run when the monitored metric has not improved for `patience` validations; NaN is no improvement.

    Args:
        monitor: Metric, such as "val/loss"; the task says whether more or less of it is better.
        patience: Validations without improvement that are allowed.
        min_delta: Change that counts as an improvement.

    Raises:
        ValueError: If a number is negative.
    """

    def __init__(self, monitor: str, patience: int = 5, min_delta: float = 0.0) -> None:
        if patience < 0:
            raise ValueError(f"patience must be at least 0, not {patience}")
        if min_delta < 0:
            raise ValueError(f"min_delta must be at least 0, not {min_delta}")
        super().__init__(monitor=monitor, patience=patience, min_delta=min_delta, check_finite=False)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Ask the task which way the metric is better."""
        if isinstance(pl_module, Task) and (mode := pl_module.mode(self.monitor)) != self.mode:
            self.mode = mode
            self.min_delta = -self.min_delta
            self.best_score = -self.best_score
        super().setup(trainer, pl_module, stage)

    def _evaluate_stopping_criteria(self, current: Tensor) -> tuple[bool, str | None]:
        """Never take what is not finite for an improvement: after a loss of minus infinity none would come."""
        finite = torch.where(torch.isfinite(current), current, torch.nan)
        stop, reason = super()._evaluate_stopping_criteria(finite)
        return bool(stop), reason


class Ending(Callback):
    """Ends a run after a number of steps, validated and saved also inside an epoch.

    Lightning would by itself neither validate there nor remember, when the run is resumed, that it was stopped.

    Args:
        max_steps: Optimizer steps after which the run ends; -1 for no limit.
        stopped: Whether the checkpoint that is resumed had been stopped, by early stopping for instance.
    """

    def __init__(self, max_steps: int, stopped: bool = False) -> None:
        self.max_steps = max_steps
        self.stopped = stopped

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End at once what is over already."""
        if self.stopped or self.is_reached(trainer):
            self._end(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Ask for the regular stop, with validation, on the last step."""
        if self.is_reached(trainer):
            self._end(trainer)

    def is_reached(self, trainer: Trainer) -> bool:
        """Return whether all steps were made."""
        return 0 < self.max_steps <= trainer.global_step

    def _end(self, trainer: Trainer) -> None:
        # The limit wins over a minimum.
        trainer.fit_loop.min_epochs, trainer.fit_loop.epoch_loop.min_steps = 0, None
        trainer.should_stop = True
