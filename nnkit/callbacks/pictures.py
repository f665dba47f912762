"""Pictures of a validation in TensorBoard: what they show, the task decides."""

import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from nnkit.callbacks.board import event_writer
from nnkit.tasks.base import Task
from nnkit.ui import figures

# Drawing takes at most this share of the time: epochs of some milliseconds do not all get their pictures.
_MAX_SHARE = 0.05


class TensorBoardPictures(Callback):
    """Draws after a validation, from what the validation computed anyway; a training step costs nothing.

    For classification: the confusion matrix, the kernels of the first layer that looks at pictures, and the
    first pictures of the validation part whose class is wrong. For regression: predicted values over true
    ones. For forecasting: the first series forecast beside what came, for windows at the beginning of the
    validation part, each where the one before it ends. The first and the last validation are always drawn;
    those between while drawing takes under a twentieth of the time. Without a TensorBoard logger nothing is
    done.

    Args:
        num_wrong: Wrong predictions that are shown; 0 for none.
        every_n_epochs: Epochs between two drawings.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(self, num_wrong: int = 16, every_n_epochs: int = 1) -> None:
        if num_wrong < 0:
            raise ValueError(f"num_wrong must be at least 0, not {num_wrong}")
        if every_n_epochs < 1:
            raise ValueError(f"every_n_epochs must be at least 1, not {every_n_epochs}")
        self.num_wrong = num_wrong
        self.every_n_epochs = every_n_epochs
        self._gathers = False
        self._kept: list[tuple[Tensor, ...]] = []
        self._num_kept = 0
        self._due: int | None = None
        self._drawn_at = 0.0
        self._cost = 0.0

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start gathering, if these pictures can be drawn."""
        draws = isinstance(pl_module, Task) and type(pl_module).pictures is not Task.pictures
        self._gathers = (
            draws
            and not trainer.sanity_checking
            and trainer.is_global_zero
            and event_writer(trainer) is not None
        )
        self._kept, self._num_kept = [], 0

    @override
    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the wrong predictions of a batch, or what is drawn of the others, until there are enough."""
        if not self._gathers:
            return
        assert isinstance(pl_module, Task)
        room = pl_module.most_pictured(self.num_wrong) - self._num_kept
        if room <= 0:
            return
        kept = tuple(values[:room].cpu() for values in pl_module.pictured(batch))
        self._kept.append(kept)
        self._num_kept += len(kept[0])

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw, if it is time."""
        if not self._gathers:
            return
        self._gathers = False
        self._due = trainer.global_step
        epoch_fits = trainer.current_epoch % self.every_n_epochs == 0
        cheap = self._cost <= _MAX_SHARE * (time.perf_counter() - self._drawn_at)
        if epoch_fits and (cheap or not self._drawn_at):
            self._draw(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the last validation, if that is not done."""
        if self._due is not None:
            self._draw(trainer, pl_module)

    def _draw(self, trainer: Trainer, pl_module: LightningModule) -> None:
        start, step, board = time.perf_counter(), self._due, event_writer(trainer)
        self._due = None
        assert isinstance(pl_module, Task)
        kept = [torch.cat(values) for values in zip(*self._kept, strict=True)]
        learnt = getattr(getattr(trainer, "datamodule", None), "preprocessing", {})
        for name, figure in pl_module.pictures(kept, learnt).items():
            board.add_image(name, figures.to_pixels(figure), step, dataformats="HWC")
        self._drawn_at = time.perf_counter()
        self._cost = self._drawn_at - start
