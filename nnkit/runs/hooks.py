"""What Lightning does in every step without effect is taken out of its way: empty hooks, questions asked anew."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.precision import MixedPrecision, Precision
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor

from nnkit.errors import UserError
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
_OWN_WAY = ("training_step", "backward", "optimizer_step")


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
    accumulates = loop._should_accumulate
    # Asked six times a step.
    loop.__dict__["_should_accumulate"] = lambda: trainer.accumulate_grad_batches != 1 and accumulates()
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
    defines none of `_OWN_WAY`. There Lightning goes through many layers that ask in each step what was known before.

    Args:
        trainer: One that trains a `Task`.
    """

    def __init__(self, trainer: Trainer) -> None:
        # Callbacks and the profiler are set from outside the class, where types do not see them.
        self._trainer: Any = trainer
        self._loop = trainer.fit_loop.epoch_loop.automatic_optimization
        self._lightning = self._loop.run
        self._is_plain: bool | None = None

    def __call__(self, optimizer: Optimizer, batch_idx: int, kwargs: OrderedDict[str, Any]) -> Any:
        """Return the loss of a batch by its name, its graph gone.

        Raises:
            UserError: If the optimizer does not ask for gradients.
        """
        if self._is_plain is None:
            self._is_plain = self._can_be_plain()
        trainer = self._trainer
        if not self._is_plain or trainer.accumulate_grad_batches != 1:
            return self._lightning(optimizer, batch_idx, kwargs)
        task, progress = trainer.lightning_module, self._loop.optim_progress.optimizer
        outputs: dict[str, Tensor] = {}

        def closure() -> Tensor:
            outputs["loss"] = loss = self._gradients(task, optimizer, batch_idx, kwargs)
            self._call("on_before_optimizer_step", optimizer)
            task.configure_gradient_clipping(
                optimizer,
                gradient_clip_val=trainer.gradient_clip_val,
                gradient_clip_algorithm=trainer.gradient_clip_algorithm,
            )
            return loss

        progress.step.increment_ready()
        # Some optimizers compute a step several times.
        optimizer.step(closure=closure)  # type: ignore[arg-type]
        task._current_fx_name = None
        if not outputs:
            name = type(optimizer).__name__
            raise UserError(
                f"{name}.step does not call its closure, which computes loss and gradients: nothing is trained\n"
                f"    let {name}.step(self, closure) begin with: loss = closure()"
            )
        progress.step.increment_completed()
        return outputs

    def _can_be_plain(self) -> bool:
        """Return whether nothing is between the loop, the task and the optimizer; a training does not change that."""
        trainer, task = self._trainer, self._trainer.lightning_module
        precision, strategy = trainer.precision_plugin, trainer.strategy
        has_no_scaler = type(precision) is MixedPrecision and precision.scaler is None
        return (
            (type(precision) is Precision or has_no_scaler)
            and type(strategy) is SingleDeviceStrategy
            and isinstance(trainer.profiler, Silent)
            and all(getattr(type(task), name) is getattr(Task, name) for name in _OWN_WAY)
            # Someone may have put a function of his own in an object's place.
            and not any(name in vars(one) for one in (task, strategy, precision) for name in _OWN_WAY)
        )

    def _call(self, name: str, *arguments: Any) -> None:
        """Call a hook of all who have it."""
        task = self._trainer.lightning_module
        # What `log` asks for.
        task._current_fx_name = name
        for callback in self._trainer.callbacks:
            hook = getattr(callback, name)
            if callable(hook):
                hook(self._trainer, task, *arguments)
        hook = getattr(task, name)
        if callable(hook):
            hook(*arguments)

    def _gradients(
        self, task: Any, optimizer: Optimizer, batch_idx: int, kwargs: OrderedDict[str, Any]
    ) -> Tensor:
        """Compute the gradients of a batch and return its loss."""
        zeroing = self._loop.optim_progress.optimizer.zero_grad
        with torch.enable_grad():
            task._current_fx_name = "training_step"
            with self._trainer.precision_plugin.forward_context():
                loss = task.training_step(*kwargs.values())
            # What hooks do to the loss is not what is reported.
            kept: Tensor = loss.detach().clone()
            zeroing.increment_ready()
            self._call("on_before_zero_grad", optimizer)
            zeroing.increment_started()
            task.optimizer_zero_grad(self._trainer.current_epoch, batch_idx, optimizer)
            zeroing.increment_completed()
            self._call("on_before_backward", loss)
            torch.autograd.backward(loss)
            self._call("on_after_backward")
        return kept
