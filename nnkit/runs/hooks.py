"""What Lightning does in every step without effect is taken out of its way: empty hooks, questions asked anew."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.precision import MixedPrecision, Precision
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor

from nnkit.runs.profiling import Silent
from nnkit.tasks.base import Task

if TYPE_CHECKING:
    from torch.optim import Optimizer

# What a training step calls.
_EACH_STEP = (
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
)
# What a task may define to compute a step in its own way; Lightning then leads through it.
_OWN_WAY = ("training_step", "backward", "optimizer_step", "configure_gradient_clipping")


def without_empty_hooks(holder: Callback | LightningModule) -> None:
    """Let Lightning pass over the hooks of a step that are not defined: it calls what can be called."""
    base = Callback if isinstance(holder, Callback) else LightningModule
    for name in _EACH_STEP:
        if getattr(type(holder), name) is getattr(base, name) and name not in vars(holder):
            holder.__dict__[name] = None


def shorten_steps(trainer: Trainer) -> None:
    """Let a trainer prepare and take a step without what never changes from one step to the next.

    Args:
        trainer: One that trains a `Task`.
    """
    loop, connector = trainer.fit_loop.epoch_loop, trainer._logger_connector
    # Lightning reads the signature of `training_step` each time; that of a task always has both.
    loop.__dict__["_build_kwargs"] = _arguments
    loop.automatic_optimization.__dict__["run"] = _Steps(trainer)
    if trainer.accumulate_grad_batches == 1:
        # Asked six times a step.
        loop.__dict__["_should_accumulate"] = lambda: False
    loop.__dict__["_should_check_val_epoch"] = partial(_validates, trainer, [])
    gather = connector.on_batch_end

    def on_batch_end() -> None:
        results = trainer._results
        if results:
            gather()
        elif results is not None:
            # Nothing was logged in the step.
            results.batch = results.batch_size = None

    connector.__dict__["on_batch_end"] = on_batch_end


def _arguments(kwargs: OrderedDict[str, Any], batch: Any, batch_idx: int) -> OrderedDict[str, Any]:
    kwargs.update(batch=batch, batch_idx=batch_idx)
    return kwargs


def _validates(trainer: Trainer, known: list[bool]) -> bool:
    """Return whether an epoch has validations; what does not change in a training is kept in the list."""
    if not known:
        known.append(trainer.enable_validation)
    every = trainer.check_val_every_n_epoch
    return known[0] and (every is None or (trainer.current_epoch + 1) % every == 0)


class _Steps:
    """Computes a batch and moves the optimizer, as Lightning's automatic optimization does and with the same hooks.

    It does so itself where nothing is in between: one device, no scaler, no accumulation, no profiler, a task that
    defines none of `_OWN_WAY`. There Lightning goes through twelve layers that ask in each step what was known before.

    Args:
        trainer: One that trains a `Task`.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._loop = trainer.fit_loop.epoch_loop.automatic_optimization
        self._lightning = self._loop.run
        self._is_plain: bool | None = None
        self._hooks: dict[str, list[Callable[..., Any]]] = {}
        self._computing: Callable[[], AbstractContextManager[Any]]

    def __call__(self, optimizer: Optimizer, batch_idx: int, kwargs: OrderedDict[str, Any]) -> Any:
        """Return the loss of a batch by its name, its graph gone."""
        if self._is_plain is None:
            self._begin()
        if not self._is_plain:
            return self._lightning(optimizer, batch_idx, kwargs)
        progress = self._loop.optim_progress.optimizer
        progress.step.increment_ready()
        outputs: dict[str, Tensor] = {}

        def closure() -> Tensor:
            outputs["loss"] = loss = self._gradients(optimizer, batch_idx, kwargs)
            self._call("on_before_optimizer_step", optimizer)
            self._task.configure_gradient_clipping(
                optimizer, self._trainer.gradient_clip_val, self._trainer.gradient_clip_algorithm
            )
            return loss

        # Some optimizers compute a step several times.
        optimizer.step(closure)  # type: ignore[arg-type]
        self._task._current_fx_name = None
        progress.step.increment_completed()
        return outputs

    def _begin(self) -> None:
        trainer: Any = self._trainer
        task, precision = trainer.lightning_module, trainer.precision_plugin
        is_whole = type(precision) is Precision or (
            type(precision) is MixedPrecision and precision.scaler is None
        )
        self._is_plain = (
            is_whole
            and type(trainer.strategy) is SingleDeviceStrategy
            and isinstance(trainer.profiler, Silent)
            and trainer.accumulate_grad_batches == 1
            and all(getattr(type(task), name) is getattr(Task, name) for name in _OWN_WAY)
        )
        self._task, self._computing = task, precision.forward_context
        holders = [*trainer.callbacks, task]
        for name in _EACH_STEP[1:-1]:
            hooks = [(holder, getattr(holder, name)) for holder in holders]
            self._hooks[name] = [
                partial(hook, trainer, task) if isinstance(holder, Callback) else hook
                for holder, hook in hooks
                if callable(hook)
            ]

    def _call(self, name: str, *arguments: Any) -> None:
        for hook in self._hooks[name]:
            # What `log` asks for.
            self._task._current_fx_name = name
            hook(*arguments)

    def _gradients(self, optimizer: Optimizer, batch_idx: int, kwargs: OrderedDict[str, Any]) -> Tensor:
        """Compute the gradients of a batch and return its loss."""
        task: Any = self._task
        zeroing = self._loop.optim_progress.optimizer.zero_grad
        with torch.enable_grad():
            task._current_fx_name = "training_step"
            with self._computing():
                loss = task.training_step(**kwargs)
            zeroing.increment_ready()
            self._call("on_before_zero_grad", optimizer)
            zeroing.increment_started()
            task.optimizer_zero_grad(self._trainer.current_epoch, batch_idx, optimizer)
            zeroing.increment_completed()
            self._call("on_before_backward", loss)
            torch.autograd.backward(loss)
            self._call("on_after_backward")
        detached: Tensor = loss.detach()
        return detached
