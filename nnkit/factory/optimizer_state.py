"""What an optimizer may be given as its state: values that fit its parameters."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from nnkit.errors import EnvironmentFault


def refuse_misfits(optimizer: Optimizer) -> None:
    """Make an optimizer refuse a state that does not fit its parameters.

    A fused step reads and writes past the end of a value that is smaller than its parameter. Whether the step is fused
    is part of the state, so this holds for every optimizer that has such a step.
    """
    if "fused" in optimizer.defaults:
        optimizer.register_load_state_dict_pre_hook(_check)


def _check(optimizer: Optimizer, state: dict[str, Any]) -> None:
    try:
        wrong = next(_misfits(optimizer, state), "")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        wrong = f"it is no state of {type(optimizer).__name__} ({type(error).__name__})"
    if wrong:
        raise EnvironmentFault(f"the checkpoint's optimizer does not fit this network: {wrong}")


def _misfits(optimizer: Optimizer, state: dict[str, Any]) -> Iterator[str]:
    """Return for each value whether it has its parameter's shape and strides; a count of steps has no shape."""
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for number, parameter in zip(numbers, parameters, strict=True):
        for name, value in state["state"].get(number, {}).items():
            if not isinstance(value, Tensor | int | float | None):
                yield f"{name} is a {type(value).__name__}"
            if not isinstance(value, Tensor) or value.dim() == 0:
                continue
            if (value.shape, value.stride()) != (parameter.shape, parameter.stride()):
                yield f"{name} has shape {tuple(value.shape)}, its parameter {tuple(parameter.shape)}"
