"""What Lightning leaves out of a checkpoint: config, generators, gradients, and the length of the log."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from nnkit.callbacks.record import Record
from nnkit.checkpoint.formats import FORMAT, KEY
from nnkit.checkpoint.plugin import in_window
from nnkit.tasks.base import Task


@dataclass(frozen=True)
class Origin:
    """What a checkpoint says about the run it belongs to.

    Attributes:
        config: Returns the config as one line of JSON, interpolations kept.
        choices: The option of each group.
        preprocessing_sha256: Hash of what the data module learnt.
        data_fingerprint: Hash of the data; None where the data have none.
    """

    config: Callable[[], str]
    choices: Mapping[str, Any]
    preprocessing_sha256: str
    data_fingerprint: str | None


class SaveState(Callback):
    """Adds to each checkpoint what a run needs to go on exactly and Lightning does not save.

    Args:
        origin: What the checkpoint says about its run.
        record: The run's log, whose length is saved.
    """

    def __init__(self, origin: Origin, record: Record) -> None:
        self.origin = origin
        self.record = record
        self._restored: dict[str, Any] | None = None

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add plain data and tensors only: a checkpoint holds nothing else."""
        gradients = divisors = None
        if in_window(trainer):
            divisors = pl_module.divisors if isinstance(pl_module, Task) else None
            gradients = {name: p.grad for name, p in pl_module.named_parameters() if p.grad is not None}
        checkpoint[KEY] = {
            "format": FORMAT,
            "config": self.origin.config(),
            "choices": dict(self.origin.choices),
            "preprocessing_sha256": self.origin.preprocessing_sha256,
            "data_fingerprint": self.origin.data_fingerprint,
            "num_lines": self.record.num_lines,
            "stopped": trainer.should_stop,
            "gradients": gradients,
            "divisors": divisors,
            "generators": generator_states(),
        }

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep generators and gradients until the first batch."""
        self._restored = checkpoint[KEY]

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Restore generators and gradients: all that uses them comes after this hook."""
        if self._restored is None:
            return
        set_generator_states(self._restored["generators"])
        gradients = self._restored["gradients"] or {}
        for name, parameter in pl_module.named_parameters():
            if name in gradients:
                parameter.grad = gradients[name].to(parameter.device)
        if isinstance(pl_module, Task):
            # Not in a checkpoint of an earlier release.
            pl_module.divisors = self._restored.get("divisors")
        self._restored = None


def generator_states() -> dict[str, Any]:
    """Return the states of the global generators of Python, NumPy and torch as plain data and tensors."""
    kind, keys, position, has_gauss, cached = numpy.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": [str(kind), [int(key) for key in keys], int(position), int(has_gauss), float(cached)],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_generator_states(states: dict[str, Any]) -> None:
    """Set the global generators to states from `generator_states`."""
    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))
    kind, keys, position, has_gauss, cached = states["numpy"]
    numpy.random.set_state((kind, numpy.array(keys, dtype=numpy.uint32), position, has_gauss, cached))
    torch.set_rng_state(states["torch"])
    if torch.cuda.is_available() and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])
