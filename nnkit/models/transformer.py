"""The Transformer: an encoder reads a sequence, a decoder writes another."""

import math
from typing import Any, ClassVar

from torch import Tensor, nn

from nnkit.layers.activation import ActivationName
from nnkit.layers.attention import CrossAttention, SelfAttention
from nnkit.layers.checks import check_dropout, check_positive
from nnkit.layers.dropout import Dropout
from nnkit.layers.positions import rotary_dim, rotations, sinusoids
from nnkit.layers.probing import STEPS, Probe
from nnkit.layers.sequence import EncoderDecoder
from nnkit.layers.transformer import FeedForward, TransformerLayer


class Transformer(EncoderDecoder):
    """Encoder and decoder of Vaswani et al. 2017, "Attention is all you need".

    Figure 1: a stack of layers reads the source, another writes the target and attends to what the first one made of
    the source, the memory. Dropout acts on the sums of vectors and positions and on what each sub-layer adds (section
    5.4). As in the paper nothing is normalised after the last layer, except with `norm_first`.

    Args:
        dim_in: Width of the vectors of tokens; another width than `dim` is projected to it.
        dim: Width of the features.
        num_layers: Layers of the encoder, and of the decoder.
        num_heads: Heads of each attention; they divide `dim`.
        hidden: Width inside the feed-forward networks; None: four times `dim`.
        dropout: Probability that a number is set to zero while training.
        norm_first: Normalise what goes into a sub-layer (Xiong et al. 2020) instead of its sum with the residual.
        activation: Of the feed-forward networks.
        rotary: Rotate queries and keys of self-attention as well, which makes it depend on distances (Su et al.
            2021); the sinusoids stay for attention to the memory.

    Raises:
        ValueError: If a value is out of range.
    """

    ties_head: ClassVar[bool] = True

    def __init__(
        self,
        dim_in: int,
        *,
        dim: int = 128,
        num_layers: int = 2,
        num_heads: int = 4,
        hidden: int | None = None,
        dropout: float = 0.1,
        norm_first: bool = False,
        activation: ActivationName = "relu",
        rotary: bool = False,
    ) -> None:
        super().__init__()
        for name, value in (("dim", dim), ("num_layers", num_layers)):
            check_positive(name, value)
        check_dropout(dropout)
        self.dim, self.dim_out = dim, dim
        self.project = nn.Identity() if dim_in == dim else nn.Linear(dim_in, dim, bias=False)
        self.dropout = Dropout(dropout)
        self.rotary_dim = rotary_dim(dim, num_heads) if rotary else 0

        hidden = hidden or 4 * dim
        self.encoder = nn.ModuleList(
            TransformerLayer(
                dim,
                SelfAttention(dim, num_heads),
                FeedForward(dim, hidden, activation),
                norm_first=norm_first,
                dropout=dropout,
            )
            for _ in range(num_layers)
        )
        self.decoder = nn.ModuleList(
            TransformerLayer(
                dim,
                # The first to be made: biases are drawn in this order.
                memory_attention=CrossAttention(dim, num_heads, memory_dim=dim),
                attention=SelfAttention(dim, num_heads),
                feed_forward=FeedForward(dim, hidden, activation),
                norm_first=norm_first,
                dropout=dropout,
            )
            for _ in range(num_layers)
        )
        self.encoder_norm = nn.LayerNorm(dim) if norm_first else nn.Identity()
        self.decoder_norm = nn.LayerNorm(dim) if norm_first else nn.Identity()
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.xavier_uniform_(parameter)

    def encode(self, source: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map a source (batch, source_time, dim_in) to its memory (batch, source_time, dim)."""
        x, rotation = self._placed(source, 0)
        for layer in self.encoder:
            x, _ = layer(x, mask=mask, rotation=rotation)
        memory: Tensor = self.encoder_norm(x)
        return memory

    def decode(
        self, prefix: Tensor, memory: Tensor, mask: Tensor | None = None, state: Any = None
    ) -> tuple[Tensor, Any]:
        """Map what is written so far (batch, time, dim_in) to (batch, time, dim); see `EncoderDecoder`.

        The state holds keys and values of each layer, its own and those of the memory.
        """
        start = 0 if state is None else state[0][0][0].shape[2]
        x, rotation = self._placed(prefix, start)
        caches = []
        for layer, cache in zip(self.decoder, state or [None] * len(self.decoder), strict=True):
            # Causal, so that step t depends on the tokens before it only (section 3.2.3).
            x, cache = layer(x, causal=True, rotation=rotation, memory=memory, memory_mask=mask, cache=cache)
            caches.append(cache)
        return self.decoder_norm(x), caches

    def _placed(self, vectors: Tensor, start: int) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
        """Return vectors with their positions, (batch, time, dim), and what rotates queries and keys."""
        x = self.project(vectors) * math.sqrt(self.dim)  # (batch, time, dim); section 3.4
        time = x.shape[1]
        placed: Tensor = self.dropout(x + sinusoids(start, time, self.dim, x))  # section 3.5
        return placed, rotations(start, time, self.rotary_dim, vectors) if self.rotary_dim else None

    def probe(self) -> list[Probe]:
        """Return the features after each layer of the encoder and of the decoder."""
        encoder = [Probe(f"encoder {number}", layer, STEPS) for number, layer in enumerate(self.encoder, 1)]
        return encoder + [
            Probe(f"decoder {number}", layer, STEPS, read=self.decoder_norm)
            for number, layer in enumerate(self.decoder, 1)
        ]
