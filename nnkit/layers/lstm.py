"""torch's LSTM, on every CPU in every precision."""

from typing import Any

import torch
from torch import nn


class LSTMLayers(nn.LSTM):
    """torch's LSTM (Hochreiter and Schmidhuber 1997), computed in float32 where a CPU has no bfloat16 kernel for it.

    Under autocast torch hands an LSTM on a CPU to oneDNN, which on processors without AVX-512 raises "could not create
    a primitive descriptor". Arguments, names of weights, and results are those of `torch.nn.LSTM`.
    """

    def forward(self, input: Any, hx: Any = None) -> Any:
        """Map features (batch, time, width) and a state to features and a state; see `torch.nn.LSTM`."""
        if input.device.type != "cpu" or not torch.is_autocast_enabled("cpu") or _has_bfloat16():
            return super().forward(input, hx)
        with torch.autocast("cpu", enabled=False):
            return super().forward(input.float(), None if hx is None else tuple(one.float() for one in hx))


def _has_bfloat16() -> bool:
    """Return whether oneDNN computes bfloat16 on this CPU, or does not compute at all."""
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return not available or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
