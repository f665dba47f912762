"""The Transformer: an encoder reads a sequence, a decoder writes another."""

import math
from typing import Any, ClassVar

from torch import Tensor, nn

from nnkit.layers.activation import ActivationName
from nnkit.layers.attention import Attention
from nnkit.layers.checks import check_dropout, check_positive
from nnkit.layers.dropout import Dropout
from nnkit.layers.positions import rotary_dim, rotations, sinusoids
from nnkit.layers.sequence import EncoderDecoder
from nnkit.layers.transformer import FeedForward, TransformerLayer


class Transformer(EncoderDecoder):
    """Encoder and decoder of Vaswani et al. 2017, "Attention is all you need".

    Vectors are multiplied by sqrt(dim) and sinusoids added (sections 3.4 and 3.5). Dropout acts on these sums and on
    what each sub-layer adds (section 5.4). As in the paper nothing is normalised after the last layer, except with
    `norm_first`, where nothing else would.

    Args:
        dim_in: Width of the vectors of tokens; another width than `dim` is projected to it.
        dim: Width of the features.
        num_layers: Layers of the encoder, and of the decoder.
        num_heads: Heads of each attention; they divide `dim`.
        hidden: Width inside the feed-forward networks; None: four times `dim`.
        dropout: Probability that a number is set to zero while training.
        norm_first: Normalise what goes into a sub-layer (Xiong et al. 2020) instead of its sum with the residual.
        activation: Of the feed-forward networks.
        rotary: Turn queries and keys of self-attention as well, so that it sees how far apart steps are (Su et al.
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

        def layer(memory_attention: Attention | None) -> TransformerLayer:
            return TransformerLayer(
                Attention(dim, num_heads),
                FeedForward(dim, hidden or 4 * dim, activation),
                lambda: nn.LayerNorm(dim),
                memory_attention=memory_attention,
                norm_first=norm_first,
                dropout=dropout,
            )

        self.encoder = nn.ModuleList(layer(None) for _ in range(num_layers))
        self.decoder = nn.ModuleList(
            layer(Attention(dim, num_heads, memory_dim=dim)) for _ in range(num_layers)
        )
        self.encoder_norm = nn.LayerNorm(dim) if norm_first else nn.Identity()
        self.decoder_norm = nn.LayerNorm(dim) if norm_first else nn.Identity()
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.xavier_uniform_(parameter)

    def encode(self, source: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map a source (batch, source_time, dim_in) to its memory (batch, source_time, dim)."""
        features = self._placed(source, 0)
        rotation = self._rotation(source, 0)
        for layer in self.encoder:
            features, _ = layer(features, mask=mask, rotation=rotation)
        memory: Tensor = self.encoder_norm(features)
        return memory

    def decode(
        self, prefix: Tensor, memory: Tensor, mask: Tensor | None = None, state: Any = None
    ) -> tuple[Tensor, Any]:
        """Map what is written so far (batch, time, dim_in) to (batch, time, dim); see `EncoderDecoder`.

        The state holds keys and values of each layer, its own and those of the memory.
        """
        start = 0 if state is None else state[0][0][0].shape[2]
        features = self._placed(prefix, start)
        rotation = self._rotation(prefix, start)
        caches = []
        for number, layer in enumerate(self.decoder):
            features, cache = layer(
                features,
                causal=True,
                rotation=rotation,
                memory=memory,
                memory_mask=mask,
                cache=None if state is None else state[number],
            )
            caches.append(cache)
        return self.decoder_norm(features), caches

    def _placed(self, vectors: Tensor, start: int) -> Tensor:
        features = self.project(vectors) * math.sqrt(self.dim)
        placed: Tensor = self.dropout(features + sinusoids(start, features.shape[1], self.dim, features))
        return placed

    def _rotation(self, vectors: Tensor, start: int) -> tuple[Tensor, Tensor] | None:
        return rotations(start, vectors.shape[1], self.rotary_dim, vectors) if self.rotary_dim else None
