"""BERT: an encoder of Transformer layers that reads a text in both directions at once."""

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from nnkit.layers.activation import ActivationName
from nnkit.layers.attention import SelfAttention
from nnkit.layers.checks import check_choice, check_dropout, check_positive
from nnkit.layers.dropout import Dropout
from nnkit.layers.probing import STEPS, Probe
from nnkit.layers.sequence import SequenceBody, pool
from nnkit.layers.transformer import FeedForward, TransformerLayer, draw_small


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
        hidden: Width inside the feed-forward networks; None: four times `dim`, as in the paper.
        activation: Of the feed-forward networks, and of the masked-LM head.
        pooling: What represents the whole: the "first" step through the pooler, or the "mean" over all steps, as models
            of sentences have it (Reimers and Gurevych 2019, "Sentence-BERT", section 3), which need no pooler.
        eps: Added to each variance; so small that it only keeps a division by zero away, as in the published code.

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
        hidden: int | None = None,
        activation: ActivationName = "gelu",
        pooling: Literal["first", "mean"] = "first",
        eps: float = 1e-12,
    ) -> None:
        super().__init__()
        for name, value in (("dim", dim), ("num_layers", num_layers), ("max_len", max_len)):
            check_positive(name, value)
        check_dropout(dropout)
        check_choice("pooling", pooling, ("first", "mean"))
        self.dim_out, self.max_len, self.activation, self.eps = dim, max_len, activation, eps
        self.project = nn.Identity() if dim_in == dim else nn.Linear(dim_in, dim)
        self.positions = nn.Embedding(max_len, dim)
        self.norm = nn.LayerNorm(dim, eps=eps)
        self.dropout = Dropout(dropout)
        self.layers = nn.ModuleList(
            TransformerLayer(
                dim,
                SelfAttention(dim, num_heads, dropout=dropout),
                FeedForward(dim, 4 * dim if hidden is None else hidden, activation),
                dropout=dropout,
                eps=eps,
            )
            for _ in range(num_layers)
        )
        self.pooler = nn.Linear(dim, dim) if pooling == "first" else None
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
        """Return what the pooler makes of the first step, [CLS], or the mean: (batch, dim)."""
        if self.pooler is None:
            return pool(features, mask, "mean")
        pooled: Tensor = self.pooler(features[:, 0])
        return pooled.tanh()

    def probe(self) -> list[Probe]:
        """Return the features after each layer."""
        return [
            Probe(f"layer {number}", layer, STEPS, read=nn.Identity())
            for number, layer in enumerate(self.layers, 1)
        ]
