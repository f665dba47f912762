"""BERT: an encoder of Transformer layers that reads a text in both directions at once."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nnkit.layers.activation import ActivationName
from nnkit.layers.attention import SelfAttention
from nnkit.layers.checks import check_dropout, check_positive
from nnkit.layers.dropout import Dropout
from nnkit.layers.sequence import SequenceBody
from nnkit.layers.transformer import FeedForward, TransformerLayer, draw_small

# So small that it only keeps a division by zero away, as in the published code.
_EPS = 1e-12


class BERT(SequenceBody):
    """Post-norm Transformer encoder with learnt positions.

    Devlin et al. 2019, "BERT: Pre-training of deep bidirectional transformers for language understanding", section 3:
    vectors of token, segment and position are added (figure 2) and normalised, every step attends to every other, and
    the first one, [CLS], represents the whole through a layer of its own, the pooler.

    Args:
        dim_in: Width of the vectors of tokens; another width than `dim` is projected to it.
        dim: Width of the features.
        num_layers: Layers.
        num_heads: Heads of each attention; they divide `dim`.
        max_len: Steps that can be told apart, and the most that are read.
        dropout: Probability that a number is set to zero while training: of the normalised sum, of attention weights,
            and of what each layer adds (appendix A.2).
        activation: Of the feed-forward networks, whose hidden width is four times `dim`, and of the masked-LM head.

    Raises:
        ValueError: If a value is out of range.
    """

    causal = False
    ties_head: ClassVar[bool] = True

    def __init__(
        self,
        dim_in: int,
        *,
        dim: int = 256,
        num_layers: int = 4,
        num_heads: int = 4,
        max_len: int = 512,
        dropout: float = 0.1,
        activation: ActivationName = "gelu",
    ) -> None:
        super().__init__()
        for name, value in (("dim", dim), ("num_layers", num_layers), ("max_len", max_len)):
            check_positive(name, value)
        check_dropout(dropout)
        self.dim_out, self.max_len, self.activation = dim, max_len, activation
        self.project = nn.Identity() if dim_in == dim else nn.Linear(dim_in, dim)
        self.positions = nn.Embedding(max_len, dim)
        self.norm = nn.LayerNorm(dim, eps=_EPS)
        self.dropout = Dropout(dropout)
        self.layers = nn.ModuleList(
            TransformerLayer(
                dim,
                SelfAttention(dim, num_heads, dropout=dropout),
                FeedForward(dim, 4 * dim, activation),  # the paper's feed-forward size, 4H
                dropout=dropout,
                eps=_EPS,
            )
            for _ in range(num_layers)
        )
        self.pooler = nn.Linear(dim, dim)
        draw_small(self)

    def forward(self, features: Tensor, mask: Tensor | None = None, state: Any = None) -> tuple[Tensor, Any]:
        """Map features (batch, time, dim_in) to (batch, time, dim); see `SequenceBody`. There is no state."""
        length = features.shape[1]
        if length > self.max_len:
            raise ValueError(f"{length} steps are more than max_len, {self.max_len}")
        positions = self.positions(torch.arange(length, device=features.device))  # (time, dim)
        # The embed has added the vectors of token and segment; figure 2 adds the third.
        x = self.dropout(self.norm(self.project(features) + positions))  # (batch, time, dim)
        for layer in self.layers:
            x, _ = layer(x, mask=mask)
        return x, None

    def summary(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return what the pooler makes of the first step, [CLS]: (batch, dim)."""
        pooled: Tensor = self.pooler(features[:, 0])
        return pooled.tanh()
