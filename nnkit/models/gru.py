"""Gated recurrent unit."""

from torch import nn

from nnkit.layers.recurrent import Pooling, Recurrent


class GRU(Recurrent):
    """Gated recurrent unit, on torch's fused cells.

    Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder for statistical machine translation",
    section 2.3, where * is the product number by number::

        r_t = sigmoid(W_r x_t + U_r h_(t-1) + b_r)    reset gate, equation 5
        z_t = sigmoid(W_z x_t + U_z h_(t-1) + b_z)    update gate, equation 6
        n_t = tanh(W x_t + b + r_t * (U h_(t-1) + c)) candidate, equation 8
        h_t = z_t * h_(t-1) + (1 - z_t) * n_t         state, equation 7

    Equation 8 resets the state before the product with U, U (r_t * h_(t-1)); cuDNN, and therefore torch, resets the
    product. The paper has no biases.

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
            nn.GRU, dim_in, dim, num_layers, bidirectional=bidirectional, dropout=dropout, pooling=pooling
        )
