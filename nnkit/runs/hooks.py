"""Lightning calls every hook of every callback; those of a step that do nothing are taken out of its way."""

from lightning.pytorch import Callback

# What a training step calls.
_EACH_STEP = (
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
)


def without_empty_hooks(callback: Callback) -> None:
    """Let Lightning pass over the hooks of a step that a callback does not define: it calls what can be called."""
    for name in _EACH_STEP:
        if getattr(type(callback), name) is getattr(Callback, name) and name not in vars(callback):
            setattr(callback, name, None)
