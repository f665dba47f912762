"""Norms of the gradients of each layer, recorded while a run trains."""

import re
from collections.abc import Mapping

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from nnkit.callbacks.record import Record
from nnkit.distributed import collectives
from nnkit.distributed.sharded import is_sharded, local_rows

# What their lines in the record are called, and their metrics there and in the loggers.
SPLIT, PREFIX = "gradients", "gradients/"


class GradientNorms(Callback):
    """Records the Euclidean norm of each layer's gradient, as often as the record has a line; before it is clipped.

    A layer is a module with weights of its own: the norm is over all of them, biases too. In an accumulation window it
    is the gradient of the whole step. It is read only: no generator and no weight is touched, and a resumed run records
    what it would have recorded uninterrupted.
    """

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Write the norms of the step that is about to be taken."""
        # Lightning sets it from outside the class, where types do not see it.
        every: int = trainer.__dict__["log_every_n_steps"]
        step = trainer.global_step + 1
        if step % every:
            return
        squares = squares_by_layer(dict(pl_module.named_parameters()))
        if not squares:
            # A step that the guard leaves out.
            return
        sums = torch.stack(list(squares.values()))
        if is_sharded(pl_module):
            # Each process has some rows of each gradient; otherwise all have the same whole ones.
            sums = collectives.summed(sums)
        norms = dict(zip(squares, sums.sqrt().tolist(), strict=True))
        record = next(one for one in trainer.__dict__["callbacks"] if isinstance(one, Record))
        record.write(
            trainer,
            SPLIT,
            {PREFIX + name: float(f"{value:.7g}") for name, value in norms.items()},
            step=step,
        )


def squares_by_layer(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the sum of the squares of each layer's gradients, () float64 on the CPU, by the layer's name.

    Args:
        parameters: By their names in a task, such as "network.body.c1.weight"; those without a gradient are left out.
    """
    found: dict[str, Tensor] = {}
    for name, parameter in parameters.items():
        if parameter.grad is None:
            continue
        layer = re.sub(r"^network\.|\.[^.]*$", "", name)
        square = local_rows(parameter.grad).detach().float().square().sum().cpu().double()
        found[layer] = found[layer] + square if layer in found else square
    return found
