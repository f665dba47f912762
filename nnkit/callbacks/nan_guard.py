"""Stops a run before an optimizer step whose loss or gradient is not finite."""

from collections import deque
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from nnkit.errors import NnkitError

_HISTORY = 5


class NonFinite(NnkitError):
    """Training has diverged: exit 1."""


class NanGuard(Callback):
    """Looks at the loss and at the norm of the gradients of every step, before the optimizer uses them.

    Args:
        policy: "stop" ends the run, the last good checkpoint stands; "skip" leaves the step out and goes on.
    """

    def __init__(self, policy: Literal["stop", "skip"] = "stop") -> None:
        self.policy = policy
        self.skipped = 0
        self._losses: deque[Tensor] = deque(maxlen=_HISTORY)
        self._index: Tensor | None = None

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Keep the sample numbers, to name them if need be."""
        self._index = batch.indices

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Keep the loss."""
        self._losses.append(loss.detach())

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Stop or skip if anything is not finite."""
        gradients = [
            p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None
        ]
        # With a loss scaler an infinite gradient is part of the method: the scaler skips that step itself.
        if getattr(trainer.precision_plugin, "scaler", None) is not None:
            gradients = []
        total = self._losses[-1].float()
        if gradients:
            total = total + torch.stack(torch._foreach_norm(gradients)).sum()
        if torch.isfinite(total):
            return
        if self.policy == "stop":
            raise NonFinite(self._triage(trainer, pl_module))
        self.skipped += 1
        optimizer.zero_grad(set_to_none=True)

    def _triage(self, trainer: Trainer, pl_module: LightningModule) -> str:
        losses = ", ".join(f"{float(loss):.4g}" for loss in self._losses)
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        bad = [
            name
            for name, p in pl_module.named_parameters()
            if p.grad is not None and not torch.isfinite(p.grad).all()
        ]
        samples = [] if self._index is None else self._index[:8].tolist()
        return (
            f"the loss or a gradient is not finite at step {trainer.global_step}; the weights were not changed\n"
            f"    last losses: {losses}; learning rate {rate:.3g}\n"
            f"    first layer with a gradient that is not finite: {bad[0] if bad else 'none'}\n"
            f"    batch of training samples {', '.join(map(str, samples))}, ...\n"
            f"    try optimizer.lr={rate / 10:.1g} or trainer.gradient_clip_val=1.0"
        )
