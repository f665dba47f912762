"""The encoder of the Transformer by itself, to classify sequences and, cut into patches, images."""

from typing import Any, Literal, get_args

from torch import Tensor, nn

from nnkit.layers.activation import ActivationName
from nnkit.layers.attention import SelfAttention
from nnkit.layers.checks import check_choice, check_dropout, check_positive
from nnkit.layers.dropout import Dropout
from nnkit.layers.positions import sinusoids
from nnkit.layers.probing import STEPS, Probe
from nnkit.layers.sequence import SequenceBody, pool
from nnkit.layers.transformer import FeedForward, TransformerLayer

Summary = Literal["mean", "max", "first"]


class TransformerEncoder(SequenceBody):
    """Transformer layers in which every step attends to every other.

    Vaswani et al. 2017, "Attention is all you need"; over patches of images equations 1 to 4 of Dosovitskiy et al.
    2021, "An image is worth 16x16 words", but with sinusoids as positions and the mean of all steps by default instead
    of a class token. Pre-norm by default, which trains without a long warm-up (Xiong et al. 2020).

    Args:
        dim_in: Width of the steps; another width than `dim` is projected to it.
        dim: Width of the features.
        num_layers: Layers.
        num_heads: Heads of each attention; they divide `dim`.
        hidden: Width inside the feed-forward networks; None: four times `dim`.
        dropout: Probability that a number is set to zero while training, of the sums of steps and positions, and of
            what each layer adds.
        norm_first: Normalise what goes into a sub-layer instead of its sum with the residual, as in the paper.
        pooling: What sums a sequence up: the "mean" or the "max" over its steps, or its "first" step.
        activation: Of the feed-forward networks.

    Raises:
        ValueError: If a value is out of range.
    """

    causal = False

    def __init__(
        self,
        dim_in: int,
        *,
        dim: int = 128,
        num_layers: int = 2,
        num_heads: int = 4,
        hidden: int | None = None,
        dropout: float = 0.1,
        norm_first: bool = True,
        pooling: Summary = "mean",
        activation: ActivationName = "gelu",
    ) -> None:
        super().__init__()
        for name, value in (("dim_in", dim_in), ("dim", dim), ("num_layers", num_layers)):
            check_positive(name, value)
        check_dropout(dropout)
        check_choice("pooling", pooling, get_args(Summary))
        self.dim_out = dim
        self.pooling: Summary = pooling
        self.project = nn.Identity() if dim_in == dim else nn.Linear(dim_in, dim)
        self.dropout = Dropout(dropout)
        self.layers = nn.ModuleList(
            TransformerLayer(
                dim,
                SelfAttention(dim, num_heads),
                FeedForward(dim, hidden or 4 * dim, activation),
                norm_first=norm_first,
                dropout=dropout,
            )
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(dim) if norm_first else nn.Identity()

    def forward(self, features: Tensor, mask: Tensor | None = None, state: Any = None) -> tuple[Tensor, Any]:
        """Map features (batch, time, dim_in) to (batch, time, dim); see `SequenceBody`. There is no state."""
        x = self.project(features)  # (batch, time, dim)
        x = self.dropout(x + sinusoids(0, x.shape[1], self.dim_out, x))  # equation 1
        for layer in self.layers:
            x, _ = layer(x, mask=mask)  # equations 2 and 3
        return self.norm(x), None  # equation 4

    def summary(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Sum up features (batch, time, dim) as `pooling` says, (batch, dim)."""
        return pool(features, mask, self.pooling)

    def probe(self) -> list[Probe]:
        """Return the residual after each layer; the head reads it through the last normalisation."""
        return [
            Probe(f"layer {number}", layer, STEPS, read=self.norm)
            for number, layer in enumerate(self.layers, 1)
        ]
