"""What TensorBoard shows of a run beside its curves: figures, attention maps and samples of text."""

import math
import time
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn
from typing_extensions import override

from nnkit.batches import Batch
from nnkit.decoding.sampling import Sampling
from nnkit.errors import UserError
from nnkit.inference.generation import continuations, encode_prompt, line_break, whole
from nnkit.tasks.base import Task
from nnkit.ui import figures

# Steps of attention that are shown, and maps of single heads.
_MAX_STEPS, _MAX_HEADS = 32, 16
# Side of a cell in pixels, where there is one map a layer and where there are more.
_CELL, _SMALL_CELL = 15, 11


class AfterValidation(Callback):
    """Shows something in TensorBoard after a validation; without a TensorBoard logger nothing is done.

    The first and the last validation are always shown; those between while showing takes under a twentieth of the time,
    as epochs of some milliseconds do not all need it. No generator of the run is touched.

    Args:
        every_n_epochs: Epochs between two times.

    Raises:
        ValueError: If it is below 1.
    """

    max_share: ClassVar[float] = 0.05

    def __init__(self, every_n_epochs: int) -> None:
        if every_n_epochs < 1:
            raise ValueError(f"every_n_epochs must be at least 1, not {every_n_epochs}")
        self.every_n_epochs = every_n_epochs
        # Step and epoch of the last validation, if that is not shown.
        self._due: tuple[int, int] | None = None
        self._shown_at, self._cost = 0.0, 0.0

    @abstractmethod
    def show(self, board: Any, trainer: Trainer, pl_module: LightningModule, step: int, epoch: int) -> None:
        """Write to TensorBoard's event file.

        Args:
            board: The writer of the file.
            trainer: As for Lightning's hooks.
            pl_module: The task.
            step: Step of the validation.
            epoch: Its epoch.
        """

    def has_board(self, trainer: Trainer) -> bool:
        """Return whether this validation can be shown at all."""
        return not trainer.sanity_checking and trainer.is_global_zero and _board(trainer) is not None

    def offer(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the validation that is over, if it is time."""
        self._due = trainer.global_step, trainer.current_epoch
        epoch_fits = trainer.current_epoch % self.every_n_epochs == 0
        cheap = self._cost <= self.max_share * (time.perf_counter() - self._shown_at)
        if epoch_fits and (cheap or not self._shown_at):
            self._show(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the last validation, if that is not done."""
        self._show(trainer, pl_module)

    def _show(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._due is None:
            return
        start, (step, epoch), self._due = time.perf_counter(), self._due, None
        self.show(_board(trainer), trainer, pl_module, step, epoch)
        self._shown_at = time.perf_counter()
        self._cost = self._shown_at - start


def _board(trainer: Trainer) -> Any:
    """Return the writer of TensorBoard's event file, None if there is no such logger."""
    return next((log.experiment for log in trainer.loggers if isinstance(log, TensorBoardLogger)), None)


def _data(trainer: Trainer) -> Any:
    return getattr(trainer, "datamodule", None)


class TensorBoardPictures(AfterValidation):
    """Draws what the task shows of a validation, from what that computed anyway; a training step costs nothing.

    For classification: the confusion matrix, the kernels of the first layer that sees images, and the first images of
    the validation split whose class is wrong. For regression: predicted values over true ones. For forecasting: the
    first series forecast beside what came, for windows at the beginning of the validation split, each where the one
    before it ends.

    Args:
        num_wrong: Wrong predictions that are shown; 0 for none.
        every_n_epochs: Epochs between two times.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(self, num_wrong: int = 16, every_n_epochs: int = 1) -> None:
        if num_wrong < 0:
            raise ValueError(f"num_wrong must be at least 0, not {num_wrong}")
        super().__init__(every_n_epochs)
        self.num_wrong = num_wrong
        self._gathers = False
        self._kept: list[tuple[Tensor, ...]] = []
        self._num_kept = 0

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start gathering, if these figures can be drawn."""
        draws = isinstance(pl_module, Task) and type(pl_module).pictures is not Task.pictures
        self._gathers = draws and self.has_board(trainer)
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
        """Draw, if it is time; the task has its results by now."""
        if self._gathers:
            self._gathers = False
            self.offer(trainer, pl_module)

    @override
    def show(self, board: Any, trainer: Trainer, pl_module: LightningModule, step: int, epoch: int) -> None:
        """Draw the task's figures."""
        assert isinstance(pl_module, Task)
        kept = [torch.cat(values) for values in zip(*self._kept, strict=True)]
        learnt = getattr(_data(trainer), "preprocessing", {})
        for name, figure in pl_module.pictures(kept, learnt).items():
            board.add_image(name, figures.to_pixels(figure), step, dataformats="HWC")


class AttentionPictures(AfterValidation):
    """Draws what the attention layers do with the first validation sample; other networks are left alone.

    One map a layer, its heads averaged; in a small network one for each head. Rows are the steps that attend, columns
    those attended to, the first 32 of each.

    Args:
        every_n_epochs: Epochs between two times.

    Raises:
        ValueError: If it is below 1.
    """

    def __init__(self, *, every_n_epochs: int = 1) -> None:
        super().__init__(every_n_epochs)
        self._sample: Batch | None = None

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
        if batch_idx or not isinstance(pl_module, Task):
            return
        if self.has_board(trainer) and attention_layers(pl_module.network):
            self._sample = pl_module.first_sample(batch)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw, if it is time; averaged weights are still in place where there are any."""
        if self._sample is not None and not trainer.sanity_checking:
            self.offer(trainer, pl_module)

    @override
    def show(self, board: Any, trainer: Trainer, pl_module: LightningModule, step: int, epoch: int) -> None:
        """Draw the maps."""
        assert isinstance(pl_module, Task)
        assert self._sample is not None
        weights = recorded(pl_module.network, self._sample)
        if weights:
            maps = attention_maps(pl_module, weights, self._sample, _data(trainer))
            single = len(maps) == len(weights)
            across = math.ceil(math.sqrt(len(maps))) if single else len(maps) // len(weights)
            figure = figures.heat_maps(maps, across, _CELL if single else _SMALL_CELL)
            board.add_image("val/attention", figures.to_pixels(figure), step, dataformats="HWC")


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode, and each of its modules back into its own afterwards."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


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
    for layer in layers.values():
        layer.record = True
    try:
        with _evaluating(network), torch.no_grad():
            # Not the call itself: compiled, it would be compiled once more for this.
            network.forward(*(part if part is None else part.to(device) for part in batch.network_inputs()))
        found = {name: layer.weights for name, layer in layers.items() if layer.weights is not None}
    finally:
        for layer in layers.values():
            layer.record, layer.weights = False, None
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


class TextSamples(AfterValidation):
    """Lets a language model write a little after a validation; other tasks are left alone.

    The draw depends on seed and epoch only.

    Args:
        prompt: What the text begins with; None: a line break, or the first token if the vocabulary has none.
        length: Tokens to write.
        temperature: As in `Sampling`.
        every_n_epochs: Epochs between two samples.
        seed: Seed of the draw.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        prompt: str | None = None,
        *,
        length: int = 200,
        temperature: float = 0.8,
        every_n_epochs: int = 1,
        seed: int = 0,
    ) -> None:
        if length < 1:
            raise ValueError(f"length must be at least 1, not {length}")
        super().__init__(every_n_epochs)
        self.prompt, self.length = prompt, length
        self.sampling = Sampling(temperature)
        self.seed = seed

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse a prompt that cannot be read, before an epoch is spent.

        Raises:
            UserError: If it holds what the vocabulary lacks.
        """
        if self.prompt and _writes_on(pl_module):
            tokenizer = _tokenizer(trainer)
            if tokenizer is not None:
                encode_prompt(tokenizer, self.prompt)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write, if it is time; averaged weights are still in place where there are any."""
        if _writes_on(pl_module) and self.has_board(trainer) and _tokenizer(trainer) is not None:
            self.offer(trainer, pl_module)

    @override
    def show(self, board: Any, trainer: Trainer, pl_module: LightningModule, step: int, epoch: int) -> None:
        """Write a sample."""
        network: Any = pl_module.network
        with _evaluating(network):
            text = self._text(network, _tokenizer(trainer), epoch)
        board.add_text("val/sample", _as_code(text), step)

    def _text(self, network: Any, tokenizer: Any, epoch: int) -> str:
        begin = encode_prompt(tokenizer, self.prompt) if self.prompt else line_break(tokenizer) or [0]
        pieces = continuations(
            network, tokenizer, begin, length=self.length, sampling=self.sampling, seeds=(self.seed, epoch)
        )
        try:
            return (self.prompt or "") + whole(pieces, 1)[0]
        except UserError as error:
            # A network that has diverged is for others to stop.
            return str(error)


def _writes_on(module: LightningModule) -> bool:
    return getattr(module, "writes", None) == "on"


def _tokenizer(trainer: Trainer) -> Any:
    return getattr(_data(trainer), "learnt_tokenizer", None)


def _as_code(text: str) -> str:
    """Return Markdown that shows a text as it is; indented, since the text could contain a fence."""
    return "\n".join(f"    {line}" for line in text.split("\n"))
