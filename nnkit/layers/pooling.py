"""Max pooling of maps of few channels, for which torch's kernel on one thread of a CPU is slow."""

from typing import Any

import torch
from torch import Tensor, nn

# torch's kernel takes a register full of channels at once, 8 numbers with AVX2; fewer go one by one.
_REGISTER = 8
# Less than zero by the smallest step of float32.
_BELOW_ZERO = -1e-45


class MaxPool2x2(nn.MaxPool2d):
    """The maximum of each 2x2 square, as `nn.MaxPool2d(2)`, in half the time on one thread where channels are few.

    Where several numbers of a square are the maximum, its gradient goes to one of them.
    """

    def __init__(self) -> None:
        super().__init__(2)

    def forward(self, maps: Tensor) -> Tensor:
        """Map (batch, channels, height, width) to (batch, channels, height // 2, width // 2)."""
        if not _is_faster_by_halves(maps):
            usual: Tensor = super().forward(maps)
            return usual
        pooled: Tensor = _Halves.apply(maps)  # type: ignore[no-untyped-call]
        return pooled


def _is_faster_by_halves(maps: Tensor) -> bool:
    return (
        # A compiler has a kernel of its own for the usual form. Asked first: the number of threads would cut its graph.
        not torch.compiler.is_compiling()
        and torch.is_grad_enabled()
        # Several threads divide torch's kernel well, and small operators badly.
        and torch.get_num_threads() == 1
        and maps.requires_grad
        and maps.device.type == "cpu"
        and maps.dtype == torch.float32
        and maps.ndim == 4
        and 1 < maps.shape[1] < _REGISTER
        and maps.shape[2] % 2 == 0
        and maps.shape[3] % 2 == 0
        and maps.is_contiguous(memory_format=torch.channels_last)
    )


class _Halves(torch.autograd.Function):
    """The larger of two rows, then the larger of two columns: operators that take whole rows at once."""

    @staticmethod
    def forward(context: Any, maps: Tensor) -> Tensor:
        squares = _squares(maps)
        rows = torch.maximum(
            squares[:, :, 0], squares[:, :, 1]
        )  # (batch, height / 2, width / 2, 2, channels)
        context.save_for_backward(maps, rows)
        return torch.maximum(rows[:, :, :, 0], rows[:, :, :, 1]).permute(0, 3, 1, 2)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        maps, rows = context.saved_tensors
        squares = _squares(maps)
        columns = _shared(gradient.permute(0, 2, 3, 1), rows[:, :, :, 0], rows[:, :, :, 1], 3)
        shared = _shared(columns, squares[:, :, 0], squares[:, :, 1], 2)
        batch, channels, height, width = maps.shape
        return shared.view(batch, height, width, channels).permute(0, 3, 1, 2)


def _squares(maps: Tensor) -> Tensor:
    """View channels-last maps as (batch, height / 2, 2, width / 2, 2, channels)."""
    batch, channels, height, width = maps.shape
    return maps.permute(0, 2, 3, 1).view(batch, height // 2, 2, width // 2, 2, channels)


def _shared(gradient: Tensor, first: Tensor, second: Tensor, dim: int) -> Tensor:
    """Give the gradient of max(first, second) to the larger, to the first where both are the same; stacked in `dim`."""
    # Zero where first - second is below zero: one kernel, where a comparison and a choice are two slow ones.
    to_first = torch.ops.aten.threshold_backward(gradient, first - second, _BELOW_ZERO)
    return torch.stack([to_first, gradient - to_first], dim)
