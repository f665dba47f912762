"""Gated recurrent unit."""

from torch import nn

from nnkit.layers.recurrent import Pooling, Recurrent


class GRU(Recurrent):
    """Gated recurrent unit, on torch's fused cells.

    Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder for statistical machine translation",
    in the form whose reset gate acts after the matrix product, as cuDNN has it.

    Args:
        dim_in: Width of the input.
        dim: Width of the hidden state, in each direction.
        num_layers: Layers on top of each other.
        bidirectional: Whether a second network reads backwards.
        dropout: Probability that a hidden unit is set to zero while training, between layers and at the output.
        pooling: What sums a sequence up: the state after the "last" step, or the "mean" or "max" over all.

    Raises:
        ValueError: If a value is out of range.
    """

    def __init__(
        self,
        dim_in: int,
        *,
        dim: int = 128,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        pooling: Pooling = "last",
    ) -> None:
        super().__init__(
            lambda width, layers, between: nn.GRU(width, dim, layers, dropout=between, batch_first=True),
            dim_in,
            dim,
            num_layers,
            bidirectional=bidirectional,
            dropout=dropout,
            pooling=pooling,
        )
