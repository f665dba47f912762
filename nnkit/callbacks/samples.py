"""Samples of a language model's text in TensorBoard."""

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from nnkit.callbacks.board import event_writer
from nnkit.decoding.sampling import Sampling
from nnkit.errors import UserError
from nnkit.inference.generation import continuations, encode_prompt, line_break, whole

# Writing takes at most this share of the time: epochs of some milliseconds do not all get their sample.
_MAX_SHARE = 0.05


class TextSamples(Callback):
    """Lets a language model write a little after a validation; other tasks are left alone.

    The draw depends on seed and epoch only and touches no generator of the run. The first and the last validation
    always have their sample; those between while writing takes under a twentieth of the time. Without a TensorBoard
    logger nothing is done.

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
        for name, value in (("length", length), ("every_n_epochs", every_n_epochs)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        self.prompt, self.length = prompt, length
        self.sampling = Sampling(temperature)
        self.every_n_epochs = every_n_epochs
        self.seed = seed
        self._due: tuple[int, int] | None = None
        self._written_at = 0.0
        self._cost = 0.0

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
        writes = _writes_on(pl_module) and not trainer.sanity_checking
        if (
            not writes
            or not trainer.is_global_zero
            or event_writer(trainer) is None
            or _tokenizer(trainer) is None
        ):
            return
        self._due = trainer.global_step, trainer.current_epoch
        epoch_fits = trainer.current_epoch % self.every_n_epochs == 0
        cheap = self._cost <= _MAX_SHARE * (time.perf_counter() - self._written_at)
        if epoch_fits and (cheap or not self._written_at):
            self._write(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write after the last validation, if that is not done."""
        if self._due is not None:
            self._write(trainer, pl_module)

    def _write(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert self._due is not None
        start, (step, epoch) = time.perf_counter(), self._due
        self._due = None
        network: Any = pl_module.network
        modes = [(module, module.training) for module in network.modules()]
        network.eval()
        try:
            text = self._text(network, _tokenizer(trainer), epoch)
        finally:
            for module, training in modes:
                module.training = training
        event_writer(trainer).add_text("val/sample", _as_code(text), step)
        self._written_at = time.perf_counter()
        self._cost = self._written_at - start

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
    return getattr(getattr(trainer, "datamodule", None), "tokenizer", None)


def _as_code(text: str) -> str:
    """Return Markdown that shows a text as it is; indented, since a fence could stand in the text."""
    return "\n".join(f"    {line}" for line in text.split("\n"))
