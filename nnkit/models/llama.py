"""Llama: a decoder with the parts that language models settled on after GPT-2."""

from typing import Any, ClassVar

from torch import Tensor, nn

from nnkit.layers.attention import SelfAttention
from nnkit.layers.checks import check_dropout, check_positive
from nnkit.layers.dropout import Dropout
from nnkit.layers.positions import rotary_dim, rotations
from nnkit.layers.probing import STEPS, Probe
from nnkit.layers.sequence import SequenceBody, pool
from nnkit.layers.transformer import GatedFeedForward, TransformerLayer, draw_scaled

# The hidden width is rounded up to a multiple of this.
_MULTIPLE = 64


class Llama(SequenceBody):
    """Pre-norm Transformer decoder with RMSNorm, SwiGLU and rotary positions, without biases.

    Touvron et al. 2023, "LLaMA: Open and efficient foundation language models", section 2.2, which names the three
    changes to GPT-2: the input of each sub-layer is divided by its root mean square (Zhang and Sennrich 2019), the
    feed-forward network is gated (Shazeer 2020), and queries and keys are rotated instead of adding positions (Su et
    al. 2021). Several heads of queries share one of keys and values from Llama 2 on (Touvron et al. 2023b, section
    2.2). The vectors that tokens are read by do not score them, unless `head.tied=true`. The papers do not state the
    weights before training; they are GPT-2's.

    Args:
        dim_in: Width of the vectors of tokens; another width than `dim` is projected to it.
        dim: Width of the features.
        hidden: Width inside the feed-forward networks; None: two thirds of 4 `dim` as in the paper, rounded up to a
            multiple of 64.
        num_layers: Layers.
        num_heads: Heads of queries in each attention; they divide `dim`.
        num_kv_heads: Heads of keys and values; they divide `num_heads`. None: as many.
        max_len: Steps that are read at most.
        dropout: Probability that a number is set to zero while training: of the vectors of tokens, of attention
            weights, and of what each layer adds; 0 in the paper.
        rotary_base: Of the angles of rotation; 10,000, or 500,000 in Llama 3.
        eps: Added to the mean square in each normalisation; 1e-5, or 1e-6 in the first Llama.

    Raises:
        ValueError: If a value is out of range.
    """

    causal = True
    head_bias: ClassVar[bool] = False

    def __init__(
        self,
        dim_in: int,
        *,
        dim: int = 128,
        hidden: int | None = None,
        num_layers: int = 4,
        num_heads: int = 4,
        num_kv_heads: int | None = 2,
        max_len: int = 256,
        dropout: float = 0.0,
        rotary_base: float = 10_000.0,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        for name, value in (("dim", dim), ("num_layers", num_layers), ("max_len", max_len)):
            check_positive(name, value)
        check_dropout(dropout)
        for name, number in (("rotary_base", rotary_base), ("eps", eps)):
            if not 0 < number < float("inf"):
                raise ValueError(f"{name} must be a positive number, not {number}")
        if hidden is None:
            hidden = default_hidden(dim)
        self.dim_out, self.max_len, self.rotary_base = dim, max_len, rotary_base
        self.project = nn.Identity() if dim_in == dim else nn.Linear(dim_in, dim, bias=False)
        self.dropout = Dropout(dropout)
        self.layers = nn.ModuleList(
            TransformerLayer(
                dim,
                SelfAttention(dim, num_heads, dropout=dropout, num_kv_heads=num_kv_heads, bias=False),
                GatedFeedForward(dim, hidden),
                norm_first=True,
                dropout=dropout,
                eps=eps,
                norm=nn.RMSNorm,
            )
            for _ in range(num_layers)
        )
        self.head_dim = rotary_dim(dim, num_heads)
        self.norm = nn.RMSNorm(dim, eps=eps)
        draw_scaled(self, num_layers)

    def forward(self, features: Tensor, mask: Tensor | None = None, state: Any = None) -> tuple[Tensor, Any]:
        """Map features (batch, time, dim_in) to (batch, time, dim); see `SequenceBody`.

        The state holds keys and values of each layer, (batch, num_kv_heads, time, dim / num_heads) each.
        """
        start = 0 if state is None else state[0][0][0].shape[2]
        end = start + features.shape[1]
        if end > self.max_len:
            raise ValueError(f"{end} steps are more than max_len, {self.max_len}")
        x = self.dropout(self.project(features))  # (batch, time, dim)
        rotation = rotations(start, end - start, self.head_dim, x, self.rotary_base)
        caches = []
        for layer, cache in zip(self.layers, state or [None] * len(self.layers), strict=True):
            x, cache = layer(x, causal=True, rotation=rotation, cache=cache)
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


def default_hidden(dim: int) -> int:
    """Return the width inside a gated feed-forward network that has as many weights as one of 4 `dim`, rounded up."""
    return -(-8 * dim // (3 * _MULTIPLE)) * _MULTIPLE
