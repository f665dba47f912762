"""What a training that is only compared carries: a trace of every layer's output, and its own death."""

import hashlib
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from nnkit.callbacks.checkpoint import Checkpointing
from nnkit.files import atomic

TRACE = "trace.jsonl"


class Trace(Callback):
    """Writes one line a batch: a hash of the batch and of each layer's output, in the order of computation.

    Args:
        directory: The run directory.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / TRACE
        self._outputs: list[tuple[str, str, str]] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen to every layer."""
        for name, module in pl_module.named_modules():
            if name and next(module.children(), None) is None:
                module.register_forward_hook(self._hook(name))

    def _hook(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def listen(module: nn.Module, inputs: Any, output: Any) -> None:
            if module.training:
                self._outputs.append((name, type(module).__name__, _hash(output)))

        return listen

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Begin with the batch itself."""
        names = getattr(batch, "_fields", None) or [str(number) for number in range(len(batch))]
        self._outputs = [
            (f"the batch's {name}", "data", _hash(part)) for name, part in zip(names, batch, strict=True)
        ]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write the line."""
        row = {"batch": trainer.fit_loop.total_batch_idx, "outputs": self._outputs}
        atomic.append_lines(self.path, [json.dumps(row)])


class Die(Callback):
    """Kills this process, as a power cut or `kill -9` would.

    Args:
        step: Optimizer step after which it happens.
        saved: Whether the checkpoint of that step is waited for.
    """

    def __init__(self, step: int, saved: bool) -> None:
        self.step = step
        self.saved = saved

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Die right after the step."""
        if trainer.global_step == self.step and not self.saved:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Die before the next batch, the step's checkpoint on disk."""
        if trainer.global_step >= self.step and self.saved:
            for callback in trainer.checkpoint_callbacks:
                if isinstance(callback, Checkpointing):
                    callback.flush(trainer)
            os.kill(os.getpid(), signal.SIGKILL)


def _hash(value: Any) -> str:
    """Return a short hash of the bits of a tensor; of the text of anything else."""
    if isinstance(value, Tensor):
        content = value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    elif isinstance(value, tuple | list):
        content = "".join(map(_hash, value)).encode()
    else:
        content = repr(value).encode()
    return hashlib.sha256(content).hexdigest()[:16]
