"""Pieces that tasks share: a quick base, sums in 64 bits, over processes too, and names of steps."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from nnkit.losses.scoring import Share, number_of

# Variance of standardised values below which they differ by rounding alone.
CONSTANT = 1e-12


class LightModule(LightningModule):
    """Lightning's module, on which an attribute that Lightning sets all the time costs little."""

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
