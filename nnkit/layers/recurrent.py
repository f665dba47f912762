"""What the Elman network, the LSTM and the GRU share: layers, directions, lengths, and a summary."""

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from nnkit.layers.checks import check_choice, check_dropout, check_positive
from nnkit.layers.probing import STEPS, Probe
from nnkit.layers.sequence import SequenceBody, pool

Pooling = Literal["last", "mean", "max"]


class Recurrent(SequenceBody):
    """A stack of torch's recurrent layers whose features do not depend on padding.

    Forwards, padding behind the last step cannot reach the steps before it. Backwards, each sequence is reversed within
    its own length, which is exact as packing is, and twice as fast on a CPU. Dropout acts between layers and on the
    last one's output, never from one step to the next (Zaremba et al. 2014, "Recurrent neural network regularization",
    section 3.2).

    Args:
        make_layers: `nn.RNN`, `nn.LSTM` or `nn.GRU`, or what takes their arguments.
        dim_in: Width of the input.
        dim: Width of the hidden state, in each direction.
        num_layers: Layers on top of each other.
        bidirectional: Whether a second network reads backwards; then the body is not causal.
        dropout: Probability that a hidden unit is set to zero while training.
        pooling: What sums a sequence up: the state after its "last" step (backwards: after its first), or the "mean"
            or the "max" over its steps.

    Raises:
        ValueError: If a value is out of range.
    """

    def __init__(
        self,
        make_layers: Callable[..., nn.RNNBase],
        dim_in: int,
        dim: int,
        num_layers: int,
        *,
        bidirectional: bool,
        dropout: float,
        pooling: Pooling,
    ) -> None:
        super().__init__()
        for name, value in (("dim_in", dim_in), ("dim", dim), ("num_layers", num_layers)):
            check_positive(name, value)
        check_dropout(dropout)
        check_choice("pooling", pooling, get_args(Pooling))
        self.causal = not bidirectional
        self.pooling: Pooling = pooling
        self.dim_out = 2 * dim if bidirectional else dim
        self.dropout = nn.Dropout(dropout)
        if bidirectional:
            # Schuster and Paliwal 1997: each layer reads both directions of the layer below.
            widths = [dim_in] + [2 * dim] * (num_layers - 1)
            pairs = [[make_layers(width, dim, batch_first=True) for _ in range(2)] for width in widths]
            self.layers = nn.ModuleList(nn.ModuleList(pair) for pair in pairs)
        else:
            # One call for all layers: a GPU works on several of them at once.
            between = dropout if num_layers > 1 else 0.0
            stack = make_layers(dim_in, dim, num_layers, dropout=between, batch_first=True)
            self.layers = nn.ModuleList([nn.ModuleList([stack])])

    def forward(self, features: Tensor, mask: Tensor | None = None, state: Any = None) -> tuple[Tensor, Any]:
        """Map features (batch, time, dim_in) to (batch, time, dim_out); see `SequenceBody`."""
        if self.causal:
            features, state = self._directions(0)[0](features, state)  # (batch, time, dim)
            return self.dropout(features), state
        for number in range(len(self.layers)):
            forwards, backwards = self._directions(number)
            ahead, _ = forwards(features)  # (batch, time, dim)
            behind, _ = backwards(_reversed(features, mask))
            behind = _reversed(behind, mask)  # (batch, time, dim), back in the order of the input
            features = self.dropout(torch.cat([ahead, behind], dim=-1))  # (batch, time, 2 * dim)
        return features, None

    def _directions(self, number: int) -> nn.ModuleList:
        layer = self.layers[number]
        assert isinstance(layer, nn.ModuleList)
        return layer

    def probe(self) -> list[Probe]:
        """Return the hidden states: of the last layer, or where there are two directions, of each."""
        if self.causal:
            return [Probe("hidden states", self.dropout, STEPS)]
        return [Probe(f"layer {call + 1}", self.dropout, STEPS, call) for call in range(len(self.layers))]

    def cells(self) -> dict[str, tuple[nn.RNNBase, bool]]:
        """Return torch's cells by what they are, each with whether it reads backwards."""
        found: dict[str, tuple[nn.RNNBase, bool]] = {}
        for number in range(len(self.layers)):
            for cell, is_reversed in zip(self._directions(number), (False, True), strict=False):
                assert isinstance(cell, nn.RNNBase)
                way = "" if self.causal else f"layer {number + 1} {('forwards', 'backwards')[is_reversed]}"
                found[way] = cell, is_reversed
        return found

    def summary(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Sum up features (batch, time, dim_out) as `pooling` says, (batch, dim_out)."""
        if self.pooling != "last" or self.causal:
            return pool(features, mask, self.pooling)
        # Backwards, the last step that was read is the first one.
        ahead, behind = features.chunk(2, dim=-1)  # (batch, time, dim) each
        return torch.cat([pool(ahead, mask, "last"), pool(behind, mask, "first")], dim=-1)


def _reversed(features: Tensor, mask: Tensor | None) -> Tensor:
    """Reverse each sequence of (batch, time, dim) within its length; padding stays behind it."""
    if mask is None:
        return features.flip(1)
    steps = torch.arange(features.shape[1], device=features.device)  # (time,)
    places = mask.sum(1, keepdim=True) - 1 - steps  # (batch, time)
    # Behind the end they are negative: there every step keeps its place.
    places = torch.where(places < 0, steps, places)
    return features.gather(1, places.unsqueeze(-1).expand_as(features))


class LSTMLayers(nn.LSTM):
    """torch's LSTM, computed in float32 where a CPU has no bfloat16 kernel for it.

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
