"""Elman network."""

from functools import partial
from typing import Literal

from torch import nn

from nnkit.layers.checks import check_choice
from nnkit.layers.recurrent import Pooling, Recurrent


class RNN(Recurrent):
    """Elman network, on torch's fused cells.

    Elman 1990, "Finding structure in time": hidden units read the input together with their own last activations, the
    context units::

        h_t = tanh(W x_t + U h_(t-1) + b)

    Args:
        dim_in: Width of the input.
        dim: Width of the hidden state, in each direction.
        num_layers: Layers on top of each other.
        bidirectional: Whether a second network reads backwards.
        dropout: Probability that a hidden unit is set to zero while training, between layers and at the output.
        pooling: What sums a sequence up: the state after the "last" step, or the "mean" or "max" over all.
        nonlinearity: Activation of the hidden state, "tanh" or "relu".

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
        nonlinearity: Literal["tanh", "relu"] = "tanh",
    ) -> None:
        check_choice("nonlinearity", nonlinearity, ("tanh", "relu"))
        super().__init__(
            partial(nn.RNN, nonlinearity=nonlinearity),
            dim_in,
            dim,
            num_layers,
            bidirectional=bidirectional,
            dropout=dropout,
            pooling=pooling,
        )
