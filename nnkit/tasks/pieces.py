"""Pieces that tasks share: a quick base, sums in 64 bits, over processes too, and names of steps."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor
from torch.optim import Optimizer

from nnkit.losses.scoring import Share, number_of

# Variance of standardised values below which they differ by rounding alone.
CONSTANT = 1e-12


# What data or task may do to a batch on its way to the device.
_ON_THE_WAY = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")


class LightModule(LightningModule):
    """Lightning's module, on which what Lightning does in every step costs little."""

    # Whether nothing is done to a batch on its way to the device.
    _passes_through = False

    def setup(self, stage: str) -> None:
        """Find out what is done to batches."""
        data = getattr(self.trainer, "datamodule", None)
        owners = [(self, LightningModule), *([] if data is None else [(data, LightningDataModule)])]
        self._passes_through = not any(
            is_overridden(name, owner, base) for owner, base in owners for name in _ON_THE_WAY
        )

    def _on_before_batch_transfer(self, batch: Any, dataloader_idx: int = 0) -> Any:
        return batch if self._passes_through else super()._on_before_batch_transfer(batch, dataloader_idx)

    def _apply_batch_transfer_handler(
        self, batch: Any, device: torch.device | None = None, dataloader_idx: int = 0
    ) -> Any:
        if self._passes_through and device is not None and device.type == "cpu":
            # That is where loaders put it.
            return batch
        return super()._apply_batch_transfer_handler(batch, device, dataloader_idx)

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Optimizer) -> None:
        """Forget the gradients, as `optimizer.zero_grad()` does, which asks on the way whether it is compiled."""
        if type(optimizer).zero_grad is not Optimizer.zero_grad:
            optimizer.zero_grad()
            return
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "_current_fx_name":
            # The hook that is called, noted thirty times a step; torch would ask each time whether it is a module.
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)


def counted(right: Tensor) -> Share:
    """Return how many of some answers, (answers,) bool, are right, and how many there are."""
    return right.sum().float(), number_of(right)


def nothing(*shape: int) -> Tensor:
    """Return sums of nothing yet; on the CPU, as some devices have no numbers of 64 bits."""
    return torch.zeros(*shape, dtype=torch.float64, device="cpu")


def on_cpu(values: Sequence[Tensor]) -> Tensor:
    """Return scalars of one device as a tensor (values,) to be added to sums of 64 bits."""
    return torch.stack([value.detach().float() for value in values]).cpu().double()


def with_totals(
    state: Mapping[str, Any], count: int, convert: Callable[[Tensor, Tensor], Tensor]
) -> dict[str, Any]:
    """Return the state of a task with the totals of an earlier release, if it has such, in their present form.

    Args:
        state: The state.
        count: How many totals the task has.
        convert: Makes totals of the sums, and of the one count that they were all over.
    """
    old = {name: state[name] for name in ("window", "epoch_totals") if isinstance(state.get(name), Tensor)}
    return dict(state) | {
        name: convert(total[:-1].double(), total[-1].double())
        for name, total in old.items()
        if total.shape == (count + 1,)
    }


def step_names(inputs: Tensor, length: int, data: Any, *, target: bool = False) -> list[str]:
    """Return the texts of tokens (1, length), or the numbers of steps that are no tokens: patches, windows."""
    if inputs.ndim != 2 or inputs.is_floating_point() or inputs.shape[1] != length or data is None:
        return [str(number + 1) for number in range(length)]
    texts: list[str] = data.token_texts(inputs[0].tolist(), target=target)
    return texts
