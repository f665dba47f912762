"""Long short-term memory."""

from nnkit.layers.recurrent import LSTMLayers, Pooling, Recurrent


class LSTM(Recurrent):
    """Long short-term memory, on torch's fused cells.

    Hochreiter and Schmidhuber 1997, "Long short-term memory", with the forget gate of Gers, Schmidhuber and
    Cummins 2000, "Learning to forget", where * is the product number by number::

        i_t = sigmoid(W_i x_t + U_i h_(t-1) + b_i)    input gate: what is written to the cell
        f_t = sigmoid(W_f x_t + U_f h_(t-1) + b_f)    forget gate: what the cell keeps (2000; always 1 in 1997)
        g_t = tanh(W_g x_t + U_g h_(t-1) + b_g)       what might be written
        o_t = sigmoid(W_o x_t + U_o h_(t-1) + b_o)    output gate: what the cell shows
        c_t = f_t * c_(t-1) + i_t * g_t               cell: a sum, through which gradients flow far back
        h_t = o_t * tanh(c_t)                         hidden state, the features of step t

    torch computes all four gates of a step in one product; its weights hold them in the order i, f, g, o.

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
            LSTMLayers, dim_in, dim, num_layers, bidirectional=bidirectional, dropout=dropout, pooling=pooling
        )
