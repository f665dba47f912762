"""Multilayer perceptron."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from nnkit.layers.activation import ActivationName, activation_layer
from nnkit.layers.checks import check_all_positive, check_dropout, check_positive
from nnkit.layers.probing import UNITS, Probe


class MLP(nn.Module):
    """Linear layers, each followed by an activation and dropout: h_l = dropout(activation(W_l h_(l-1) + b_l)).

    Rumelhart, Hinton and Williams 1986, "Learning representations by back-propagating errors". With no hidden layer it
    returns its input, and the network is the head alone: linear or logistic regression.

    Args:
        dim_in: Width of the input.
        hidden: Widths of the hidden layers, from the input on.
        activation: Name of the activation after each layer.
        dropout: Probability that a hidden unit is set to zero while training.

    Raises:
        ValueError: If a width is below 1, dropout lies outside [0, 1) or the activation is unknown.
    """

    def __init__(
        self,
        dim_in: int,
        *,
        hidden: Sequence[int] = (300, 100),
        activation: ActivationName = "relu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_positive("dim_in", dim_in)
        check_all_positive("hidden", hidden)
        check_dropout(dropout)
        widths = [dim_in, *hidden]  # h_0 is the input
        self.layers = nn.Sequential(
            *(_layer(wide, narrow, activation, dropout) for wide, narrow in pairwise(widths))
        )
        self.dim_out = widths[-1]

    def forward(self, inputs: Tensor) -> Tensor:
        """Map inputs (batch, dim_in) to features (batch, dim_out)."""
        features: Tensor = self.layers(inputs)
        return features

    def probe(self) -> list[Probe]:
        """Return the hidden layers, each after its activation."""
        return [Probe(f"hidden {number}", layer, UNITS) for number, layer in enumerate(self.layers, 1)]


def _layer(dim_in: int, dim_out: int, name: ActivationName, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dim_in, dim_out), activation_layer(name), nn.Dropout(dropout))
