"""What the Elman network, the LSTM and the GRU share: layers, directions, lengths, and a summary."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from nnkit.layers.checks import check_choice, check_dropout, check_positive
from nnkit.layers.pooling import pool
from nnkit.layers.sequence import SequenceBody

Pooling = Literal["last", "mean", "max"]
POOLINGS = ("last", "mean", "max")

# Makes torch's layers: width of the input, number of layers, dropout between them.
MakeLayers = Callable[[int, int, float], nn.RNNBase]


class Recurrent(SequenceBody):
    """A stack of torch's recurrent layers that padding does not change.

    Forwards, what stands behind the last step cannot reach the steps before it. Backwards, each sequence is turned
    round within its own length, which is exact as packing is, and twice as fast on a CPU. Dropout acts between layers
    and on the last one's output, never from one step to the next (Zaremba et al. 2014, "Recurrent neural network
    regularization").

    Args:
        make_layers: Makes `nn.RNN`, `nn.LSTM` or `nn.GRU` with `batch_first`.
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
        make_layers: MakeLayers,
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
        check_choice("pooling", pooling, POOLINGS)
        self.causal = not bidirectional
        self.pooling = pooling
        self.dim_out = 2 * dim if bidirectional else dim
        self.dropout = nn.Dropout(dropout)
        if bidirectional:
            widths = [dim_in] + [2 * dim] * (num_layers - 1)
            layers = [nn.ModuleList([make_layers(width, 1, 0.0) for _ in range(2)]) for width in widths]
        else:
            # One call for all layers: a GPU works on several of them at once.
            between = dropout if num_layers > 1 else 0.0
            layers = [nn.ModuleList([make_layers(dim_in, num_layers, between)])]
        self.layers = nn.ModuleList(layers)

    def forward(self, features: Tensor, mask: Tensor | None = None, state: Any = None) -> tuple[Tensor, Any]:
        """Map features (batch, time, dim_in) to (batch, time, dim_out); see `SequenceBody`."""
        if self.causal:
            features, state = self._directions(0)[0](features, state)
            return self.dropout(features), state
        for number in range(len(self.layers)):
            forwards, backwards = self._directions(number)
            ahead, _ = forwards(features)
            behind, _ = backwards(_turned_round(features, mask))
            features = self.dropout(torch.cat([ahead, _turned_round(behind, mask)], dim=-1))
        return features, None

    def _directions(self, number: int) -> nn.ModuleList:
        layer = self.layers[number]
        assert isinstance(layer, nn.ModuleList)
        return layer

    def summary(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Sum up features (batch, time, dim_out) as `pooling` says, (batch, dim_out)."""
        if self.pooling != "last" or self.causal:
            return pool(features, mask, self.pooling)
        # Backwards, the last step that was read is the first one.
        half = self.dim_out // 2
        ahead, behind = features[..., :half], features[..., half:]
        return torch.cat([pool(ahead, mask, "last"), pool(behind, mask, "first")], dim=-1)


def _turned_round(features: Tensor, mask: Tensor | None) -> Tensor:
    """Reverse each sequence of (batch, time, dim) within its length; what is padded stays behind it."""
    if mask is None:
        return features.flip(1)
    steps = torch.arange(features.shape[1], device=features.device)
    places = mask.sum(1, keepdim=True) - 1 - steps
    # Behind the end they are negative: there every step keeps its place.
    places = torch.where(places < 0, steps, places)
    return features.gather(1, places.unsqueeze(-1).expand_as(features))
