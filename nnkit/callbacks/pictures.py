"""Pictures in TensorBoard: what is confused with what, what the first layer looks for, what goes wrong."""

import math
import time
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from torch import Tensor, nn
from typing_extensions import override

from nnkit.callbacks.board import event_writer
from nnkit.tasks.classification import Classification
from nnkit.tasks.forecasting import Forecasting
from nnkit.tasks.regression import Regression
from nnkit.ui import drawing

_MAX_KERNELS = 64
_MAX_POINTS = 2000
_MAX_FORECASTS = 4
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
        self._shape: torch.Size | None = None
        self._kept: list[tuple[Tensor, Tensor, Tensor]] = []
        self._num_kept = 0
        self._due: int | None = None
        self._drawn_at = 0.0
        self._cost = 0.0

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start gathering, if these pictures can be drawn."""
        draws = isinstance(pl_module, Classification | Regression | Forecasting)
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
        limit = self._limit(pl_module)
        if not self._gathers or self._num_kept >= limit:
            return
        assert isinstance(pl_module, Classification | Regression | Forecasting)
        predicted, truth = pl_module.last_outputs, batch.target
        assert predicted is not None
        self._shape = batch.inputs.shape[1:]
        if isinstance(pl_module, Classification):
            predicted = predicted.argmax(-1)
            rows = (predicted != truth).nonzero().squeeze(-1)
        elif isinstance(pl_module, Forecasting):
            predicted, truth = predicted[..., 0], pl_module.in_units(truth)[..., 0]
            # One window begins where the one before it ends.
            rows = (batch.indices.cpu() % truth.shape[1] == 0).nonzero().squeeze(-1)
        else:
            predicted, truth = predicted[:, 0], pl_module.in_units(truth)[:, 0]
            rows = torch.arange(len(truth), device=truth.device)
        rows = rows[: limit - self._num_kept]
        inputs = batch.inputs[rows] if isinstance(pl_module, Classification) else batch.inputs[:0]
        self._kept.append((inputs.cpu(), truth[rows].cpu(), predicted[rows].cpu()))
        self._num_kept += len(rows)

    def _limit(self, pl_module: LightningModule) -> int:
        if isinstance(pl_module, Classification):
            return self.num_wrong
        return _MAX_FORECASTS if isinstance(pl_module, Forecasting) else _MAX_POINTS

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
        pictures = self._pictures(trainer, pl_module)
        for name, picture in pictures.items():
            board.add_image(name, picture, step, dataformats="HWC")
        self._drawn_at = time.perf_counter()
        self._cost = self._drawn_at - start

    def _pictures(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, drawing.Picture]:
        if isinstance(pl_module, Regression | Forecasting):
            truth, predicted = (
                torch.cat([kept[part] for kept in self._kept]).float().numpy() for part in (1, 2)
            )
            if isinstance(pl_module, Forecasting):
                return {"val/forecast": drawing.curves(truth, predicted)}
            return {"val/predicted_over_true": drawing.scatter(truth, predicted)}
        assert isinstance(pl_module, Classification)
        names, found = pl_module.class_names, {}
        if pl_module.confusion is not None:
            found["val/confusion"] = drawing.confusion_matrix(pl_module.confusion.numpy(), names)
        kernels = first_kernels(pl_module.network, self._shape)
        if kernels is not None:
            found["first_layer"] = drawing.grid(
                [drawing.to_bytes(kernel) for kernel in kernels], tile_size=48
            )
        if self._num_kept and self._shape is not None and len(self._shape) == 3:
            learnt = getattr(getattr(trainer, "datamodule", None), "preprocessing", {})
            wrong = [sample for kept in self._kept for sample in zip(*kept, strict=True)]
            tiles = [_visible(picture.float().numpy(), learnt) for picture, _, _ in wrong]
            captions = [(f"true {names[int(true)]}", f"said {names[int(said)]}") for _, true, said in wrong]
            found["val/wrong"] = drawing.grid(tiles, captions)
        return found


def _visible(picture: NDArray[Any], learnt: dict[str, Any]) -> drawing.Picture:
    """Undo the normalisation of one picture (channels, height, width)."""
    mean, std = learnt.get("mean"), learnt.get("std")
    if mean is None or std is None or len(mean) != len(picture):
        return drawing.to_bytes(picture)
    scale, offset = np.asarray(std).reshape(-1, 1, 1), np.asarray(mean).reshape(-1, 1, 1)
    return drawing.clip_to_bytes((picture * scale + offset) * 255)


def first_kernels(network: nn.Module, shape: torch.Size | None) -> NDArray[Any] | None:
    """Return the kernels of the first layer that looks at pictures.

    Args:
        network: The network.
        shape: Channels, height and width of a picture; anything else has no kernels to be seen.

    Returns:
        Kernels of the first convolution, or the weights of a first linear layer in the shape of the picture,
        (kernels, channels, height, width), at most 64; None if there is no such layer.
    """
    if shape is None or len(shape) != 3:
        return None
    for module in network.modules():
        weight = getattr(module, "weight", None)
        if not isinstance(weight, Tensor) or weight.ndim not in (2, 4):
            continue
        if weight.ndim == 2 and weight.shape[1] != math.prod(shape):
            return None
        kernels = weight.detach()[:_MAX_KERNELS].float().cpu()
        return kernels.reshape(len(kernels), *(weight.shape[1:] if weight.ndim == 4 else shape)).numpy()
    return None
