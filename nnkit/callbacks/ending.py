"""A run ends where it should: at `max_steps`, and where it had been stopped already."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


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
        if self.stopped or self._reached(trainer):
            self._end(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Ask for the regular stop, with validation, on the last step."""
        if self._reached(trainer):
            self._end(trainer)

    def _reached(self, trainer: Trainer) -> bool:
        return 0 < self.max_steps <= trainer.global_step

    def _end(self, trainer: Trainer) -> None:
        # The limit wins over a minimum.
        trainer.fit_loop.min_epochs, trainer.fit_loop.epoch_loop.min_steps = 0, None
        trainer.should_stop = True
