"""What Lightning does in every step without effect is taken out of its way: empty hooks, questions asked anew."""

from collections import OrderedDict
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

# What a training step calls.
_EACH_STEP = (
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
)


def without_empty_hooks(holder: Callback | LightningModule) -> None:
    """Let Lightning pass over the hooks of a step that are not defined: it calls what can be called."""
    base = Callback if isinstance(holder, Callback) else LightningModule
    for name in _EACH_STEP:
        if getattr(type(holder), name) is getattr(base, name) and name not in vars(holder):
            holder.__dict__[name] = None


def shorten_steps(trainer: Trainer) -> None:
    """Let a trainer prepare a step without what never changes from one step to the next.

    Args:
        trainer: One that trains a `Task`.
    """
    loop, connector = trainer.fit_loop.epoch_loop, trainer._logger_connector
    # Lightning reads the signature of `training_step` each time; that of a task always has both.
    loop.__dict__["_build_kwargs"] = _arguments
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
