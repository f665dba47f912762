"""A run that ends in mid-epoch is validated once and saved."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class ValidateAtEnd(Callback):
    """Makes Lightning validate where `max_steps` ends the run inside an epoch; by itself it does so only at an end."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Ask for the regular stop, with validation, on the last step."""
        if 0 < trainer.max_steps <= trainer.global_step:
            trainer.should_stop = True
