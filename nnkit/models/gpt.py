"""GPT: a decoder of Transformer layers that predicts the next token."""

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from nnkit.layers.activation import ActivationName
from nnkit.layers.attention import SelfAttention
from nnkit.layers.checks import check_choice, check_dropout, check_positive
from nnkit.layers.dropout import Dropout
from nnkit.layers.positions import rotary_dim, rotations
from nnkit.layers.probing import STEPS, Probe
from nnkit.layers.sequence import SequenceBody, pool
from nnkit.layers.transformer import FeedForward, TransformerLayer, draw_scaled


class GPT(SequenceBody):
    """Pre-norm Transformer decoder, as GPT-2.

    Radford et al. 2018, "Improving language understanding by generative pre-training", equation 2, as changed by
    Radford et al. 2019, "Language models are unsupervised multitask learners", section 2.3: layer normalisation moved
    to the input of each block, one more after the last, and weights that lead back to the residual divided by
    sqrt(2 * num_layers) at the start.

    Args:
        dim_in: Width of the vectors of tokens; another width than `dim` is projected to it.
        dim: Width of the features.
        num_layers: Layers.
        num_heads: Heads of each attention; they divide `dim`.
        max_len: Steps that can be told apart, and the most that are read.
        dropout: Probability that a number is set to zero while training: of the sum of vectors and positions, of
            attention weights, and of what each layer adds.
        positions: "learned" vectors that are added, as in GPT-2, or "rotary": queries and keys rotated by an angle (Su
            et al. 2021).
        hidden: Width inside the feed-forward networks; None: four times `dim`, as in the paper.
        activation: Of the feed-forward networks.
        eps: Added to each variance.

    Raises:
        ValueError: If a value is out of range.
    """

    causal = True
    ties_head: ClassVar[bool] = True

    def __init__(
        self,
        dim_in: int,
        *,
        dim: int = 128,
        num_layers: int = 4,
        num_heads: int = 4,
        max_len: int = 256,
        dropout: float = 0.0,
        positions: Literal["learned", "rotary"] = "learned",
        hidden: int | None = None,
        activation: ActivationName = "gelu",
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        for name, value in (("dim", dim), ("num_layers", num_layers), ("max_len", max_len)):
            check_positive(name, value)
        check_dropout(dropout)
        check_choice("positions", positions, ("learned", "rotary"))
        self.dim_out, self.max_len = dim, max_len
        self.project = nn.Identity() if dim_in == dim else nn.Linear(dim_in, dim, bias=False)
        self.head_dim = rotary_dim(dim, num_heads) if positions == "rotary" else 0
        self.positions = nn.Embedding(max_len, dim) if positions == "learned" else None  # W_p
        self.dropout = Dropout(dropout)
        self.layers = nn.ModuleList(
            TransformerLayer(
                dim,
                SelfAttention(dim, num_heads, dropout=dropout),
                FeedForward(dim, 4 * dim if hidden is None else hidden, activation),
                norm_first=True,
                dropout=dropout,
                eps=eps,
            )
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(dim, eps=eps)
        draw_scaled(self, num_layers)

    def forward(self, features: Tensor, mask: Tensor | None = None, state: Any = None) -> tuple[Tensor, Any]:
        """Map features (batch, time, dim_in) to (batch, time, dim); see `SequenceBody`.

        The state holds keys and values of each layer, (batch, heads, time, dim / heads) each.
        """
        start = 0 if state is None else state[0][0][0].shape[2]
        end = start + features.shape[1]
        if end > self.max_len:
            raise ValueError(f"{end} steps are more than max_len, {self.max_len}")
        x, rotation = self.project(features), None  # (batch, time, dim): U W_e
        if self.positions is None:
            rotation = rotations(start, end - start, self.head_dim, x)
        else:
            x = x + self.positions(torch.arange(start, end, device=x.device))  # h_0 = U W_e + W_p
        x = self.dropout(x)
        caches = []
        for layer, cache in zip(self.layers, state or [None] * len(self.layers), strict=True):
            x, cache = layer(x, causal=True, rotation=rotation, cache=cache)  # h_l = block(h_(l-1))
            caches.append(cache)
        return self.norm(x), caches

    def summary(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the features of the last step, (batch, dim): the only one that attends to the whole sequence."""
        return pool(features, mask, "last")

    def probe(self) -> list[Probe]:
        """Return the residual after each layer; the head reads it through the last normalisation."""
        return [
            Probe(f"layer {number}", layer, STEPS, read=self.norm)
            for number, layer in enumerate(self.layers, 1)
        ]
