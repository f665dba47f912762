"""Stops a run before an optimizer step whose loss or gradient is not finite."""

import logging
import math
from collections import deque
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor
from torch.optim import Optimizer

from nnkit.batches import listed
from nnkit.callbacks.triage import Diagnosis, triage
from nnkit.distributed import collectives
from nnkit.distributed.sharded import FullySharded, local_rows
from nnkit.errors import NnkitError
from nnkit.tasks.base import Task

_HISTORY = 5
# Skipped steps that are reported one by one.
_TOLD = 5
# The smallest number of float16: a loss scaled by less than it has no gradient.
_SMALLEST_SCALE = 2.0**-24

_log = logging.getLogger("nnkit")


class NonFinite(NnkitError):
    """Training has diverged: exit 1."""


class NanGuard(Callback):
    """Looks at the loss and at the norm of the gradients of every step, before the optimizer uses them.

    A step that is skipped leaves no trace of its batches in weights, optimizer, batch norm's statistics and logged
    means; it counts as a step, and the learning rate moves on.

    Args:
        policy: "stop" ends the run, the last good checkpoint stands; "skip" leaves the step out and goes on.
    """

    def __init__(self, policy: Literal["stop", "skip"] = "stop") -> None:
        self.policy = policy
        self.skipped = 0
        # Steps of this epoch, and how many of them were skipped.
        self._steps, self._skipped = 0, 0
        self._history: deque[Tensor] = deque(maxlen=_HISTORY)
        # Batches whose gradients are in the next optimizer step, and their losses as they are differentiated.
        self._batches: list[Any] = []
        self._losses: list[Tensor] = []
        # What a batch changes beside the gradients, and copies from before the first of these batches.
        self._buffers: list[Tensor] = []
        self._copies: list[Tensor] = []
        self._in_step = False

    def state_dict(self) -> dict[str, Any]:
        """Return the counts, and inside an accumulation window what skipping it would bring back."""
        if self.policy == "stop":
            return {}
        copies = [copy.clone() for copy in self._copies] if self._in_step else []
        return {"skipped": self.skipped, "epoch": [self._steps, self._skipped], "copies": copies}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the counts of the run that is resumed."""
        self.skipped = state_dict["skipped"]
        self._steps, self._skipped = state_dict["epoch"]
        self._copies = state_dict["copies"]
        self._in_step = bool(self._copies)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make room for the copies."""
        if self.policy == "skip":
            self._buffers = list(pl_module.buffers())
            # Those of a checkpoint lie in the processor's memory.
            copies = zip(self._copies or self._buffers, self._buffers, strict=True)
            self._copies = [copy.to(buffer.device, copy=True) for copy, buffer in copies]

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Keep the batch, to examine it if need be."""
        # By the same rule Lightning sets the gradients to zero.
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self._batches, self._losses = [], []
            if self._buffers:
                torch._foreach_copy_(self._copies, self._buffers)
                self._in_step = True
        self._batches.append(batch)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Keep the loss; of several processes one that is not finite spoils the gradients of all.

        Its own gradients may be finite. So all see it in the step's gradients, which DDP has made the same.
        """
        kept = loss.detach()
        self._losses.append(kept)
        if collectives.is_together() and loss.requires_grad:
            # torch has not typed it.
            register: Any = loss.register_hook
            register(lambda gradient: torch.where(kept.isfinite(), gradient, torch.nan))

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Stop or skip if anything is not finite."""
        self._steps += 1
        self._in_step = False
        is_bad = not math.isfinite(self._total(trainer, optimizer))
        strategy = trainer.strategy
        has_all = isinstance(strategy, DDPStrategy) and not isinstance(strategy, FullySharded)
        if _scaler(trainer) is not None or not has_all:
            # What is looked at differs between processes: with a scaler the losses alone, with FSDP some rows.
            is_bad = bool(collectives.most(is_bad)[0])
        if not is_bad:
            return
        finding = self._triage(trainer, pl_module)
        if self.policy == "stop":
            raise NonFinite(self._first_to_know(self._message(trainer, pl_module, finding)))
        self.skipped += 1
        self._skipped += 1
        optimizer.zero_grad(set_to_none=True)
        torch._foreach_copy_(self._buffers, self._copies)
        if self.skipped <= _TOLD:
            last = "; further ones are only counted" if self.skipped == _TOLD else ""
            _log.warning("step %d is skipped: %s%s", trainer.global_step, finding.text, last)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the loss, without a scaler's factor and the batch's share in an accumulation window."""
        if outputs:
            self._history.append(_last_loss(pl_module))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop where nothing is learnt any more; this comes before the epoch's checkpoint."""
        steps, skipped, scaler = self._steps, self._skipped, _scaler(trainer)
        self._steps = self._skipped = 0
        if skipped and skipped == steps:
            raise NonFinite(
                f"every step of epoch {trainer.current_epoch} was skipped, {steps:,} in all: loss or gradient are "
                "never finite\n    callbacks.nan_guard.policy=stop says where"
            )
        if scaler is not None and scaler.get_scale() < _SMALLEST_SCALE:
            raise NonFinite(
                "the gradients are not finite in float16 whatever the loss is scaled by, so that no step is taken\n"
                "    try trainer.precision=bf16-mixed or trainer.precision=32-true"
            )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report how many batches were left out."""
        if self.skipped:
            _log.warning(
                "%s of %s steps were skipped, as their loss or gradient was not finite",
                *(f"{self.skipped:,}", f"{trainer.global_step:,}"),
            )

    def _total(self, trainer: Trainer, optimizer: Optimizer) -> Tensor:
        """Return a number that is finite if losses and gradients are."""
        losses = self._losses
        total = (losses[0] if len(losses) == 1 else torch.stack(losses).sum()).float()
        if _scaler(trainer) is not None:
            # With a scaler an infinite gradient is part of the method, it skips that step itself; so is a loss of
            # float16 that its factor made infinite.
            return torch.where(total.isinf(), 0.0, total) if losses[0].dtype == torch.float16 else total
        gradients = [
            local_rows(p.grad)
            for group in optimizer.param_groups
            for p in group["params"]
            if p.grad is not None
        ]
        if gradients:
            total = total + torch.stack(torch._foreach_norm(gradients)).sum()
        return total

    def _first_to_know(self, message: str) -> str:
        """Return the message of the first process whose own loss is not finite; of the first where none is."""
        is_own = not all(bool(torch.isfinite(loss)) for loss in self._losses)
        told = collectives.gathered_by_all((is_own, message))
        return str(next((text for is_own, text in told if is_own), told[0][1]))

    def _triage(self, trainer: Trainer, pl_module: LightningModule) -> Diagnosis:
        assert isinstance(pl_module, Task)
        bad = [not bool(torch.isfinite(loss)) for loss in self._losses]
        batches = self._batches
        if any(bad) and len(bad) == len(batches):
            batches = [batch for batch, is_bad in zip(batches, bad, strict=True) if is_bad]
        context = trainer.precision_plugin.train_step_context
        return triage(pl_module, batches, context, gradients=not any(bad))

    def _message(self, trainer: Trainer, pl_module: LightningModule, finding: Diagnosis) -> str:
        losses = [*self._history, _last_loss(pl_module)][-_HISTORY:]
        rate = float(trainer.optimizers[0].param_groups[0]["lr"])
        samples = torch.cat([batch.indices for batch in self._batches]).tolist()
        return (
            f"the loss or a gradient is not finite at step {trainer.global_step}; the weights were not changed\n"
            f"    first found: {finding.text}\n"
            f"    last losses: {', '.join(f'{float(loss):.4g}' for loss in losses)}; "
            f"learning rate {rate:.3g}\n"
            f"    batch: training samples {listed(samples)}\n"
            f"    {_advice(trainer, finding)}"
        )


def _scaler(trainer: Trainer) -> Any:
    return getattr(trainer.precision_plugin, "scaler", None)


def _last_loss(task: LightningModule) -> Tensor:
    assert isinstance(task, Task)
    assert task.last_loss is not None
    return task.last_loss


def _advice(trainer: Trainer, finding: Diagnosis) -> str:
    """Return what to try, by what was found."""
    skip = "callbacks.nan_guard.policy=skip leaves such batches out"
    if finding.cause == "batch":
        return f"clean the data, or {skip}"
    tries = []
    if trainer.global_step:
        tries.append(f"optimizer.lr={float(trainer.optimizers[0].defaults['lr']) / 10:.2g}")
        if not trainer.gradient_clip_val:
            tries.append("trainer.gradient_clip_val=1.0")
    if "16" in str(trainer.precision):
        tries.append("trainer.precision=32-true")
    if not tries:
        return "no step has been taken yet, so it is not the learning rate: look at that layer, the loss and the data"
    few = f"\n    or look at the samples named above; {skip}" if finding.samples else ""
    return f"try {' or '.join(tries)}{few}"
