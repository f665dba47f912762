"""Long short-term memory."""

from nnkit.layers.lstm import LSTMLayers
from nnkit.layers.recurrent import Pooling, Recurrent


class LSTM(Recurrent):
    """Long short-term memory, on torch's fused cells.

    Hochreiter and Schmidhuber 1997, "Long short-term memory", with the forget gate of Gers, Schmidhuber and
    Cummins 2000, "Learning to forget".

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
            lambda width, layers, between: LSTMLayers(width, dim, layers, dropout=between, batch_first=True),
            dim_in,
            dim,
            num_layers,
            bidirectional=bidirectional,
            dropout=dropout,
            pooling=pooling,
        )
