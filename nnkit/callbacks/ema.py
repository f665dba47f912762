"""Exponential moving average of the weights, with a warm-up of its decay."""

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn


class EMA(WeightAveraging):
    """Averages the weights while training; validation, test and checkpoints use the average.

    After n updates the decay of the next one is min(decay, (1 + n) / (10 + n)), as in TensorFlow's
    ``ExponentialMovingAverage(num_updates=n)``. Without this warm-up an average with decay 0.999 holds mostly the first
    weights for a thousand updates, which is more than a short run has.

    Until the first update the average is the current weights. Buffers are averaged as weights are, but those that hold
    whole numbers, such as indices and counts, are always the current ones.

    Args:
        decay: Share of the average that an update keeps, once it is warm.
        warmup: Whether the decay grows with the number of updates until it is `decay`.
        update_every_n_steps: Optimizer steps between two updates.
        update_starting_at_step: Optimizer steps before the first update; None: none.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        decay: float = 0.999,
        warmup: bool = True,
        update_every_n_steps: int = 1,
        update_starting_at_step: int | None = None,
    ) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay must lie in [0, 1), not {decay}")
        if update_every_n_steps < 1:
            raise ValueError(f"update_every_n_steps must be at least 1, not {update_every_n_steps}")
        if update_starting_at_step is not None and update_starting_at_step < 0:
            raise ValueError(f"update_starting_at_step must be at least 0, not {update_starting_at_step}")
        super().__init__(multi_avg_fn=self._update)
        self.decay = decay
        self.warmup = warmup
        self.update_every_n_steps = update_every_n_steps
        self.update_starting_at_step = update_starting_at_step or 0

    def decay_after(self, updates: int) -> float:
        """Return the decay of the update that comes after a number of them."""
        return min(self.decay, (1 + updates) / (10 + updates)) if self.warmup else self.decay

    def _update(self, averaged: Any, current: Any, num_averaged: int | Tensor) -> None:
        if not averaged[0].is_floating_point():
            # torch would cut 0.9 * 5 + 0.1 * 5, which may be 4.999, down to 4.
            torch._foreach_copy_(averaged, current)
            return
        # torch leaves it untyped.
        make_update: Any = get_ema_multi_avg_fn
        make_update(self.decay_after(int(num_averaged)))(averaged, current, num_averaged)

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Return whether the average is updated after a step; it never is at the end of an epoch."""
        if step_idx is None or step_idx < self.update_starting_at_step:
            return False
        return step_idx % self.update_every_n_steps == 0

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Validate the average, or the current weights before the first update."""
        self._follow(pl_module)
        super().on_validation_epoch_start(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End with the average."""
        self._follow(pl_module)
        super().on_train_end(trainer, pl_module)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Save the average, and the current weights beside it."""
        self._follow(pl_module)
        super().on_save_checkpoint(trainer, pl_module, checkpoint)

    def _follow(self, pl_module: LightningModule) -> None:
        """Before the first update, take the current weights for the average, which else held the initial ones."""
        average = self._average_model
        if average is not None and not average.n_averaged:
            average.update_parameters(pl_module)
            with torch.no_grad():
                average.n_averaged.zero_()
