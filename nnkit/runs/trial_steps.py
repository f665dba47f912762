"""Real steps of a run on a copy of what it trains, each way of computing them in turn; the run itself is untouched."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from lightning.fabric.utilities.seed import _collect_rng_states, _set_rng_states

from nnkit.batches import Batch
from nnkit.callbacks.signals import leave_if_stopped
from nnkit.data.sampler import BatchSampler
from nnkit.distributed.group import group
from nnkit.errors import NnkitError
from nnkit.runs.choosing import UnusableError, Way
from nnkit.runs.compiling import compile_losses
from nnkit.runs.optimization import autocast, make_optimizer, pick_device
from nnkit.runs.session import Session

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from nnkit.data.base import DataModule
    from nnkit.tasks.base import Task

# What a network raises that cannot be computed in a precision, or for which there is no memory.
_ERRORS = (RuntimeError, TypeError, ValueError, NotImplementedError, NnkitError)


@contextmanager
def generators_kept() -> Iterator[None]:
    """Put the random generators back at the end of the block, those of GPUs included."""
    states = _collect_rng_states(include_cuda=True)
    try:
        yield
    finally:
        _set_rng_states(states)


def training_batches(data: DataModule, share: tuple[int, int] = (0, 1)) -> Iterator[Batch]:
    """Yield training batches as they come, gathered in this process, epoch after epoch.

    Args:
        data: The data.
        share: The number of this process, and how many share each batch.
    """
    samples, sampler, epoch = data.split("train"), data.train_dataloader().sampler, 0
    assert isinstance(sampler, BatchSampler)
    sampler.rank, sampler.world_size = share
    while True:
        yield from (samples[draw] for draw in sampler)
        epoch += 1
        sampler.set_epoch(epoch)


class TrialSteps:
    """Computes steps of a session on copies: one to be compiled, one not, which share no weights with the session.

    The learning rate is 0, so that each step of each way begins with the weights that the run begins with.

    Args:
        session: The parts of the run.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._device = pick_device(session.config)
        found = group()
        share = (0, 1) if found is None else (found.world.rank, found.world.size)
        self._coming = training_batches(session.data, share)
        # The latest batch, and its number.
        self._latest: tuple[int, Batch | None] = (-1, None)
        self._tasks: dict[bool, Task] = {}
        self._optimizers: dict[tuple[bool, bool], Optimizer] = {}
        self._scalers: dict[bool, torch.amp.GradScaler] = {}

    def gather(self, number: int) -> Batch:
        """Return a batch of the run by its number, which does not go back.

        Raises:
            Interrupted: If a signal has come.
        """
        leave_if_stopped()
        while self._latest[0] < number:
            batch = next(self._coming)
            on_device = type(batch)(*(field.to(self._device) for field in batch))
            self._latest = (self._latest[0] + 1, on_device)
        assert self._latest[1] is not None
        return self._latest[1]

    def __call__(self, way: Way, number: int) -> None:
        """Compute a step and wait until it is over.

        Args:
            way: How.
            number: Of the batch.

        Raises:
            UnusableError: If the way cannot be taken: the loss is not finite, or something cannot be computed.
        """
        batch = self.gather(number)
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision(way.matmul_precision)
        try:
            self._step(way, batch)
        except (UnusableError, *_ERRORS) as error:
            # Their gradients, weights and statistics may not be finite now.
            self._tasks.clear()
            self._optimizers.clear()
            raise UnusableError((str(error).strip() or type(error).__name__).split("\n")[0]) from error
        finally:
            torch.set_float32_matmul_precision(before)
        if self._device == "cuda":
            torch.cuda.synchronize()

    def _step(self, way: Way, batch: Batch) -> None:
        task, trainer = self._task(way.is_compiled), self._session.config.trainer
        optimizer = self._optimizer(way, task)
        scaler = self._scaler(way) if way.precision == "16-mixed" else None
        with autocast(way.precision, self._device):
            means, _ = (task.compiled or task.losses)(batch)
            loss = torch.stack([mean.float() for mean in means]).sum()
        if not bool(torch.isfinite(loss.detach())):
            raise UnusableError(f"its loss is {loss.item()}")
        torch.autograd.backward(loss if scaler is None else scaler.scale(loss))
        if scaler is not None:
            scaler.unscale_(optimizer)
        elif not _finite(optimizer):
            raise UnusableError("a gradient is not finite")
        task.configure_gradient_clipping(
            optimizer, trainer.get("gradient_clip_val"), trainer.get("gradient_clip_algorithm")
        )
        if scaler is None:
            optimizer.step()
        else:
            scaler.step(optimizer)
            scaler.update()
        optimizer.zero_grad()

    def _task(self, is_compiled: bool) -> Task:
        if is_compiled not in self._tasks:
            session = self._session
            task = copy.deepcopy(session.task).to(self._device).train()
            if is_compiled:
                compile_losses(session.config, task, session.data)
            self._tasks[is_compiled] = task
        return self._tasks[is_compiled]

    def _optimizer(self, way: Way, task: Task) -> Optimizer:
        key = (way.is_compiled, way.precision == "16-mixed")
        if key not in self._optimizers:
            config = self._session.config.copy()
            config.trainer.precision = way.precision
            self._optimizers[key] = make_optimizer(config, task.network)
            for one in self._optimizers[key].param_groups:
                one["lr"] = 0.0 * one["lr"]
        return self._optimizers[key]

    def _scaler(self, way: Way) -> Any:
        return self._scalers.setdefault(way.is_compiled, torch.amp.GradScaler(self._device))


def _finite(optimizer: Optimizer) -> bool:
    """Return whether all gradients are finite."""
    gradients = [
        one.grad for group in optimizer.param_groups for one in group["params"] if one.grad is not None
    ]
    return not gradients or bool(torch.isfinite(torch.stack(torch._foreach_norm(gradients)).sum()))
