"""Pictures of attention in TensorBoard: which steps each step of one text looks at."""

import math
import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from typing_extensions import override

from nnkit.batches import Batch
from nnkit.callbacks.board import event_writer
from nnkit.tasks.base import Task
from nnkit.ui import figures

# Drawing takes at most this share of the time: epochs of some milliseconds do not all get their picture.
_MAX_SHARE = 0.05
# Steps that are shown, and pictures of single heads.
_MAX_STEPS = 32
_MAX_HEADS = 16
# Side of a cell in pixels, where there is one picture a layer and where there are more.
_CELL, _SMALL_CELL = 15, 11


class AttentionPictures(Callback):
    """Draws after a validation what the layers of attention do with the first validation sample.

    One map a layer, its heads averaged; in a small network one for each head. Rows are the steps that look, columns
    those they look at, the first 32 of each. The first and the last validation are always drawn; those between while
    drawing takes under a twentieth of the time. No generator is touched. Networks without attention are left alone;
    without a TensorBoard logger nothing is done.

    Args:
        every_n_epochs: Epochs between two drawings.

    Raises:
        ValueError: If it is below 1.
    """

    def __init__(self, *, every_n_epochs: int = 1) -> None:
        if every_n_epochs < 1:
            raise ValueError(f"every_n_epochs must be at least 1, not {every_n_epochs}")
        self.every_n_epochs = every_n_epochs
        self._sample: Any = None
        self._due: int | None = None
        self._drawn_at = 0.0
        self._cost = 0.0

    @override
    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the first sample."""
        if batch_idx or not isinstance(pl_module, Task) or trainer.sanity_checking:
            return
        if (
            trainer.is_global_zero
            and event_writer(trainer) is not None
            and attention_layers(pl_module.network)
        ):
            self._sample = pl_module.first_sample(batch)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw, if it is time; averaged weights are still in place where there are any."""
        if self._sample is None or trainer.sanity_checking:
            return
        self._due = trainer.global_step
        epoch_fits = trainer.current_epoch % self.every_n_epochs == 0
        cheap = self._cost <= _MAX_SHARE * (time.perf_counter() - self._drawn_at)
        if epoch_fits and (cheap or not self._drawn_at):
            self._draw(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw after the last validation, if that is not done."""
        if self._due is not None:
            self._draw(trainer, pl_module)

    def _draw(self, trainer: Trainer, pl_module: LightningModule) -> None:
        start, step, self._due = time.perf_counter(), self._due, None
        assert isinstance(pl_module, Task)
        weights = recorded(pl_module.network, self._sample)
        if weights:
            maps = attention_maps(pl_module, weights, self._sample, getattr(trainer, "datamodule", None))
            single = len(maps) == len(weights)
            across = math.ceil(math.sqrt(len(maps))) if single else len(maps) // len(weights)
            figure = figures.heat_maps(maps, across, _CELL if single else _SMALL_CELL)
            event_writer(trainer).add_image(
                "val/attention", figures.to_pixels(figure), step, dataformats="HWC"
            )
        self._drawn_at = time.perf_counter()
        self._cost = self._drawn_at - start


def attention_layers(network: nn.Module) -> dict[str, Any]:
    """Return the layers that can record their weights, by name; see `nnkit.layers.attention.MultiHead`."""
    return {
        name: module
        for name, module in network.named_modules()
        if hasattr(module, "record") and hasattr(module, "weights")
    }


def recorded(network: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Call a network in evaluation mode and return the weights of each of its layers of attention.

    Modes and layers are left as they were found.

    Args:
        network: The network.
        batch: A batch of one, on any device.

    Returns:
        By the layer's name, (heads, steps, steps looked at); only of layers that were called.
    """
    layers = attention_layers(network)
    device = next(network.parameters()).device
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    for layer in layers.values():
        layer.record = True
    try:
        with torch.no_grad():
            # Not the call itself: compiled, it would be compiled once more for this.
            network.forward(*(part.to(device) for part in batch.network_inputs()))
        found = {name: layer.weights for name, layer in layers.items() if layer.weights is not None}
    finally:
        for layer in layers.values():
            layer.record, layer.weights = False, None
        for module, training in modes:
            module.training = training
    return {name: weights[0].float().cpu() for name, weights in found.items()}


def attention_maps(task: Task, weights: dict[str, Tensor], sample: Batch, data: Any) -> list[figures.HeatMap]:
    """Return a map for each head where there are few of them, one a layer where there are many.

    Args:
        task: Names the steps.
        weights: By the layer's name, (heads, steps, steps attended to); see `recorded`.
        sample: What they are of, a batch of one.
        data: The data module of the run; None: steps are numbered.
    """
    layers = attention_layers(task.network)
    counts = {len(heads) for heads in weights.values()}
    by_head = len(counts) == 1 and sum(map(len, weights.values())) <= _MAX_HEADS
    maps = []
    for name, heads in weights.items():
        # A network that has diverged is for others to stop.
        shown = heads[:, :_MAX_STEPS, :_MAX_STEPS].nan_to_num(0.0, 0.0, 0.0)
        is_cross = getattr(layers[name], "is_cross", False)
        rows, columns = (
            names[:_MAX_STEPS] for names in task.attention_axes(name, is_cross, heads.shape[1:], sample, data)
        )
        title = name.removeprefix("body.")
        parts = {title: shown.mean(0)}
        if by_head and len(shown) > 1:
            parts = {f"{title}, head {number + 1}": head for number, head in enumerate(shown)}
        maps += [figures.HeatMap(head, values.numpy(), rows, columns) for head, values in parts.items()]
    return maps
